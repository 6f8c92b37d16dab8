import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from diffeval.checkpoints.checkpoint import load
from diffeval.data.source import open_source
from diffeval.diffusion.prediction import training_target
from diffeval.errors import DiffevalError, StoppedError
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.progress import SilentReporter
from diffeval.runs.logs import read_log
from diffeval.training.batches import Batches
from diffeval.training.losses import BUCKETS
from diffeval.training.recipe import PRESETS, Recipe, make_network, preset_for
from diffeval.training.train import Training, train

SMALL = Recipe(steps=12, batch=16, warmup=3)


class _StopAt(SilentReporter):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def advance(self, units: int, detail: str = "") -> None:
        self.step -= units
        self.stop_requested = self.step <= 0


def _losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_log(folder / "log.jsonl")]


def test_resuming_gives_the_identical_losses(tmp_path: Path) -> None:
    source = open_source("digits")
    train(source, SMALL, tmp_path / "whole", device="cpu")
    with pytest.raises(StoppedError, match="stopped at step 5 of 12; add --resume"):
        train(source, SMALL, tmp_path / "broken", device="cpu", reporter=_StopAt(5))
    train(source, SMALL, tmp_path / "broken", device="cpu", resume=True)
    assert _losses(tmp_path / "broken") == _losses(tmp_path / "whole")
    weights = [load(tmp_path / name).network.state_dict() for name in ("whole", "broken")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_kill_between_saves_falls_back_to_the_last_one(tmp_path: Path) -> None:
    """The log may be ahead of the state; its rows behind the state are dropped and written again."""
    source = open_source("digits")
    train(source, SMALL, tmp_path / "whole", device="cpu")
    with pytest.raises(StoppedError):
        train(source, SMALL, tmp_path / "killed", device="cpu", reporter=_StopAt(4))
    with (tmp_path / "killed" / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 99, "gradient_norm": 1, "lr": 1}\n{"step": 6, "lo')
    train(source, SMALL, tmp_path / "killed", device="cpu", resume=True)
    assert _losses(tmp_path / "killed") == _losses(tmp_path / "whole")


def test_log_and_probe(tiny_checkpoint: Path) -> None:
    log = read_log(tiny_checkpoint / "log.jsonl")
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    assert all(math.isfinite(row[key]) for row in log for key in ("loss", "gradient_norm", "lr"))
    probe = read_log(tiny_checkpoint / "probe.jsonl")
    assert probe[0]["step"] == 0
    assert len(probe[0]["loss"]) == len(probe[0]["gradient_norm"]) == BUCKETS
    # An untrained network predicts nearly nothing: the loss is the noise's variance, about 1, in every bucket.
    assert all(0.8 < loss < 1.3 for loss in probe[0]["loss"])


def test_card(tiny_checkpoint: Path) -> None:
    card = json.loads((tiny_checkpoint / "diffeval.json").read_text())
    assert card["data"] == "digits@train"
    assert card["data_hash"] == open_source("digits").content_hash()
    assert card["null_class"] == 10
    assert card["step"] == 4
    assert card["provenance"]["versions"]["torch"] == torch.__version__.split("+")[0]


def test_batches_show_every_image_once_an_epoch() -> None:
    source = open_source("digits@heldout")
    batches = Batches(source, 0, 100, 1000, 0.1, True)
    first = torch.cat([batches.at(step).x0 for step in range(5)])
    assert sorted(row.numpy().tobytes() for row in first) == sorted(
        row.tobytes() for row in source.images.astype(np.float32) / np.float32(127.5) - 1
    )
    assert not torch.equal(batches.at(0).x0, batches.at(5).x0)
    assert torch.equal(batches.at(3).noise, Batches(source, 0, 100, 1000, 0.1, True).at(3).noise)


def test_conditions_are_dropped_at_the_rate_asked_for() -> None:
    batches = Batches(open_source("digits"), 0, 1000, 1000, 0.2, True)
    dropped = torch.cat(
        [condition == 10 for step in range(10) if (condition := batches.at(step).condition) is not None]
    )
    # 10,000 draws: standard error 0.004.
    assert float(dropped.float().mean()) == pytest.approx(0.2, abs=0.016)


def test_probe_batch_fills_every_bucket() -> None:
    t = Batches(open_source("digits"), 0, 8, 1000, 0.1, True).probe(10, 6).t
    assert (t // 100).tolist() == [bucket for bucket in range(10) for _ in range(6)]


def test_targets() -> None:
    scheduler = DDPMScheduler(10)
    x0, noise, t = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), -1.0), torch.tensor([4])
    a = scheduler.alphas_cumprod[4]
    assert torch.equal(training_target("epsilon", scheduler, x0, noise, t), noise)
    assert torch.equal(training_target("sample", scheduler, x0, noise, t), x0)
    velocity = training_target("v_prediction", scheduler, x0, noise, t)
    assert velocity[0, 0, 0, 0].item() == pytest.approx(float(-a.sqrt() - (1 - a).sqrt() * 0.5), rel=1e-6)


def test_a_loss_that_is_not_finite_names_step_bucket_and_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Batches.at

    def poisoned(self: Batches, step: int):  # type: ignore[no-untyped-def]
        batch = original(self, step)
        if step == 2:
            batch.noise[batch.t < 100] = float("inf")
        return batch

    monkeypatch.setattr(Batches, "at", poisoned)
    with pytest.raises(DiffevalError, match=r"loss is not finite at step 3: only timesteps 0-99 are affected"):
        train(open_source("digits"), SMALL, tmp_path / "run", device="cpu")


def test_diverged_weights_are_named(tmp_path: Path) -> None:
    training = Training(open_source("digits"), SMALL, tmp_path, torch.device("cpu"))
    next(training.network.parameters()).data.fill_(float("nan"))
    with pytest.raises(DiffevalError, match=r"not finite at step 1: every timestep is affected.*lower --lr"):
        training.advance()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "cosine"}, "unknown --schedule 'cosine'"),
        ({"prediction": "eps"}, "did you mean 'epsilon'"),
        ({"zero_snr": True}, "--zero-snr with --prediction epsilon"),
        ({"drop_condition": 1.0}, "--drop-condition is 1, must be from 0 to 0.99"),
        ({"steps": 0}, "--steps is 0"),
        ({"lr": -1.0}, "--lr is -1"),
        ({"dtype": "fp16"}, "use bf16 or fp32"),
        ({"preset": "9px"}, "did you mean '8px'"),
    ],
)
def test_impossible_recipes(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DiffevalError, match=re.escape(message)):
        Recipe(**changes).check()  # type: ignore[arg-type]


