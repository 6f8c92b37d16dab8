"""Features that are yet to be made, and an extractor that is yet to be fitted."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import open_source
from diffeval.features.fitting import STEPS
from diffeval.features.reference import extract_source
from diffeval.measured import Extracting
from diffeval.plan import Settings
from diffeval.prepared import Prepared, prepare
from diffeval.pricing import features
from diffeval.pricing.features import feature_prices, fitting, reference_prices
from diffeval.pricing.images import Part
from diffeval.progress import SilentReporter

SETTINGS = Settings(n=100, device="cpu", batch=50)
SECOND = 0.25


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))


def _known(digits: Checkpoint, name: str | None = None) -> Prepared:
    return prepare(digits, SETTINGS, None, Extracting(name), None, SilentReporter(), fit=False)


def test_features_are_counted_by_batches_and_real_ones_by_images(
    digits: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "timed", lambda work: SECOND)
    known = _known(digits)
    found = feature_prices([Part(known.plan, 100), Part(known.plan, 51)], known, known.extractor, real=True)
    assert [one.stage for one in found] == ["features", "reference"]
    # Batches of 50 are whole; real images go through in batches of 128.
    assert found[0].seconds == 4 * SECOND
    assert found[0].about == "151 images by digits"
    assert found[1].seconds == pytest.approx(1797 * SECOND / 128)
    assert found[1].about == "1797 real images by digits"
    assert feature_prices([Part(known.plan, 0)], known, known.extractor, real=False) == []


def test_real_images_in_the_cache_cost_nothing(digits: Checkpoint) -> None:
    known = _known(digits)
    extract_source(open_source("digits@train"), known.extractor, SilentReporter())
    assert reference_prices(known, known.extractor)[0].about == "500 real images by digits"
    extract_source(open_source("digits@heldout"), known.extractor, SilentReporter())
    (found,) = reference_prices(known, known.extractor)
    assert (found.seconds, found.about) == (0.0, "real images: in the cache")


def test_an_extractor_that_is_there_is_not_fitted(digits: Checkpoint) -> None:
    assert fitting(_known(digits)) is None


def test_fitting_is_tried_and_leaves_nothing(
    digits: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The steps that were tried are the same as those that are left."""
    monkeypatch.setattr(features, "TRIED", 8)
    known = _known(digits, "fitted")
    found = fitting(known)
    assert found is not None
    assert found.price.stage == "fitting"
    assert f"{STEPS} steps" in found.price.about
    assert found.price.seconds > 0
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    images = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    made = found.extractor.run(images)
    assert made.features.shape == (3, known.extractor.dim)
    assert found.extractor.classes == known.extractor.classes
    held = dataclasses.replace(known, extractor=found.extractor)
    assert reference_prices(held, found.extractor)[0].about == "1797 real images by fitted"


def test_what_fitting_takes_beside_its_steps_is_counted_once(
    digits: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that is made up: 5 s before the first step, 2 s for each, 3 s after the last."""
    now = [0.0]

    def rehearsed(source, held_out, device, reporter, steps):  # type: ignore[no-untyped-def]
        now[0] += 5.0
        for _ in range(steps):
            now[0] += 2.0
            reporter.advance(1)
        now[0] += 3.0
        return _known(digits).extractor

    class Clock:
        perf_counter = staticmethod(lambda: now[0])

    known = _known(digits, "fitted")
    monkeypatch.setattr(features, "time", Clock)
    monkeypatch.setattr(features, "rehearsed", rehearsed)
    found = fitting(known)
    assert found is not None
    assert found.price.seconds == pytest.approx(5.0 + 2.0 * STEPS + 3.0)
