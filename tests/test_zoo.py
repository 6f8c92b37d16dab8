"""The trainings that the health checks are held against: each opens as declared, and has its fault and no other."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import load
from diffeval.cli.loading import load_options
from diffeval.cli.options import Loading

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def zoo(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import train_zoo

    return train_zoo


def _entries() -> tuple[Any, ...]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from zoo.table import ENTRIES
    finally:
        sys.path.remove(str(BENCHMARKS))
    return ENTRIES


ENTRIES = _entries()
BY_NAME = {entry.name: entry for entry in ENTRIES}
DIGITS = [entry for entry in ENTRIES if entry.data == "digits"]
ONE_OF_EACH = {entry.network: entry for entry in DIGITS}.values()


def test_a_fault_has_a_check_and_differs_from_a_healthy_training_in_its_fault_alone() -> None:
    assert len(BY_NAME) == len(ENTRIES)
    assert sum(entry.healthy for entry in DIGITS) >= 32
    for entry in ENTRIES:
        assert (entry.fault is None) == (entry.check is None)
        assert not entry.healthy or entry.trained_range == entry.declared_range
        assert not entry.healthy or (entry.told, entry.ema_start, entry.least_timestep) == ("index", "warm-up", 0)
        assert not entry.healthy or not (entry.shuffled or entry.images)


@pytest.mark.parametrize("entry", ONE_OF_EACH, ids=lambda entry: entry.network)
def test_a_trained_entry_opens_as_declared_averaged_and_raw_and_by_its_command(
    entry: Any, zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = dataclasses.replace(entry, steps=3, stop=None, batch=8)
    assert zoo.result_of(entry, tmp_path) is None
    result = zoo.make(entry, tmp_path, None)
    assert zoo.result_of(entry, tmp_path) == json.loads(json.dumps(result))
    assert zoo.result_of(dataclasses.replace(entry, lr=1e-4), tmp_path) is None, "another recipe is trained anew"
    averaged, raw = zoo.open_entry(entry, tmp_path), zoo.open_entry(entry, tmp_path, raw=True)
    assert (averaged.schedule.timesteps, averaged.prediction) == (entry.timesteps, entry.prediction)
    assert averaged.value_range == entry.declared_range
    assert averaged.assumptions == ()
    x, t = torch.ones(2, 1, 8, 8), torch.tensor([0, entry.timesteps - 1])
    classes = torch.tensor([3, 10]) if averaged.classes else None
    with torch.inference_mode():
        outputs = [one.denoiser(x, t, classes) for one in (averaged, raw, averaged.with_raw_weights())]
    assert torch.equal(outputs[1], outputs[2])
    assert not torch.equal(outputs[0], outputs[1])
    monkeypatch.chdir(BENCHMARKS.parent)
    told = json.loads((tmp_path / entry.name / "entry.json").read_text())["command"].split()
    words = [part for word in told[3:] for part in word.split("=", 1)]
    flags = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    flags.pop("ref", None)
    flags |= {"timesteps": int(flags["timesteps"])}
    assert load(told[2], load_options(Loading(**flags))).sha256 == averaged.sha256


def test_each_fault_is_where_it_is_said_to_be(zoo: Any) -> None:
    from zoo.trainings import Training, open_data, train

    digits = open_data(BY_NAME["cnn"], "train", None)

    def training(name: str, **changes: object) -> Any:
        return Training(dataclasses.replace(BY_NAME[name], **changes), digits)

    t = torch.tensor([0, 40, 999])
    assert training("index-reversed-cnn")._told(t).tolist() == [999, 959, 0]
    assert training("index-respaced-unet")._told(t).tolist() == [0, 2, 49]
    late = training("low-timesteps-untrained-cnn-table", batch=2000)._batch(0).t
    assert (int(late.min()), int(late.max())) == (100, 999)
    assert len(training("hasty-batchnorm-v")._batch(3).t.unique()) == 1
    plain, shuffled = training("unet-epsilon-cosine")._batch(5), training("condition-ignored-unet")._batch(5)
    assert torch.equal(plain.x0, shuffled.x0)
    assert not torch.equal(plain.condition, shuffled.condition)
    assert torch.equal(plain.condition.sort().values, shuffled.condition.sort().values)
    assert not (training("null-untrained-cnn", batch=2000)._batch(0).condition == 10).any()
    few = training("overfit-cnn")
    assert np.array_equal(few.source.images, digits.images[list(few.rows)])
    silent = training("silent-embedding-unet").checkpoint.denoiser
    x, classes = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 1, 1])
    with torch.inference_mode():
        assert torch.equal(silent(x, t, classes), silent(x, t.flip(0), classes))
    before = training("ema-never-updated-unet").weights()
    short = dataclasses.replace(BY_NAME["ema-never-updated-unet"], steps=2, batch=4)
    after = train(short, digits).weights
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("ema."))


def test_the_affine_risk_of_gaussian_images_is_its_closed_form(zoo: Any) -> None:
    """Sum of alpha^2 w / (alpha^2 w + sigma^2) over the eigenvalues w of the covariance, per dimension."""
    from zoo.risks import Images, affine_risk

    random, deviations = np.random.Generator(np.random.Philox(3)), np.array([0.1, 0.5, 1.0, 2.0])
    train, test = (Images(random.standard_normal((n, 4)) * deviations + 0.3, (1, 2, 2), None) for n in (20_000, 4000))
    for alpha_bar in (0.2, 0.9):
        signal = alpha_bar * deviations**2
        expected = (signal / (signal + 1 - alpha_bar)).mean()
        assert affine_risk(train, test, alpha_bar) == pytest.approx(expected, rel=0.03)
