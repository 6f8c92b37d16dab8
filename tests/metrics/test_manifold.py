"""Grids worked by hand, the authors' packages on the same arrays, and independent redraws."""

import contextlib
import io
from math import prod

import numpy as np
import pytest
import torch
from prdc import compute_prdc  # 0.2
from torch_fidelity.metric_prc import prc_features_to_metric  # 0.4.0

from diffeval.metrics.manifold import NEIGHBOURS, Reading, make_cloud, manifold, read
from diffeval.metrics.metric import Array, Estimate, FeatureSet


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _read(generated: Array, real: Array) -> Reading:
    centre = real.mean(axis=0)
    return read(make_cloud(generated, centre), make_cloud(real, centre))


def _prdc(generated: Array, real: Array, k: int) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, float] = compute_prdc(real, generated, k)
    return found


LINE = np.arange(10.0)[:, None]


def test_two_lines_by_hand() -> None:
    """Real images at 0 to 9, generated ones at 7 to 16.

    k = 3: balls reach 3 at the ends, else 2. So 9 reaches 12, and 7 reaches down to 4: 6 of 10 on both sides.
    k = 5: balls of 0, 1 and 2 to 7 reach 5, 4 and 3. Balls around 7, 8, ..., 14: 6 + 5 + 4 + 3 + 2 + 2 + 1 + 1 = 24;
    those of 4 to 9 hold a generated image.
    """
    assert _read(LINE + 7, LINE).values == {"precision": 0.6, "recall": 0.6, "density": 24 / 50, "coverage": 0.6}
    # prdc takes what lies on the surface to be outside: 12, and 4, are lost.
    assert _prdc(LINE + 7, LINE, 3)["precision"] == 0.5


def test_a_line_on_itself_and_far_away() -> None:
    # Balls around 0 to 4: 4, 5, 6, 7, 7 (5 and 6 to 9 alike): 58 in all.
    balls = np.array([5, 4, 3, 3, 3, 3, 3, 3, 4, 5])
    expected = float((np.abs(LINE - LINE.T) <= balls).sum()) / 50
    assert _read(LINE, LINE).values == {"precision": 1.0, "recall": 1.0, "density": expected, "coverage": 1.0}
    assert _read(LINE + 100, LINE).values == dict.fromkeys(NEIGHBOURS, 0.0)


def test_one_image_again_and_again() -> None:
    """All generated images are real image 5: balls of radius 0, quality without diversity."""
    found = _read(np.full((10, 1), 5.0), LINE)
    # Balls of k = 5 around 2 to 8, and of 1 (reach 4) and 0 (reach 5), 9 and 8: all ten hold 5.
    assert found.values == {"precision": 1.0, "recall": 0.1, "density": 10 * 10 / 50, "coverage": 1.0}


def test_copies_on_both_sides_agree_with_the_definition() -> None:
    random = _random(0)
    x, y = (random.integers(0, 3, (80, 3)).astype(np.float64) for _ in range(2))
    squared = ((x[:, None] - y[None]) ** 2).sum(axis=2)

    def radii(points: Array, k: int) -> Array:
        own = ((points[:, None] - points[None]) ** 2).sum(axis=2)
        np.fill_diagonal(own, np.inf)
        sorted_radii: Array = np.sort(own, axis=1)[:, k - 1]
        return sorted_radii

    assert (radii(y, 3) == 0).any()
    inside = squared <= radii(y, 5)[None]
    assert _read(x, y).values == {
        "precision": (squared <= radii(y, 3)[None]).any(axis=1).mean(),
        "recall": (squared <= radii(x, 3)[:, None]).any(axis=0).mean(),
        "density": inside.sum() / (5 * 80),
        "coverage": inside.any(axis=0).mean(),
    }


