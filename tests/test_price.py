"""What a sweep is said to take, from a clock that is made up: a function of counts alone."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffeval import price
from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.cli.app import make_app
from diffeval.data.source import open_source
from diffeval.features.reference import extract_source
from diffeval.plan import SamplingPlan, Settings, plan_images
from diffeval.prepared import Prepared, prepare
from diffeval.price import Price, prices
from diffeval.progress import SilentReporter
from diffeval.sweeps.run import suite

SETTINGS = Settings(n=100, device="cpu", batch=50)
# Seconds that any piece of work takes, whatever it is, by the clock of these tests; a power of two adds exactly.
SECOND = 0.25


@pytest.fixture(scope="module")
def digits() -> Checkpoint:
    return load("digits")


@pytest.fixture
def priced(digits: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Price]]:
    """Prices by stage, with nothing in the cache at first."""
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(price, "_timed", lambda work: SECOND)
    monkeypatch.setattr(price, "_trial", lambda *one: SECOND)

    def run(calls: tuple[int, ...] = (10,), n: int = 100, ws: tuple[float, ...] = (1.0,)) -> dict[str, Price]:
        plans = [plan_images(digits, dataclasses.replace(SETTINGS, n=n, w=w)) for w in ws]
        found = prices(plans, calls, _known(digits), n, suite(judged=False))
        return {one.stage: one for one in found}

    return run


def _known(digits: Checkpoint) -> Prepared:
    return prepare(digits, SETTINGS, None, None, None, SilentReporter(), fit=False)


def test_every_stage_is_there_and_costs_something(priced: Callable[..., dict[str, Price]]) -> None:
    found = priced()
    assert list(found) == ["sampling", "features", "reference", "scoring"]
    assert all(one.seconds > 0 and one.about for one in found.values())


def test_sampling_is_calls_times_batches(priced: Callable[..., dict[str, Price]]) -> None:
    assert priced((10,))["sampling"].seconds == 10 * 2 * SECOND
    assert priced((20,))["sampling"].seconds == 20 * 2 * SECOND
    assert priced((10, 30), ws=(1.0, 2.0))["sampling"].seconds == 40 * 2 * SECOND
    # 101 images take a third batch.
    assert priced((10,), n=101)["sampling"].seconds == 10 * 3 * SECOND


def test_a_step_is_timed_once_per_kind_of_step(
    priced: Callable[..., dict[str, Price]], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []
    monkeypatch.setattr(price, "_timed", lambda work: timed.append(work) or SECOND)
    priced((10, 20, 30, 40), ws=(1.0, 0.0, 2.0, 3.0))
    # Of sampling: with guidance and without. Of features: one.
    assert len(timed) == 3


def test_features_are_counted_by_image(priced: Callable[..., dict[str, Price]]) -> None:
    found = priced((10, 10), ws=(1.0, 2.0))
    # The second is that of a batch of 50.
    assert found["features"].seconds == pytest.approx(200 * SECOND / 50)
    assert found["features"].about.startswith("200 images by digits")
    assert found["reference"].seconds == pytest.approx(1797 * SECOND / 50)
    assert found["reference"].about == "1797 real images"


def test_real_images_in_the_cache_cost_nothing(priced: Callable[..., dict[str, Price]], digits: Checkpoint) -> None:
    extractor = _known(digits).extractor
    extract_source(open_source("digits@train"), extractor, SilentReporter())
    assert priced()["reference"].about == "500 real images"
    extract_source(open_source("digits@heldout"), extractor, SilentReporter())
    found = priced()["reference"]
    assert (found.seconds, found.about) == (0.0, "real images: in the cache")


def test_scoring_grows_with_pairs(
    priced: Callable[..., dict[str, Price]], monkeypatch: pytest.MonkeyPatch, digits: Checkpoint
) -> None:
    """A made-up trial of 2 s and 1 s for each million pairs is told at any n."""

    def trial(plan: object, extractor: object, size: int, suite: object, also: object) -> float:
        return 2.0 + 2 * size * size / 1e6

    monkeypatch.setattr(price, "_trial", trial)
    real = 1297
    for n, points in ((2000, 1), (5000, 3)):
        found = priced((10,) * points, n=n, ws=(1.0,) * points)["scoring"].seconds
        assert found == pytest.approx(points * (2.0 + n * (n + real) / 1e6), rel=1e-6)


def test_a_step_is_one_call_of_the_network_and_a_trial_scores(digits: Checkpoint) -> None:
    """What is timed, without the clock."""
    sizes = []

    def counting(x, t, condition):  # type: ignore[no-untyped-def]
        sizes.append(len(x))
        return digits.denoiser(x, t, condition)

    counted = dataclasses.replace(digits, denoiser=counting)
    for w, expected in ((1.0, [50]), (2.0, [100])):
        plan = plan_images(counted, dataclasses.replace(SETTINGS, w=w))
        sizes.clear()
        price._step(plan)
        assert sizes == expected
    plan: SamplingPlan = plan_images(digits, SETTINGS)
    assert price._trial(plan, _known(digits).extractor, 250, suite(judged=False)) > 0


def test_a_dry_run_prices_every_stage_and_its_document_lists_all_points(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(price, "_timed", lambda work: SECOND)
    monkeypatch.setattr(price, "_trial", lambda *one: SECOND)
    words = ["sweep-cfg", "digits", "--scales", "1,2,3", "--n", "100", "--device", "cpu", "--dry-run"]
    done = CliRunner().invoke(make_app(), [*words, "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["schema"] == "diffeval.plan/1"
    plan = document["plan"]
    assert plan["point"] == [
        "w=1: 100 images, 10 network evaluations each",
        "w=2: 100 images, 20 network evaluations each",
        "w=3: 100 images, 20 network evaluations each",
    ]
    assert [line.split()[0] for line in plan["takes"]] == ["sampling", "features", "judge", "reference", "scoring"]
    assert plan["evaluations"].startswith("5000 in all")
    assert plan["total"].startswith("about ")
    assert not list(tmp_path.iterdir())
