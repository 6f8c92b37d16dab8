"""The broken twin: an ordinary checkpoint folder in which one layer says nothing."""

import filecmp
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

import diffeval
from diffeval.builtin import FOLDER
from diffeval.demo.twin import SILENCED, WEIGHTS, make_twin


def test_only_one_layer_differs_and_it_is_silent(tmp_path: Path) -> None:
    twin = make_twin(tmp_path / "twin")
    ours, theirs = load_file(FOLDER / "digits" / WEIGHTS), load_file(twin / WEIGHTS)
    assert ours.keys() == theirs.keys()
    changed = {name for name in ours if not np.array_equal(ours[name], theirs[name])}
    assert changed == {f"{SILENCED}.weight", f"{SILENCED}.bias"}
    assert not any(theirs[name].any() for name in changed)


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = make_twin(tmp_path / "a"), make_twin(tmp_path / "b")
    names = [str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()]
    assert len(names) == 4
    assert filecmp.cmpfiles(first, second, names, shallow=False)[0] == names


def test_it_is_a_checkpoint_whose_network_does_not_heed_the_timestep(tmp_path: Path) -> None:
    twin = diffeval.load(str(make_twin(tmp_path / "twin")))
    assert twin.classes == diffeval.load("digits").classes
    x, label = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 4])
    with torch.no_grad():
        early, late = (twin.denoiser(x, torch.full((2,), t), label) for t in (10, 900))
        other = twin.denoiser(x, torch.full((2,), 10), label + 1)
    assert torch.equal(early, late)
    assert not torch.equal(early, other)
