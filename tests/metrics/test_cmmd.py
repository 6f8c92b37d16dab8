"""The authors' formula over all pairs, the unbiased value over redraws, and errors against them."""

from math import sqrt

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from diffeval.metrics.cmmd import cmmd, unit
from diffeval.metrics.metric import Array, Estimate, FeatureSet, LackingError

CLIP = "clip:ViT-L-14-336"


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _images(features: Array, labels: np.ndarray | None = None, extractor: str = CLIP) -> FeatureSet:
    return FeatureSet(features, labels, extractor=extractor)


def _score(x: Array, y: Array, independent: bool = True, labels: np.ndarray | None = None) -> Estimate:
    return cmmd(_images(x, labels), _images(y, labels), independent)[0]


def _kernel(x: Array, y: Array) -> Array:
    x, y = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in (x, y))
    kernel: Array = np.exp(-cdist(x, y, "sqeuclidean") / (2 * 10.0**2))
    return kernel


def _authors(x: Array, y: Array) -> float:
    """1000 (mean kxx + mean kyy - 2 mean kxy), all pairs, sigma 10."""
    return float(1000 * (_kernel(x, x).mean() + _kernel(y, y).mean() - 2 * _kernel(x, y).mean()))


@pytest.mark.parametrize("labels", [None, np.arange(40) % 4])
def test_v_statistic_is_the_authors_number(labels: np.ndarray | None) -> None:
    x, y = _random(0).standard_normal((2, 40, 6))
    x += 0.7
    found = _score(x, y, labels=labels)
    assert found.params["v_statistic"] == pytest.approx(_authors(x, y), rel=1e-9)
    assert found.params["authors_extractor"] is True
    assert cmmd(_images(x, extractor="clip:ViT-B-32"), _images(y), True)[0].params["authors_extractor"] is False


def test_value_is_the_u_statistic() -> None:
    random = _random(1)
    x, y = random.standard_normal((30, 5)) + 0.4, random.standard_normal((24, 5))
    inner = [(k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in (_kernel(x, x), _kernel(y, y))]
    expected = 1000 * (sum(inner) - 2 * _kernel(x, y).mean())
    assert _score(x, y).value == pytest.approx(expected, rel=1e-9)
    assert _score(3 * x, 0.1 * y).value == pytest.approx(expected, rel=1e-9)


def test_orthogonal_by_hand() -> None:
    """All images at one point on either side, at right angles: |x - y|^2 = 2."""
    x, y = (np.tile(row, (30, 1)) for row in ([2.0, 0.0], [0.0, 5.0]))
    found = _score(x, y)
    assert found.value == pytest.approx(2000 * (1 - np.exp(-2 / 200)), rel=1e-9)
    # The square root of what rounding leaves of the variance.
    assert found.std_error == pytest.approx(0.0, abs=1e-6)
    assert _score(x, x).value == pytest.approx(0.0, abs=1e-9)


def test_is_the_shift_of_the_mean_embedding_and_nothing_else() -> None:
    random = _random(2)
    x, y = unit(random.standard_normal((400, 8)) + np.eye(8)[0]), unit(random.standard_normal((400, 8)))
    assert _score(x, y).params["v_statistic"] == pytest.approx(
        1000 / 100 * ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum(), rel=0.02
    )


@pytest.mark.parametrize("labelled", [False, True])
def test_unbiased_where_nothing_is_wrong(labelled: bool) -> None:
    """For balanced classes, too, whose plain U-statistic lies below 0, because pairs of a class are rare."""
    random, labels = _random(3), np.arange(40) % 4
    centres = 2 * np.eye(4)[labels] if labelled else np.zeros((40, 4))
    values, plain, biased = [], [], []
    for _ in range(200):
        x, y = (centres + random.standard_normal((40, 4)) for _ in range(2))
        found = _score(x, y, labels=labels if labelled else None)
        values.append(found.value)
        biased.append(found.params["v_statistic"])
        plain.append(_score(x, y).value)
    error = np.std(values) / sqrt(200)  # type: ignore[arg-type]
    assert abs(np.mean(values)) < 4 * error  # type: ignore[arg-type]
    assert np.mean(biased) > 10 * error  # type: ignore[arg-type]
    assert bool(np.mean(plain) < -10 * error) is labelled  # type: ignore[arg-type]


@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("shift", [0.0, 0.15, 1.0])
@pytest.mark.parametrize("labelled", [False, True])
def test_error_is_the_scatter_of_redraws(independent: bool, shift: float, labelled: bool) -> None:
    random, labels = _random(4), np.arange(80) % 4
    centres = 2 * np.eye(6)[labels] if labelled else np.ones((80, 6))
    values, errors = [], []
    fixed = centres + random.standard_normal((80, 6))
    for _ in range(120):
        y = centres + random.standard_normal((80, 6)) if independent else fixed
        x = centres + random.standard_normal((80, 6)) + shift * np.eye(6)[5]
        found = _score(x, y, independent, labels if labelled else None)
        values.append(found.value)
        errors.append(found.std_error)
    # 120 redraws know the scatter to 7%; next to 0 the first order is kept above 0, which adds to the error.
    low, high = 0.75, 1.3 if shift == 1.0 else 1.7
    assert low < np.mean(errors) / np.std(values, ddof=1) < high  # type: ignore[arg-type]


def test_symmetric() -> None:
    x, y = _random(5).standard_normal((2, 50, 4))
    one, other = _score(x, y + 0.5), _score(y + 0.5, x)
    assert one.value == pytest.approx(other.value, rel=1e-9)
    assert one.std_error == pytest.approx(other.std_error, rel=1e-9)


@pytest.mark.parametrize("extractor", ["inception", "dinov2:vitl14", "digits", "", "clipper"])
def test_other_extractors_are_refused(extractor: str) -> None:
    x = _random(6).standard_normal((30, 4))
    with pytest.raises(LackingError, match="cmmd is defined on CLIP's features; use --extractor clip:ViT-L-14-336"):
        cmmd(_images(x, extractor=extractor), _images(x, extractor=extractor), True)
