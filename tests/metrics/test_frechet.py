"""Closed forms, and estimates against laws whose distance is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeval.metrics.frechet import (
    Moments,
    debiased_frechet,
    delete_group_jackknife,
    fid,
    frechet_distance,
    frechet_influence,
    moments,
)
from diffeval.metrics.metric import Array, FeatureSet


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


def test_influence_is_the_derivative() -> None:
    """Weighting image i by a little more moves the distance by its influence: a numerical derivative."""
    random = _random(1)
    generated, reference = random.standard_normal((40, 4)) * [1, 2, 3, 0.5], random.standard_normal((300, 4))
    # The functional uses divisor n; undo the n - 1.
    against = moments(reference)

    def weighted(weights: Array) -> float:
        weights = weights / weights.sum()
        mean = weights @ generated
        deviations = generated - mean
        return frechet_distance(Moments(mean, (deviations * weights[:, None]).T @ deviations, 40), against)

    n = len(generated)
    here = moments(generated)
    population = Moments(here.mean, here.covariance * (n - 1) / n, n)
    value, influence = frechet_influence(generated, population, against)
    assert value == pytest.approx(weighted(np.ones(n)), rel=1e-10)
    step = 1e-5
    for index in (0, 7, 39):
        # d/de of T((1 - e) F + e delta_x), central difference.
        up, down = ((1 - e) * np.ones(n) / n + e * (np.arange(n) == index) for e in (step, -step))
        assert influence[index] == pytest.approx((weighted(up) - weighted(down)) / (2 * step), rel=1e-4, abs=1e-6)
    assert influence.mean() == pytest.approx(0.0, abs=1e-9)


def test_jackknife_removes_a_bias_of_order_one_over_n_exactly() -> None:
    # theta_n = 3 + 5/n: the combination gives 3 whatever the group sizes.
    sizes = np.array([3.0, 4.0, 4.0, 5.0])
    n = sizes.sum()
    result = delete_group_jackknife(3 + 5 / n, 3 + 5 / (n - sizes), sizes)
    assert result.value == pytest.approx(3.0, rel=1e-12)


def test_jackknife_of_a_mean_is_the_mean_with_its_textbook_error() -> None:
    groups = _random(2).standard_normal(10)
    left_out = (groups.sum() - groups) / 9
    result = delete_group_jackknife(float(groups.mean()), left_out, np.full(10, 7.0))
    assert result.value == pytest.approx(groups.mean(), rel=1e-12)
    assert result.std_error == pytest.approx(groups.std(ddof=1) / np.sqrt(10), rel=1e-12)


@pytest.mark.parametrize("independent", [False, True])
def test_debiased_value_hits_a_known_distance_where_the_plain_one_misses(independent: bool) -> None:
    """Gaussians at distance ||0.3 1||^2 + d (1.2 - 1)^2 = 16 * 0.09 + 16 * 0.04 = 2.08; 200 images."""
    random = _random(5)
    plain, debiased = [], []
    for _ in range(30):
        generated = FeatureSet(random.standard_normal((200, 16)) * 1.2 + 0.3)
        if independent:
            reference = FeatureSet(random.standard_normal((300, 16)))
        else:  # a reference whose sample moments are the population's
            raw = random.standard_normal((300, 16))
            white = (raw - raw.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
            reference = FeatureSet(white)
        value = frechet_distance(moments(generated.features), moments(reference.features))
        plain.append(value)
        debiased.append(debiased_frechet(generated, reference, value, independent)[0].value)
    error = np.std(debiased, ddof=1) / np.sqrt(len(debiased))
    assert abs(np.mean(debiased) - 2.08) < 4 * error
    assert np.mean(plain) - 2.08 > 8 * error


def test_identical_laws_give_an_interval_around_zero_and_negative_values_are_shown() -> None:
    random = _random(11)
    values = []
    for _ in range(20):
        generated, reference = (FeatureSet(random.standard_normal((200, 8))) for _ in range(2))
        values.append(fid(generated, reference, True)[1].value)
    assert min(values) < 0 < max(values)  # type: ignore[type-var]


def test_marks_and_terms() -> None:
    random = _random(4)
    labels = np.arange(100) % 5
    generated = FeatureSet(random.standard_normal((100, 3)), labels)
    plain, debiased = fid(generated, FeatureSet(random.standard_normal((500, 3)) + 1), False)
    assert plain.params["biased"] is True
    assert plain.ci95 is None
    assert plain.terms["influence"].shape == (100,)
    assert debiased.terms["left_out"].shape == (10,)
    assert debiased.params["reference_side"] == "held fixed"
    assert debiased.ci95 is not None
    assert debiased.ci95[0] < debiased.value < debiased.ci95[1]  # type: ignore[operator]
