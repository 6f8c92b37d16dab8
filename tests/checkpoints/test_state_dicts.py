"""Where the weights lie in what training scripts save."""

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffeval.checkpoints.safe_reading import read_weights
from diffeval.checkpoints.state_dicts import choose
from diffeval.errors import DiffevalError

FILE = Path("run.pt")


def _network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.Conv2d(2, 1, 3))


RAW, AVERAGED = dict(_network(1).state_dict()), dict(_network(2).state_dict())


def _with(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def _lucidrains() -> dict[str, Any]:
    """The layout that denoising-diffusion-pytorch's Trainer saves; ema is the state of ema_pytorch's EMA."""
    betas = {"betas": torch.ones(10)}
    return {
        "step": 700,
        "model": _with("model.", RAW) | betas,
        "opt": {"state": {0: {"exp_avg": torch.ones(2, 1, 3, 3)}}, "param_groups": [{"lr": 1e-4}]},
        "ema": {
            **_with("online_model.model.", RAW),
            **_with("ema_model.model.", AVERAGED),
            "online_model.betas": torch.ones(10),
            "ema_model.betas": torch.ones(10),
            "initted": torch.tensor(True),
            "step": torch.tensor(700),
        },
        "scaler": None,
        "version": "2.2.5",
    }


@pytest.mark.parametrize(
    ("tree", "label"),
    [
        (AVERAGED, ""),
        (_with("module.", AVERAGED), "module"),
        (_with("_orig_mod.", AVERAGED), "_orig_mod"),
        (_with("module.model.diffusion_model.", AVERAGED), "module.model.diffusion_model"),
        ({"state_dict": _with("net.", AVERAGED), "epoch": 3, "callbacks": {}}, "state_dict.net"),
        ({"model": RAW, "ema": AVERAGED, "opt": {}, "args": argparse.Namespace(lr=1)}, "ema"),
        ({"model": RAW, "model_ema": AVERAGED}, "model_ema"),
        ({"model": RAW, "ema": {"module": _with("module.", AVERAGED), "decay": 0.999}}, "ema.module.module"),
        (_lucidrains(), "ema.ema_model.model"),
        ({"model": RAW, "average": _with("module.", AVERAGED) | {"n_averaged": torch.tensor(5)}}, "average.module"),
        (
            {"model": RAW, "ema": {"decay": 0.99, "shadow_params": [AVERAGED[name] for name in AVERAGED]}},
            "ema.shadow_params",
        ),
    ],
)
def test_averaged_weights_are_found_under_any_name(tree: dict[str, Any], label: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    torch.save(tree, path)
    found = choose(read_weights(path), _network(), FILE, key=None, raw=None)
    assert found.used.label == label
    assert all(torch.equal(found.used.state[name], AVERAGED[name]) for name in AVERAGED)
    if "model" in tree:
        assert found.raw is not None
        assert all(torch.equal(found.raw.state[name], RAW[name]) for name in RAW)
        assert "averaged (EMA)" in found.said
        raw = choose(read_weights(path), _network(), FILE, key=None, raw=True)
        assert all(torch.equal(raw.used.state[name], RAW[name]) for name in RAW)
    else:
        assert found.raw is None
        assert "not called averaged" in found.said


def test_key_picks() -> None:
    tree = {"model": RAW, "ema": AVERAGED}
    used = choose(tree, _network(), FILE, key="model", raw=None).used
    assert all(torch.equal(used.state[name], RAW[name]) for name in RAW)
    online = choose(_lucidrains(), _network(), FILE, key="ema.online_model", raw=None).used
    assert online.label == "ema.online_model.model"


def test_a_file_that_is_called_ema_is_taken_at_its_word() -> None:
    found = choose(AVERAGED, _network(), Path("ema_0.9999_300000.pt"), key=None, raw=None)
    assert "averaged (EMA)" in found.said
    with pytest.raises(DiffevalError, match="holds no weights without averaging"):
        choose(AVERAGED, _network(), Path("ema_0.9999_300000.pt"), key=None, raw=True)


def test_two_sets_that_fit_are_a_question() -> None:
    tree = {"ema_0.99": AVERAGED, "ema_0.9999": dict(_network(3).state_dict())}
    with pytest.raises(DiffevalError, match=r"2 sets of weights in run\.pt fit the network: ema_0\.99 .* --key"):
        choose(tree, _network(), FILE, key=None, raw=None)
    assert choose(tree, _network(), FILE, key="ema_0.99", raw=None).used.label == "ema_0.99"


def test_copies_are_no_question() -> None:
    assert choose({"a": AVERAGED, "b": dict(AVERAGED)}, _network(), FILE, key=None, raw=None).used.label == "a"


def test_names_that_do_not_fit_are_named() -> None:
    lacking = {name: value for name, value in RAW.items() if name != "1.bias"} | {"3.weight": torch.ones(1)}
    with pytest.raises(DiffevalError, match=r"1 missing: 1\.bias; 1 unexpected: 3\.weight; candidates: model \(5"):
        choose({"model": lacking}, _network(), FILE, key=None, raw=None)
    narrow = RAW | {"2.bias": torch.ones(3)}
    with pytest.raises(DiffevalError, match=r"1 misshapen: 2\.bias is \[3\], the network's \[1\]"):
        choose({"model": narrow}, _network(), FILE, key=None, raw=None)
    with pytest.raises(DiffevalError, match=r"no tensor in run\.pt has a name of the network's; it holds: a \(1"):
        choose({"a": {"b": torch.ones(1)}}, _network(), FILE, key=None, raw=None)
    with pytest.raises(DiffevalError, match="it holds: no tensors by name"):
        choose([1, 2], _network(), FILE, key=None, raw=None)


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    for protocol in (2, 4):
        file, ran = tmp_path / f"hostile{protocol}.pt", tmp_path / "ran"
        torch.save({"model": RAW, "x": _Runs(ran)}, file, pickle_protocol=protocol)
        with pytest.raises(DiffevalError, match=r"is a pickle that wants to run [\w.]+mkdir, which is refused; where"):
            read_weights(file)
        assert not ran.exists()
    whole = tmp_path / "network.pt"
    torch.save(_network(), whole)
    with pytest.raises(DiffevalError, match=r"wants to run torch\.nn\.modules\.container\.Sequential"):
        read_weights(whole)
    bare = tmp_path / "network.pth"
    bare.write_bytes(pickle.dumps({"ema": _network()}, protocol=4))
    with pytest.raises(DiffevalError, match=r"wants to run torch\.nn\.modules\.container\.Sequential"):
        read_weights(bare)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files_are_one_line(tmp_path: Path, suffix: str) -> None:
    whole, cut = tmp_path / "whole.pt", tmp_path / f"cut{suffix}"
    torch.save(RAW, whole)
    for content in (b"", whole.read_bytes()[:300], b"hello"):
        cut.write_bytes(content)
        with pytest.raises(DiffevalError, match=r"cut\.") as caught:
            read_weights(cut)
        assert "\n" not in str(caught.value)


def test_arguments_and_numbers_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    torch.save({"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "model": RAW}, path)
    assert read_weights(path)["best"] == 0.5
