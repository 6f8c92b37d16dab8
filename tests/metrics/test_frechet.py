"""The plain distance: closed forms, and how it must change with its arguments."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeval.metrics.frechet import Moments, frechet_distance, moments
from diffeval.metrics.metric import Array


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _gaussian(mean: Array, covariance: Array, n: int = 10) -> Moments:
    return Moments(np.asarray(mean, dtype=float), np.asarray(covariance, dtype=float), n)


def _rotation(d: int, seed: int = 3) -> Array:
    rotation: Array = np.linalg.qr(_random(seed).standard_normal((d, d)))[0]
    return rotation


def test_diagonal_gaussians_in_closed_form() -> None:
    # (1-4)^2 + (2-2)^2 + (sqrt 4 - sqrt 9)^2 + (sqrt 1 - sqrt 16)^2 = 9 + 0 + 1 + 9
    one = _gaussian([1, 2], np.diag([4, 1]))
    other = _gaussian([4, 2], np.diag([9, 16]))
    assert frechet_distance(one, other) == pytest.approx(19.0, rel=1e-12)


def test_two_by_two_without_common_axes() -> None:
    # For 2x2: tr((S1 S2)^1/2) = sqrt(tr(S1 S2) + 2 sqrt(det S1 det S2)).
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    root = np.sqrt(np.trace(first @ second) + 2 * np.sqrt(np.linalg.det(first) * np.linalg.det(second)))
    expected = np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(_gaussian([0, 0], first), _gaussian([0, 0], second)) == pytest.approx(expected, rel=1e-12)


def test_a_singular_covariance_is_no_trouble() -> None:
    # Along the second axis only one side has variance: 4 remains of it; the first axis gives (2 - 1)^2.
    distance = frechet_distance(_gaussian([0, 0], np.diag([4, 4])), _gaussian([0, 0], np.diag([1, 0])))
    assert distance == pytest.approx(1 + 4, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.1, 10), seed=st.integers(0, 100))
def test_scale_rotation_shift_and_order(scale: float, seed: int) -> None:
    random = _random(seed)
    one, other = random.standard_normal((60, 5)), random.standard_normal((50, 5)) * 1.5 + 0.3
    distance = frechet_distance(moments(one), moments(other))
    assert frechet_distance(moments(scale * one), moments(scale * other)) == pytest.approx(
        scale**2 * distance, rel=1e-9
    )
    turned = [features @ _rotation(5) + 2.0 for features in (one, other)]
    assert frechet_distance(moments(turned[0]), moments(turned[1])) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(moments(one[::-1]), moments(other)) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(moments(other), moments(one)) == pytest.approx(distance, rel=1e-9)


def test_identical_sets_are_at_distance_zero() -> None:
    features = _random().standard_normal((200, 8))
    assert abs(frechet_distance(moments(features), moments(features))) < 1e-12


def test_moments_agree_with_numpy() -> None:
    features = (_random().standard_normal((100, 4)) + 1000).astype(np.float32)
    found = moments(features.astype(np.float64))
    np.testing.assert_allclose(found.mean, features.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-9)


def test_badly_scaled_moments_to_sixty_digits() -> None:
    """Eigenvalues over ten orders of magnitude, where a general matrix root is wrong in the eighth digit."""
    scales = np.logspace(-5, 5, 12)
    random = _random(8)
    one, other = (random.standard_normal((300, 12)) * np.sqrt(scales) @ _rotation(12, seed) for seed in (1, 2))
    left, right = moments(one), moments(other)
    with mpmath.workdps(60):
        factor = mpmath.cholesky(mpmath.matrix(right.covariance.tolist()))
        product = factor.T * mpmath.matrix(left.covariance.tolist()) * factor
        root = sum(mpmath.sqrt(value) for value in mpmath.eigsy((product + product.T) / 2, eigvals_only=True))
    expected = ((left.mean - right.mean) ** 2).sum() + np.trace(left.covariance + right.covariance) - 2 * float(root)
    assert frechet_distance(left, right) == pytest.approx(expected, rel=1e-12)


def test_dead_features_are_no_trouble() -> None:
    """A feature that never fires has no variance on either side, and changes nothing."""
    random = _random(9)
    one, other = random.standard_normal((50, 3)), random.standard_normal((60, 3)) + 1
    expected = frechet_distance(moments(one), moments(other))
    padded = [np.column_stack([features, np.zeros(len(features))]) for features in (one, other)]
    assert frechet_distance(moments(padded[0]), moments(padded[1])) == pytest.approx(expected, rel=1e-9)
