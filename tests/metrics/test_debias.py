"""The debiased distance: laws whose distance is known, and how the estimate must change with its arguments."""

import numpy as np
import pytest

from diffeval.metrics.debias import debiased_frechet
from diffeval.metrics.fid import fid
from diffeval.metrics.frechet import Moments, frechet_distance, moments
from diffeval.metrics.metric import Array, FeatureSet


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _rotation(d: int, seed: int = 3) -> Array:
    rotation: Array = np.linalg.qr(_random(seed).standard_normal((d, d)))[0]
    return rotation


def _known(mean: Array, covariance: Array) -> FeatureSet:
    """A reference of which only moments are known."""
    reference = FeatureSet(np.empty((0, len(mean))))
    reference.once("moments", lambda: Moments(np.asarray(mean, float), np.asarray(covariance, float), 10**9))
    return reference


@pytest.mark.parametrize("per_dimension", [2, 12, 40])
@pytest.mark.parametrize("independent", [False, True])
def test_hits_a_known_distance_where_the_plain_one_misses(independent: bool, per_dimension: int) -> None:
    """Gaussians at distance 16 * 0.3^2 + 16 * (1.2 - 1)^2 = 2.08, at counts with and without second order."""
    random, n = _random(5), 16 * per_dimension
    plain, debiased, covered = [], [], 0
    for _ in range(60):
        generated = FeatureSet(random.standard_normal((n, 16)) * 1.2 + 0.3)
        reference = FeatureSet(random.standard_normal((n, 16))) if independent else _known(np.zeros(16), np.eye(16))
        found = debiased_frechet(generated, reference, independent)
        plain.append(found.plain)
        debiased.append(found.value)
        covered += found.ci95[0] <= 2.08 <= found.ci95[1]
    error = np.std(debiased, ddof=1) / np.sqrt(60)
    assert abs(np.mean(debiased) - 2.08) < 4 * error
    assert np.mean(plain) - 2.08 > 4 * error
    assert covered >= 51  # 95% of 60 are 57; 50 or fewer have a chance of 1 in 1,000


def test_fixed_classes_are_no_sampling_error() -> None:
    """Two classes far apart, always half and half: the error is that within classes, and the bias, too."""
    random, labels = _random(6), np.arange(400) % 2
    centres = np.array([[10.0, 0, 0, 0], [-10.0, 0, 0, 0]])
    reference = _known(np.zeros(4), np.eye(4) + np.diag([100.0, 0, 0, 0]))
    told, untold = [], []
    for _ in range(40):
        features = centres[labels] + random.standard_normal((400, 4))
        told.append(debiased_frechet(FeatureSet(features, labels), reference, False))
        untold.append(debiased_frechet(FeatureSet(features), reference, False))
    spread = np.std([found.value for found in told], ddof=1)
    assert abs(np.mean([found.value for found in told])) < 4 * spread / np.sqrt(40)
    assert np.mean([found.std_error for found in told]) == pytest.approx(spread, rel=0.35)
    # Without the labels the mean of 400 images seems to move by 10 / sqrt(400) along the first axis.
    assert np.mean([found.std_error for found in untold]) > 3 * spread
    assert np.mean([found.value for found in untold]) < -0.2


def test_scale_rotation_and_shift() -> None:
    random = _random(7)
    one, other = random.standard_normal((60, 8)), random.standard_normal((70, 8)) * 1.3 + 0.2
    base = debiased_frechet(FeatureSet(one), FeatureSet(other), True)
    scaled = debiased_frechet(FeatureSet(3 * one), FeatureSet(3 * other), True)
    assert scaled.value == pytest.approx(9 * base.value, rel=1e-8)
    assert scaled.std_error == pytest.approx(9 * base.std_error, rel=1e-6)
    turned = [FeatureSet(features @ _rotation(8) + 5.0) for features in (one, other)]
    found = debiased_frechet(turned[0], turned[1], True)
    assert found.value == pytest.approx(base.value, rel=1e-6)
    assert found.std_error == pytest.approx(base.std_error, rel=1e-6)


def test_row_order_does_not_matter() -> None:
    random = _random(8)
    one, other = random.standard_normal((50, 6)), random.standard_normal((50, 6)) + 0.5
    base = debiased_frechet(FeatureSet(one), FeatureSet(other), True)
    order = random.permutation(50)
    found = debiased_frechet(FeatureSet(one[order]), FeatureSet(other), True)
    assert found.value == pytest.approx(base.value, rel=1e-3)
    np.testing.assert_allclose(found.influence, base.influence[order], rtol=1e-6, atol=1e-9)


