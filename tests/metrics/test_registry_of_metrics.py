"""What holds of every metric there is, and of every one that is added: these tests ask the registry."""

import dataclasses
import importlib
import json
import pkgutil
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import diffeval.metrics
from diffeval.metrics import neighbours
from diffeval.metrics.metric import METRICS, Estimate, FeatureSet
from diffeval.metrics.prompted import Prompted

TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "suite_agreement.json"
NAMES = ("ant", "bee", "cow", "doe")
# Real and generated: as many as every metric uses in full (neighbourhoods take half of the reference).
N, M, D = 240, 480, 6

# Biased at every n, so it has an error and no interval.
WITHOUT_INTERVAL = {"fid"}
# What the order of the images may change, and why. Neighbourhoods: halves are drawn by index, for the error of both
# sides, and of the reference for the value. Frechet distances of classes: which images, one of each class, are left
# out together, which plain fid does not feel in its value.
HALVES = {name: {"std_error"} for name in ("precision", "recall", "density", "coverage")}
GROUPS = {"fid": {"std_error"}, "fid_debiased": {"value", "std_error"}}
# Half of the reference makes the clusters: with another half, other modes are counted.
OTHER_MODES = ("mode_coverage",)
BY_PLACE: dict[str, set[str]] = {**HALVES, **GROUPS}
BY_REFERENCE_PLACE: dict[str, set[str]] = {**{name: {"value", "std_error"} for name in HALVES}, **GROUPS}
# Of distances and their sums in float32.
ROUNDING = {"vendi": 1e-6, "within_class": 1e-6, "clip_score": 1e-6}
# Block sizes that bound memory; BLOCK of the others is the images that an estimator takes together.
MEMORY_BLOCKS = ("kernel", "vendi", "neighbours", "within_class", "within_mode", "clip_reading")
OTHER_BLOCKS = ("pairs", "kernel_terms", "realism")