def test_resume_refuses_another_recipe_and_a_run_is_not_overwritten(tiny_checkpoint: Path, tmp_path: Path) -> None:
    source = open_source("digits")
    with pytest.raises(DiffevalError, match="holds a training run already; give --resume"):
        train(source, SMALL, tiny_checkpoint, device="cpu")
    with pytest.raises(DiffevalError, match=r"lr was 0\.002, now 0\.001"):
        train(source, Recipe(steps=4, batch=16, warmup=1, lr=1e-3), tiny_checkpoint, device="cpu", resume=True)
    with pytest.raises(DiffevalError, match="the images are others"):
        train(
            open_source("digits@heldout"),
            Recipe(steps=4, batch=16, warmup=1),
            tiny_checkpoint,
            device="cpu",
            resume=True,
        )
    with pytest.raises(DiffevalError, match="holds no training run to resume"):
        train(source, SMALL, tmp_path / "empty", device="cpu", resume=True)


def test_more_steps_at_a_constant_rate_extend_a_run(tmp_path: Path) -> None:
    source, short = open_source("digits"), Recipe(steps=3, batch=8, lr_schedule="constant")
    train(source, short, tmp_path / "run", device="cpu")
    train(source, Recipe(steps=5, batch=8, lr_schedule="constant"), tmp_path / "run", device="cpu", resume=True)
    assert len(_losses(tmp_path / "run")) == 5


@pytest.mark.parametrize(("size", "downsamplings"), [(8, 1), (28, 2), (32, 2), (64, 3)])
def test_presets(size: int, downsamplings: int) -> None:
    preset = preset_for(size, None)
    assert len(preset.channels) - 1 == downsamplings
    with torch.random.fork_rng(devices=[]):
        network = make_network(preset, (3, size, size), 0)
        out = network(torch.zeros(1, 3, size, size), torch.tensor(1)).sample
    assert out.shape == (1, 3, size, size)


def test_sizes_without_a_preset() -> None:
    with pytest.raises(DiffevalError, match="images of 500 pixels"):
        preset_for(500, None)
    with pytest.raises(DiffevalError, match="do not divide by 4"):
        preset_for(30, "32px")
    assert set(PRESETS) == {"8px", "32px", "64px"}


def _same_weights(one: Path, other: Path) -> bool:
    """Both sets of weights, averaged and raw."""
    pairs = []
    for checkpoints in ((load(one), load(other)), (load(one).with_raw_weights(), load(other).with_raw_weights())):
        pairs.append([checkpoint.network.state_dict() for checkpoint in checkpoints])
    return all(torch.equal(a[key], b[key]) for a, b in pairs for key in a)


def test_kept_checkpoints_are_those_of_trainings_that_end_there(tmp_path: Path) -> None:
    """At a constant rate a step does not depend on how many follow."""
    source = open_source("digits")
    train(source, Recipe(steps=7, batch=8, lr_schedule="constant"), tmp_path / "run", device="cpu", keep_every=3)
    kept = tmp_path / "run" / "steps"
    assert sorted(path.name for path in kept.iterdir()) == ["000003", "000006"]
    for steps in (3, 6):
        folder = kept / f"{steps:06d}"
        alone = tmp_path / f"alone-{steps}"
        train(source, Recipe(steps=steps, batch=8, lr_schedule="constant"), alone, device="cpu")
        assert _same_weights(folder, alone)
        card, ended = (json.loads((path / "diffeval.json").read_text()) for path in (folder, alone))
        assert card["step"] == steps
        assert {**card, "provenance": None} == {**ended, "provenance": None}
        assert load(folder).sha256 != load(tmp_path / "run").sha256
        assert not (folder / "state.pt").exists(), "a kept checkpoint is no run to resume"
    assert not _same_weights(kept / "000003", kept / "000006")