@pytest.mark.parametrize(("n", "d", "shift"), [(300, 2, 0.5), (300, 16, 0.2), (200, 64, 0.1)])
def test_agrees_with_prdc_and_torch_fidelity(n: int, d: int, shift: float) -> None:
    """Where no point lies on a surface, ``<`` of prdc and ``<=`` are the same."""
    random = _random(d)
    x, y = random.standard_normal((n, d)) * 1.1 + shift, random.standard_normal((n, d))
    ours = _read(x, y).values
    theirs = {k: _prdc(x, y, k) for k in set(NEIGHBOURS.values())}
    for name, k in NEIGHBOURS.items():
        assert ours[name] == pytest.approx(theirs[k][name], abs=1e-12), name
    fidelity = prc_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), prc_neighborhood=3, verbose=False)
    assert ours["precision"] == pytest.approx(fidelity["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(fidelity["recall"], abs=1e-6)
    assert 0.05 < ours["precision"] < 0.999


def test_swapped_recall_is_precision_and_coverage_is_another_number() -> None:
    random = _random(1)
    x, y = random.standard_normal((200, 4)) * 0.6, random.standard_normal((200, 4))
    one, other = _read(x, y).values, _read(y, x).values
    assert (one["precision"], one["recall"]) == (other["recall"], other["precision"])
    assert one["precision"] > one["recall"] + 0.1
    assert abs(one["density"] - other["density"]) > 0.1
    assert one["coverage"] != other["coverage"]


def test_coverage_of_the_same_law_is_what_its_authors_derive() -> None:
    """1 - (n - 1)...(n - k) / ((2n - 1)...(2n - k)) at any n and in any dimension, 1 - 2^-k without end."""
    n, k = 60, NEIGHBOURS["coverage"]
    random = _random(2)
    for d in (1, 30):
        values = [
            _read(random.standard_normal((n, d)), random.standard_normal((n, d))).values["coverage"] for _ in range(60)
        ]
        expected = 1 - prod((n - i) / (2 * n - i) for i in range(1, k + 1))
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(60)
        assert expected == pytest.approx(1 - 2**-k, abs=0.01)


def _estimates(generated: Array, reference: Array) -> dict[str, Estimate]:
    return {one.name: one for one in manifold(FeatureSet(generated), FeatureSet(reference), True)}


@pytest.mark.parametrize(("n", "m", "expected"), [(300, 400, 200), (150, 400, 150), (150, 401, 150), (201, 401, 200)])
def test_both_sides_and_the_null_have_equally_many_images(n: int, m: int, expected: int) -> None:
    random = _random(3)
    found = _estimates(random.standard_normal((n, 3)), random.standard_normal((m, 3)))
    for name, k in NEIGHBOURS.items():
        assert found[name].null is not None
        assert found[name].null.n == found[name].params["n_k"] == expected  # type: ignore[union-attr]
        assert found[name].params["k"] == k


def test_the_null_is_what_one_half_of_the_reference_reads_of_the_other() -> None:
    """So it does not depend on the generated images, and where these are real ones it is expected of them."""
    random = _random(4)
    gaps: dict[str, list[float]] = {name: [] for name in NEIGHBOURS}
    errors: dict[str, list[float]] = {name: [] for name in NEIGHBOURS}
    for _ in range(30):
        reference = random.standard_normal((160, 6))
        found = _estimates(random.standard_normal((80, 6)), reference)
        other = _estimates(random.standard_normal((80, 6)) + 3, reference)
        for name in NEIGHBOURS:
            null = found[name].null
            assert null is not None
            assert null == other[name].null
            gaps[name].append(found[name].value - null.value)  # type: ignore[operator, arg-type]
            errors[name].append(null.std_error or 0.0)
    for name, gap in gaps.items():
        assert abs(np.mean(gap)) < 4 * np.std(gap) / np.sqrt(30), name
        # Both share the half that they are held against, so they differ by less than two independent errors.
        assert 0.5 < np.std(gap) / (np.sqrt(2) * np.mean(errors[name])) < 1.5, name


def test_a_reference_is_read_once() -> None:
    random = _random(5)
    reference = FeatureSet(random.standard_normal((200, 3)))
    manifold(FeatureSet(random.standard_normal((100, 3))), reference, True)
    assert list(reference._kept) == ["manifold 100"]


@pytest.mark.parametrize(("d", "scale", "shift"), [(3, 1.0, 0.3), (8, 1.2, 0.0), (24, 0.9, 0.1)])
def test_errors_are_the_scatter_of_redraws(d: int, scale: float, shift: float) -> None:
    random = _random(6)
    readings = [
        _read(random.standard_normal((150, d)) * scale + shift, random.standard_normal((150, d))) for _ in range(60)
    ]
    for name in NEIGHBOURS:
        scatter = np.std([one.values[name] for one in readings], ddof=1)
        # 60 redraws know their scatter to 9%. Halves hold three times what pairs of images add to the variance of the
        # whole, so errors are too large rather than too small.
        assert 0.75 < np.mean([one.errors[name] for one in readings]) / scatter < 1.6, name


def test_the_same_seed_every_time() -> None:
    x, y = _random(7).standard_normal((2, 100, 3))
    assert _read(x, y) == _read(x, y)


def test_needs_two_halves() -> None:
    with pytest.raises(ValueError, match="50 images of each of two halves of the reference, which has 90"):
        manifold(FeatureSet(np.eye(100)), FeatureSet(np.eye(90)), True)


def test_intervals_stay_in_range() -> None:
    random = _random(8)
    x = random.standard_normal((120, 3))
    for one in _estimates(x[:60], x).values():
        assert one.value is not None
        assert one.ci95 is not None
        assert 0 <= one.ci95[0] <= one.value <= one.ci95[1]
        assert one.ci95[1] <= 1 or one.name == "density"