def _side(seed: int, n: int, shift: float) -> FeatureSet:
    drawn = np.random.Generator(np.random.Philox(seed))
    labels = drawn.permutation(np.arange(n) % 4)
    features = 2 * np.eye(4, D)[labels] + drawn.standard_normal((n, D)) + shift
    logits = 3 * np.eye(4)[labels] + 2 * drawn.standard_normal((n, 4))
    look = drawn.uniform(0.1, 0.8, (n, 8))
    look[: n // 20, 2:5] = 0.0  # of a single colour
    return FeatureSet(
        features, labels, logits, NAMES, NAMES, "clip:ViT-L-14-336", look, prompted=_prompted(drawn, features, labels)
    )


def _prompted(drawn: np.random.Generator, images: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> Prompted:
    """Three wordings of each class, near its images."""
    concepts = np.arange(12) % 4
    texts = 2 * np.eye(4, D)[concepts] + 0.3 * drawn.standard_normal((12, D))
    ids = tuple(map(str, range(12)))
    rows = labels + 4 * drawn.integers(3, size=len(labels))
    groups = ("a", "b", "b", "b") * 3
    return Prompted(images, texts, rows, concepts, ids, ids, groups, np.zeros(12, dtype=bool), "clip:ViT-L-14-336")


def _pair() -> tuple[FeatureSet, FeatureSet]:
    return _side(1, N, 0.3), _side(2, M, 0.0)


def _estimates(name: str, generated: FeatureSet, reference: FeatureSet) -> dict[str, Estimate]:
    return {one.name: one for one in METRICS[name].compute(generated, dataclasses.replace(reference, _kept={}), True)}


def _shuffled(images: FeatureSet) -> FeatureSet:
    return images.at(np.random.Generator(np.random.Philox(9)).permutation(len(images)))


def _assert_same(
    one: dict[str, Estimate], other: dict[str, Estimate], loose: dict[str, set[str]], rel: float = 1e-9
) -> None:
    """Values and errors are equal, or, where they may differ, by no more than 4 errors, and by 40% of these."""
    for name, estimate in one.items():
        again = other[name]
        assert estimate.value is not None
        assert again.value is not None
        assert estimate.std_error is not None
        assert again.std_error is not None
        may = loose.get(name, set())
        gap = 4 * estimate.std_error if "value" in may else rel * max(1.0, abs(estimate.value))
        assert abs(again.value - estimate.value) <= gap, name
        share = 0.4 if "std_error" in may else rel
        assert again.std_error == pytest.approx(estimate.std_error, rel=share), name


everyone = pytest.mark.parametrize("name", METRICS.names())


@everyone
def test_every_score_has_all_that_is_promised(name: str) -> None:
    found = METRICS[name].compute(*_pair(), True)
    # Once each, or once for each kind of what they count.
    kinds = len(found) // len(METRICS[name].scores)
    assert tuple(one.name for one in found) == kinds * METRICS[name].scores
    for one in found:
        assert one.value is not None, one.params
        assert np.isfinite(one.value)
        assert one.higher_is_better is METRICS[name].direction(one.name)
        assert one.std_error is not None
        assert one.std_error > 0
        assert one.params["std_error_method"]
        if one.name in WITHOUT_INTERVAL:
            assert one.ci95 is None
        else:
            assert one.ci95 is not None
            # What lies at its ceiling has it as its end.
            assert one.ci95[0] < one.value <= one.ci95[1]
        assert one.name == one.name.lower().replace("-", "_").replace(" ", "_")


@everyone
def test_every_metric_says_what_it_is_and_where_it_is_from(name: str) -> None:
    compute = METRICS[name].compute
    told = compute.__doc__ or ""
    assert told.splitlines()[0].endswith("."), "eval --list shows the first line"
    assert "Source:" in told + (sys.modules[compute.__module__].__doc__ or "")


def test_no_two_metrics_have_a_score_in_common() -> None:
    scores = [score for name in METRICS for score in METRICS[name].scores]
    assert len(scores) == len(set(scores))
    places = [METRICS[name].place for name in METRICS if METRICS[name].place]
    assert len(places) == len(set(places))


@everyone
def test_results_are_frozen(name: str) -> None:
    for one in METRICS[name].compute(*_pair(), True):
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.value = 0.0  # type: ignore[misc]


@everyone
def test_draws_from_no_global_random_state(name: str) -> None:
    pair = _pair()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # type: ignore[index, union-attr]  # noqa: NPY002
    first = METRICS[name].compute(*pair, True)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # type: ignore[index, union-attr]  # noqa: NPY002
    assert before == after
    second = METRICS[name].compute(*_pair(), True)
    for one, other in zip(first, second, strict=True):
        assert (one.name, one.value, one.std_error, one.ci95) == (
            other.name,
            other.value,
            other.std_error,
            other.ci95,
        )


@everyone
def test_leaves_its_input_as_it_was(name: str) -> None:
    (generated, reference), (same, other) = _pair(), _pair()
    METRICS[name].compute(generated, reference, True)
    for one, kept in ((generated, same), (reference, other)):
        np.testing.assert_array_equal(one.features, kept.features)
        np.testing.assert_array_equal(one.labels, kept.labels)  # type: ignore[arg-type]
        np.testing.assert_array_equal(one.logits, kept.logits)  # type: ignore[arg-type]


@everyone
def test_order_of_the_generated_images_does_not_matter(name: str) -> None:
    generated, reference = _pair()
    one, other = _estimates(name, generated, reference), _estimates(name, _shuffled(generated), reference)
    _assert_same(one, other, BY_PLACE, ROUNDING.get(name, 1e-9))


@pytest.mark.parametrize("name", [name for name in METRICS.names() if name not in OTHER_MODES])
def test_order_of_the_reference_does_not_matter(name: str) -> None:
    generated, reference = _pair()
    one, other = _estimates(name, generated, reference), _estimates(name, generated, _shuffled(reference))
    _assert_same(one, other, BY_REFERENCE_PLACE, ROUNDING.get(name, 1e-9))


def test_without_classes_the_order_does_not_move_frechet_distances() -> None:
    """Groups are single images then; pairs are taken by blocks, which moves the error by less than a hundredth."""
    pair = tuple(dataclasses.replace(one, labels=None) for one in _pair())
    one, other = _estimates("fid", *pair), _estimates("fid", *(_shuffled(one) for one in pair))
    for score in one:
        assert one[score].value == pytest.approx(other[score].value, rel=1e-9)
        assert one[score].std_error == pytest.approx(other[score].std_error, rel=0.01)


@everyone
def test_size_of_blocks_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generated, reference = _pair()
    expected = _estimates(name, generated, reference)
    for module in MEMORY_BLOCKS:
        monkeypatch.setattr(f"diffeval.metrics.{module}.BLOCK", 37)
    for function in (neighbours.nearest, neighbours.within_reach):
        monkeypatch.setattr(function, "__defaults__", (37,))
    _assert_same(expected, _estimates(name, generated, reference), {}, ROUNDING.get(name, 1e-9))


def test_every_block_size_is_looked_at() -> None:
    modules = [found.name for found in pkgutil.iter_modules(diffeval.metrics.__path__)]
    with_blocks = {each for each in modules if hasattr(importlib.import_module(f"diffeval.metrics.{each}"), "BLOCK")}
    assert with_blocks == {*MEMORY_BLOCKS, *OTHER_BLOCKS}


def _stored(images: FeatureSet, change: Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]]) -> FeatureSet:
    assert images.logits is not None
    return dataclasses.replace(
        images,
        features=change(images.features),
        logits=change(images.logits),
        _kept={},  # type: ignore[arg-type]
    )


@everyone
def test_storage_in_float32_changes_no_more_than_its_rounding(name: str) -> None:
    """Features are stored in float32 and come as float64 of these; the digits that were lost move no score visibly."""
    pair = _pair()
    rounded = tuple(_stored(one, lambda array: array.astype(np.float32).astype(np.float64)) for one in pair)
    _assert_same(_estimates(name, *pair), _estimates(name, *rounded), {}, rel=2e-5)


def test_every_score_is_in_the_table_of_agreement() -> None:
    """A score is held against its peers or a closed form before it is shown to anybody."""
    rows = json.loads(TABLE.read_text())["rows"]
    listed = {row["score"] for row in rows}
    scores = {score for name in METRICS for score in METRICS[name].scores}
    assert scores - listed == set(), f"add to benchmarks/suite_agreement.py: {sorted(scores - listed)}"
    assert listed - scores == set(), f"no longer computed: {sorted(listed - scores)}"
    for row in rows:
        assert row["held against"], row
        assert row["difference"] <= row["tolerance"], row
