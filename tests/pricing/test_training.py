"""What training is said to take: some of its steps, in a folder that is thrown away."""

from pathlib import Path

import pytest
import torch

from diffeval.data.source import open_source
from diffeval.errors import DiffevalError
from diffeval.pricing import training
from diffeval.pricing.training import Rehearsed, describe_training, rehearse
from diffeval.progress import SilentReporter
from diffeval.training.recipe import Recipe
from diffeval.training.train import Training, train

QUICK = Recipe(steps=1000, batch=8, warmup=1, lr_schedule="constant")


def test_steps_probes_and_saves_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training, "rehearse", lambda _: Rehearsed(step=0.5, probe=2.0, save=8.0))
    told = {"device": "cpu", "reporter": SilentReporter()}
    plan = describe_training(open_source("digits"), QUICK, tmp_path / "new", **told)  # type: ignore[arg-type]
    # Probes before the first step and at every 200th; saves at 500, at 1,000, and at the end.
    assert plan.seconds == 1000 * 0.5 + 6 * 2.0 + 3 * 8.0
    kept = describe_training(open_source("digits"), QUICK, tmp_path / "new", keep_every=100, save_every=300, **told)  # type: ignore[arg-type]
    assert kept.seconds == 1000 * 0.5 + 6 * 2.0 + (3 + 1 + 10) * 8.0
    assert not list(tmp_path.iterdir())


def test_a_training_that_is_continued_is_priced_for_what_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = Recipe(steps=4, batch=8, warmup=1, lr_schedule="constant")
    train(open_source("digits"), short, tmp_path, device="cpu")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(training, "rehearse", lambda _: Rehearsed(step=0.5, probe=2.0, save=8.0))
    told = {"device": "cpu", "resume": True, "reporter": SilentReporter()}
    plan = describe_training(open_source("digits"), QUICK, tmp_path, **told)  # type: ignore[arg-type]
    assert plan.seconds == 996 * 0.5 + 5 * 2.0 + 3 * 8.0
    assert any("goes on at step 4" in line for line in plan.lines)
    assert "996 steps that are left" in plan.held
    done = describe_training(open_source("digits"), short, tmp_path, **told)  # type: ignore[arg-type]
    assert done.prices == ()
    with pytest.raises(DiffevalError, match="holds a training run already"):
        describe_training(open_source("digits"), QUICK, tmp_path, device="cpu", reporter=SilentReporter())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_rehearsal_steps_and_saves_elsewhere(tmp_path: Path) -> None:
    """With the global generator as it was (the suite looks after that), and nothing in the folder of the run."""
    out = tmp_path / "run"
    begun = Training(open_source("digits"), QUICK, out, torch.device("cpu"))
    found = rehearse(begun)
    assert begun.step == training.WARM + training.FEWEST
    assert min(found.step, found.probe, found.save) > 0
    assert not out.exists()
    assert not begun.out.exists()
