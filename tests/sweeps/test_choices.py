"""Choices of curves whose answer is known, and how often their sets hold it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from diffeval.errors import DiffevalError
from diffeval.sweeps.choices import (
    NONE,
    Curve,
    best,
    choose,
    covariance,
    draws,
    indistinguishable,
    largest_keeping,
)

MakeCurve = Callable[..., Curve]

SCALES = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
# Lowest at w = 2, near 2.3.
PARABOLA = tuple(0.5 * (w - 2.3) ** 2 for w in SCALES)
FALLING = tuple(1 - 0.05 * (w - 1) for w in SCALES)


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def test_covariance_by_hand_and_jointly() -> None:
    # Deviations of the three groups: -1, 0, 1 and 1, 1, -2; times 2/3.
    first = Curve("a", (1.0,), np.array([5.0]), np.array([[4.0], [5.0], [6.0]]), True)
    second = Curve("b", (1.0,), np.array([0.0]), np.array([[1.0], [1.0], [-2.0]]), True)
    np.testing.assert_allclose(covariance([first, second]), np.array([[2, -3], [-3, 6]]) * 2 / 3)


def test_covariance_of_means_is_that_of_the_mean() -> None:
    # Groups of one: the jackknife of a mean is its textbook covariance.
    seeds = _random(0).standard_normal((50, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0.2], [0, 0, 2]])
    left_out = (seeds.sum(axis=0) - seeds) / 49
    curve = Curve("mean", (1.0, 2.0, 3.0), seeds.mean(axis=0), left_out, True)
    np.testing.assert_allclose(covariance([curve]), np.cov(seeds.T) / 50)


def test_rank_of_the_covariance_is_below_the_number_of_groups(sampled: MakeCurve) -> None:
    curve = sampled(_random(1), SCALES, PARABOLA, 1.0, groups=4)
    assert np.linalg.matrix_rank(covariance([curve, curve])) == 3


def test_draws_have_the_values_as_median_and_the_spread_of_t(sampled: MakeCurve) -> None:
    curve = sampled(_random(2), SCALES, PARABOLA, 1.0, groups=5)
    (drawn,) = draws([curve])
    units = (drawn - curve.values) / np.sqrt(np.diag(covariance([curve])))
    # Standard error of a quantile q of 2000 draws: sqrt(q (1 - q) / 2000) over the density there.
    for q in (0.5, 0.84, 0.95):
        expected = t.ppf(q, 4)
        error = np.sqrt(q * (1 - q) / len(drawn)) / t.pdf(expected, 4)
        np.testing.assert_allclose(np.quantile(units, q, axis=0), expected, atol=4 * error)


def test_curves_are_drawn_together(sampled: MakeCurve) -> None:
    curve = sampled(_random(3), SCALES, PARABOLA, 1.0)
    one, other = draws([curve, replace(curve, name="other", values=curve.values + 1)])
    np.testing.assert_allclose(other, one + 1)


def test_the_same_question_has_the_same_answer(sampled: MakeCurve) -> None:
    curve = sampled(_random(4), SCALES, PARABOLA, 20.0)
    assert best(curve) == best(curve)
    assert len(best(curve).likely) > 1


def test_the_lowest_of_a_parabola(certain: MakeCurve) -> None:
    found = best(certain(SCALES, PARABOLA, higher=False, name="fid"))
    assert (found.at, found.likely) == (2.0, (2.0,))
    assert found.share == (0, 0, 1, 0, 0, 0, 0)
    assert found.rule == "the lowest fid of 7 points from 1 to 10"
    assert found.reason == ""


def test_the_highest_where_higher_is_better(certain: MakeCurve) -> None:
    assert best(certain(SCALES, PARABOLA)).at == 10.0
    assert best(certain(SCALES, [-value for value in PARABOLA])).at == 2.0


def test_noise_that_all_points_share_does_not_widen_the_set(sampled: MakeCurve) -> None:
    curve = sampled(_random(5), SCALES, PARABOLA, 0.0, shared=100.0)
    assert best(curve).likely == (2.0,)
    assert indistinguishable(curve) == (2.0,)


@pytest.mark.parametrize("places", [2, 7, 12])
def test_every_point_of_a_flat_curve_is_likely(places: int) -> None:
    noise = _random(6).standard_normal((10, places))
    curve = Curve("flat", tuple(map(float, range(places))), np.zeros(places), noise, False)
    found = best(curve)
    assert found.likely == indistinguishable(curve) == curve.at
    assert sum(found.share) == pytest.approx(1)
    assert max(found.share) < 0.75


@pytest.mark.parametrize(
    ("truth", "noise"),
    [(PARABOLA, 2.0), (PARABOLA, 20.0), (PARABOLA, 100.0), ((0, *[1e-9] * 6), 1.0)],
    ids=["clear", "noisy", "drowned", "flat"],
)
def test_the_set_of_the_best_holds_the_truly_best(sampled: MakeCurve, truth: tuple[float, ...], noise: float) -> None:
    random, held = _random(7), 0
    for _ in range(200):
        held += SCALES[int(np.argmin(truth))] in best(sampled(random, SCALES, truth, noise)).likely
    assert held >= 180


def test_the_set_of_the_best_is_small_where_noise_is(sampled: MakeCurve) -> None:
    random = _random(8)
    sizes = [len(best(sampled(random, SCALES, PARABOLA, 0.5)).likely) for _ in range(100)]
    assert np.mean(sizes) < 1.5


def test_indistinguishable_by_hand() -> None:
    # Left-out deviations from the best are +-d: error sqrt(3/4 * 4) d = 1.73 d, times t = 3.18 is 5.51 d.
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    left_out = np.stack([0 * signs, signs, signs, 2 * signs], axis=1)
    curve = Curve("fid", (1.0, 2.0, 3.0, 4.0), np.array([0.0, 5.5, 5.52, 11.0]), left_out, False)
    assert indistinguishable(curve) == (1.0, 2.0, 4.0)


def test_the_largest_w_that_keeps_its_share(certain: MakeCurve) -> None:
    # 0.9 of the value at w = 1 is kept to w = 3 exactly; 0.72 (0.8 would fall at w = 5) to w = 5.
    curve = certain(SCALES, FALLING, name="diversity")
    assert (largest_keeping(curve, 0.89).at, largest_keeping(curve, 0.89).likely) == (3.0, (3.0,))
    assert largest_keeping(curve, 0.75).at == 5.0
    assert largest_keeping(curve, 0.99).at == 1.0
    assert largest_keeping(curve, 0.5).at == 10.0
    assert "0.89 or more of its value at w=1" in largest_keeping(curve, 0.89).rule


def test_what_is_lost_on_the_way_is_not_regained(certain: MakeCurve) -> None:
    curve = certain((0.0, 1.0, 2.0, 3.0, 4.0), (0.1, 1.0, 0.95, 0.8, 1.0))
    # What lies below w = 1 does not matter.
    assert largest_keeping(curve).at == 2.0


def test_without_its_baseline_nothing_is_kept(certain: MakeCurve) -> None:
    found = largest_keeping(certain((2.0, 3.0), (1.0, 0.9)))
    assert (found.at, found.likely, found.share) == (None, (), (0.0, 0.0))
    assert "w=1" in found.reason
    assert "not among the points" in found.reason
    assert largest_keeping(certain((2.0, 3.0), (1.0, 0.95)), baseline_at=2.0).at == 3.0


def test_no_share_of_nothing_can_be_kept(certain: MakeCurve) -> None:
    found = largest_keeping(certain((1.0, 2.0), (0.0, 1.0), name="diversity"))
    assert (found.at, found.likely) == (None, ())
    assert found.reason.startswith("diversity at w=1 is 0")


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_set_of_the_largest_w_holds_the_true_one(sampled: MakeCurve, noise: float) -> None:
    at = np.arange(1.0, 11.0)
    # 0.9 is passed between w = 5 and w = 6.
    truth = 1 - 0.022 * (at - 1)
    random, held = _random(9), 0
    for _ in range(200):
        held += 5.0 in largest_keeping(sampled(random, at, truth, noise, shared=0.3, higher=True)).likely
    assert held >= 180


def test_the_set_of_the_largest_w_is_small_where_noise_is(sampled: MakeCurve) -> None:
    found = largest_keeping(sampled(_random(10), SCALES, FALLING, 0.01, shared=0.3, higher=True), 0.85)
    assert (found.at, found.likely) == (3.0, (3.0,))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_is_between_0_and_1(certain: MakeCurve, share: float) -> None:
    with pytest.raises(DiffevalError, match="--keep-diversity"):
        largest_keeping(certain(SCALES, FALLING), share)


def test_a_draw_that_finds_no_point_is_an_outcome() -> None:
    drawn = np.array([1] * 50 + [NONE] * 46 + [0] * 4)
    found = choose("rule", "name", (1.0, 2.0, 3.0), 1, drawn, np.zeros(3, dtype=np.bool_))
    assert found.likely == (2.0,)
    assert found.share == (0.04, 0.5, 0.0)
    nowhere = choose("rule", "name", (1.0, 2.0, 3.0), NONE, drawn, np.array([True, False, False]), "why")
    assert (nowhere.at, nowhere.likely, nowhere.reason) == (None, (1.0, 2.0), "why")


@pytest.mark.parametrize(
    ("at", "values", "left_out", "said"),
    [
        ((), [], np.zeros((3, 0)), "do not ascend"),
        ((2.0, 1.0), [0, 0], np.zeros((3, 2)), "do not ascend"),
        ((1.0, 1.0), [0, 0], np.zeros((3, 2)), "do not ascend"),
        ((1.0, 2.0), [0, 0, 0], np.zeros((3, 2)), "at 2"),
        ((1.0, 2.0), [0, 0], np.zeros((3, 3)), "at 2"),
        ((1.0, 2.0), [0, 0], np.zeros((1, 2)), "1 groups"),
        ((1.0, 2.0), [0, np.nan], np.zeros((3, 2)), "not finite"),
        ((1.0, 2.0), [0, 0], np.full((3, 2), np.inf), "not finite"),
    ],
)
def test_a_curve_with_holes_is_no_curve(
    at: tuple[float, ...], values: list[float], left_out: np.ndarray, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Curve("score", at, np.array(values, dtype=np.float64), left_out, True)


def test_curves_of_other_groups_are_not_drawn_together(certain: MakeCurve) -> None:
    with pytest.raises(ValueError, match="the same ones"):
        covariance([certain(SCALES, PARABOLA), certain(SCALES, PARABOLA, groups=5)])