def test_swapped_arguments() -> None:
    random = _random(9)
    one, other = FeatureSet(random.standard_normal((60, 6))), FeatureSet(random.standard_normal((80, 6)) * 1.4)
    found, swapped = debiased_frechet(one, other, True), debiased_frechet(other, one, True)
    assert found.value == pytest.approx(swapped.value, rel=1e-3)
    assert found.std_error == pytest.approx(swapped.std_error, rel=1e-3)
    np.testing.assert_allclose(found.terms.pseudo[0], swapped.terms.pseudo[1], rtol=1e-2)


def test_identical_sets_read_zero_plain_and_below_zero_debiased() -> None:
    """The images of the reference itself are closer to its moments than any fresh sample of its population."""
    features = _random(10).standard_normal((90, 6))
    found = debiased_frechet(FeatureSet(features), FeatureSet(features), False)
    assert abs(found.plain) < 1e-12
    assert found.value < 0


def test_identical_laws_give_values_on_both_sides_of_zero() -> None:
    random = _random(11)
    values = [
        debiased_frechet(*(FeatureSet(random.standard_normal((200, 8))) for _ in range(2)), True).value
        for _ in range(20)
    ]
    assert min(values) < 0 < max(values)


def test_influence_is_what_leaving_an_image_out_takes_away() -> None:
    random = _random(12)
    one, other = random.standard_normal((40, 5)), random.standard_normal((60, 5)) + 0.4
    found = debiased_frechet(FeatureSet(one, np.arange(40) % 2), FeatureSet(other), False)
    reference = moments(other)
    taken = np.array(
        [found.plain - frechet_distance(moments(np.delete(one, index, axis=0)), reference) for index in range(40)]
    )
    np.testing.assert_allclose(found.influence, 39 * (taken - taken.mean()), rtol=1e-4, atol=1e-6)
    assert found.influence.mean() == pytest.approx(0.0, abs=1e-9)


def test_needed_images_follow_from_the_parts_of_the_variance() -> None:
    random = _random(13)
    generated = FeatureSet(random.standard_normal((400, 4)) + 1)
    found = debiased_frechet(generated, _known(np.zeros(4), np.eye(4)), False)
    half = found.ci95[1] - found.value
    assert found.needed(half / found.value) == pytest.approx(400, abs=1)
    needed = found.needed(half / found.value / 3)
    assert needed is not None
    # Single images: 9 times as many for a third of the error; pairs of images: 3 times as many.
    assert 3 * 400 < needed <= 9 * 400 + 1
    two_sided = debiased_frechet(generated, FeatureSet(random.standard_normal((400, 4))), True)
    assert two_sided.needed(1e-3) is None  # the reference's own 400 images are in the way


def test_a_distance_that_is_not_told_from_zero_needs_no_number() -> None:
    random = _random(14)
    found = debiased_frechet(FeatureSet(random.standard_normal((100, 5))), _known(np.zeros(5), np.eye(5)), False)
    assert found.ci95[0] < 0 < found.ci95[1]
    assert found.needed(0.1) is None


def test_marks_terms_and_warnings() -> None:
    random = _random(4)
    labels = np.arange(100) % 5
    features = random.standard_normal((100, 3))
    reference = FeatureSet(random.standard_normal((500, 3)) + 1)
    plain, debiased = fid(FeatureSet(features, labels), reference, False)
    assert plain.params["biased"] is True
    assert plain.ci95 is None
    assert plain.terms["influence"].shape == (100,)
    assert debiased.terms["pseudo"].shape == (20,)
    assert debiased.params["groups"] == 20
    assert debiased.params["reference_side"] == "held fixed"
    assert debiased.warnings == ()
    assert fid(FeatureSet(features), reference, True)[1].terms["reference_pseudo"].shape == (500,)
    few = FeatureSet(random.standard_normal((30, 20)))
    assert (
        "30 images are fewer than 2.5 per dimension (20 of them)"
        in fid(few, FeatureSet(features[:, :1] + np.zeros((100, 20)) + random.standard_normal((100, 20))), False)[
            1
        ].warnings[0]
    )
    copied = FeatureSet(np.vstack([features[:90], features[:10]]))
    assert "10 of 100 images" in fid(copied, reference, False)[1].warnings[0]
    crowded = FeatureSet(features, np.arange(100) % 25)
    assert "at least 5 of every class" in fid(crowded, reference, False)[1].warnings[0]