def test_resuming_leaves_kept_checkpoints_as_they_are_and_goes_on_keeping(tmp_path: Path) -> None:
    source = open_source("digits")
    train(source, SMALL, tmp_path / "whole", device="cpu", keep_every=4)
    with pytest.raises(StoppedError):
        train(source, SMALL, tmp_path / "broken", device="cpu", keep_every=4, reporter=_StopAt(5))
    kept = tmp_path / "broken" / "steps"
    assert [path.name for path in kept.iterdir()] == ["000004"]
    stamps = {path: path.stat().st_mtime_ns for path in kept.rglob("*") if path.is_file()}
    train(source, SMALL, tmp_path / "broken", device="cpu", keep_every=4, resume=True)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    for name in ("000004", "000008", "000012"):
        assert _same_weights(kept / name, tmp_path / "whole" / "steps" / name)
    assert _same_weights(kept / "000012", tmp_path / "broken")


def test_keeping_changes_nothing_of_the_training(tmp_path: Path) -> None:
    source = open_source("digits")
    train(source, SMALL, tmp_path / "plain", device="cpu")
    train(source, SMALL, tmp_path / "keeping", device="cpu", keep_every=5)
    assert _losses(tmp_path / "plain") == _losses(tmp_path / "keeping")
    assert _same_weights(tmp_path / "plain", tmp_path / "keeping")
    assert not (tmp_path / "plain" / "steps").exists()


@pytest.mark.parametrize("every", [0, -1])
def test_keeping_every_no_step_is_refused_before_anything_is_written(tmp_path: Path, every: int) -> None:
    with pytest.raises(DiffevalError, match=f"--keep-every is {every}, needs at least 1"):
        train(open_source("digits"), SMALL, tmp_path / "run", device="cpu", keep_every=every)
    assert not (tmp_path / "run").exists()


def test_kept_checkpoints_are_not_overwritten_by_another_training(tmp_path: Path) -> None:
    (tmp_path / "run" / "steps" / "000003").mkdir(parents=True)
    with pytest.raises(DiffevalError, match="holds steps already; give another --out"):
        train(open_source("digits"), SMALL, tmp_path / "run", device="cpu")


def test_bf16_autocast_trains(tmp_path: Path) -> None:
    train(open_source("digits"), Recipe(steps=2, batch=8, dtype="bf16"), tmp_path / "run", device="cpu")
    assert all(math.isfinite(loss) for loss in _losses(tmp_path / "run"))


def test_nothing_that_lies_there_is_overwritten(tiny_checkpoint: Path, tmp_path: Path) -> None:
    source = open_source("digits")
    shutil.copytree(tiny_checkpoint / "unet", tmp_path / "foreign" / "unet")
    with pytest.raises(DiffevalError, match="holds unet already; give another --out"):
        train(source, SMALL, tmp_path / "foreign", device="cpu")
    evaluate(tiny_checkpoint, settings=Settings(n=80, steps=2, device="cpu"), out=tmp_path / "run")
    with pytest.raises(DiffevalError, match=r"holds run\.json already"):
        train(source, SMALL, tmp_path / "run", device="cpu")
    with pytest.raises(DiffevalError, match="holds no training run to resume"):
        train(source, SMALL, tmp_path / "run", device="cpu", resume=True)


def test_a_run_that_failed_before_its_first_save_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("diffeval.training.train.require_finite", _raise_at(3))
        with pytest.raises(DiffevalError, match="planted"):
            train(open_source("digits"), SMALL, tmp_path / "run", device="cpu")
    assert len(_losses(tmp_path / "run")) == 2, "the steps before the failure are in the log"
    train(open_source("digits"), SMALL, tmp_path / "run", device="cpu")
    assert len(_losses(tmp_path / "run")) == 12


def _raise_at(step: int):  # type: ignore[no-untyped-def]
    def check(at: int, *rest: object) -> None:
        if at == step:
            raise DiffevalError("planted")

    return check


def test_a_damaged_state_is_one_line(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / "state.pt").write_bytes(b"garbage")
    with pytest.raises(DiffevalError, match=r"cannot read .*state\.pt: [^\n]*; train anew"):
        train(open_source("digits"), Recipe(steps=4, batch=16, warmup=1), copy, device="cpu", resume=True)


def test_a_batch_that_memory_does_not_hold_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Training) -> dict[str, float | int]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes")

    monkeypatch.setattr(Training, "advance", full)
    with pytest.raises(DiffevalError, match="out of memory with a batch of 16; give a smaller --batch"):
        train(open_source("digits"), SMALL, tmp_path / "out", device="cpu")


@pytest.mark.parametrize(("option", "value"), [("seed", -1), ("seed", 10**400), ("warmup", -1), ("warmup", 10**30)])
def test_a_number_of_any_length_is_refused_in_one_line(option: str, value: int) -> None:
    with pytest.raises(DiffevalError, match=f"--{option} is .*must be from 0 to"):
        Recipe(**{option: value}).check()  # type: ignore[arg-type]
