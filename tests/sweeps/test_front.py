"""Fronts whose points and knees are known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from diffeval.sweeps.choices import Curve
from diffeval.sweeps.front import knee, pareto, pareto_share

MakeCurve = Callable[..., Curve]

PLACES = tuple(range(9))
RISE = np.linspace(0, 1, 9)
# Two straight arms that meet at place 4, well outside the chord.
BENT = np.interp(RISE, [0, 0.5, 1], [0, 0.85, 1])


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _front(certain: MakeCurve, quality: Sequence[float], diversity: Sequence[float]) -> tuple[Curve, Curve]:
    at = range(len(quality))
    return certain(at, quality, name="accuracy"), certain(at, diversity, name="diversity")


def test_dominated_points_are_not_on_the_front(certain: MakeCurve) -> None:
    # (2, 2) beats (1, 1) and (2, 1); (3, 0) and (0, 3) are the ends.
    assert pareto(*_front(certain, [0, 1, 2, 2, 3], [3, 1, 2, 1, 0])) == (True, False, True, False, True)


def test_equal_points_are_kept_together(certain: MakeCurve) -> None:
    assert pareto(*_front(certain, [1, 1, 0], [1, 1, 0])) == (True, True, False)


def test_one_point_may_beat_all(certain: MakeCurve) -> None:
    assert pareto(*_front(certain, [1, 2, 0], [1, 2, 2])) == (False, True, False)


def test_directions_are_respected(certain: MakeCurve) -> None:
    diversity = certain(range(3), [1, 2, 3], name="recall")
    assert pareto(certain(range(3), [1, 2, 2], higher=False, name="fid"), diversity) == (True, False, True)
    assert pareto(certain(range(3), [1, 2, 2], name="density"), diversity) == (False, False, True)


def test_share_on_the_front_is_certain_without_error(certain: MakeCurve) -> None:
    assert pareto_share(*_front(certain, [0, 1, 2], [2, 0, 1])) == (1.0, 0.0, 1.0)


def test_share_on_the_front_of_a_point_that_ties_in_one_score(certain: MakeCurve) -> None:
    # Place 1 is better in diversity; in quality it equals place 0, with errors of their own: on it every second time.
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    quality = Curve("q", (0.0, 1.0), np.zeros(2), np.stack([signs, 0 * signs], axis=1), True)
    first, second = pareto_share(quality, certain((0, 1), (0, 1), groups=4))
    assert second == 1.0
    # Four standard errors of a share of 2000 draws.
    assert first == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 2000))


def test_the_knee_of_two_arms(certain: MakeCurve) -> None:
    found = knee(*_front(certain, BENT, BENT[::-1]))
    assert (found.at, found.likely, found.reason) == (4.0, (4.0,), "")
    assert found.curve == "accuracy, diversity"
    assert "at least 0.05" in found.rule
    assert "9 points from 0 to 8" in found.rule


def test_the_knee_does_not_depend_on_units_or_directions(certain: MakeCurve) -> None:
    fid = certain(PLACES, 300 - 250 * BENT, higher=False)
    assert knee(fid, certain(PLACES, 0.1 + 1e-3 * BENT[::-1])).at == 4.0


def test_the_knee_by_hand(certain: MakeCurve) -> None:
    # x + y - 1 is 0, 0.2, 0.4, 0.3, 0: farthest at place 2; the dominated place 5 would be farther, were it scaled.
    quality, diversity = [0.0, 0.3, 0.6, 0.8, 1.0, 0.5], [1.0, 0.9, 0.8, 0.5, 0.0, 0.7]
    assert knee(*_front(certain, quality, diversity)).at == 2.0


def test_dominated_points_do_not_scale_the_front(certain: MakeCurve) -> None:
    # Place 9 is dominated by place 8; were quality scaled from -50 on, place 0 would be the farthest.
    at = (*PLACES, 9)
    found = knee(certain(at, [*BENT, -50.0]), certain(at, [*BENT[::-1], -0.1]))
    assert found.at == 4.0


@pytest.mark.parametrize(
    ("quality", "diversity", "said"),
    [
        (RISE, 1 - RISE, "farthest point lies 0 from the chord, it takes 0.05"),
        # On the worse side of the chord, where both are lost at once.
        (RISE**2, (1 - RISE) ** 2, "farthest point lies 0 from the chord, it takes 0.05"),
        # 0.03 beyond it in each score: 0.06 / sqrt(2) = 0.042.
        ([0, 0.53, 1], [1, 0.53, 0], "farthest point lies 0.042 from the chord"),
        (RISE, RISE, "1 of 9 points are non-dominated, it takes 3"),
        ([0, 1, 0], [1, 0, 0], "2 of 3 points are non-dominated"),
        ([1, 1, 1], [1, 1, 1], "farthest point lies 0 from the chord"),
        ([1], [1], "1 of 1 points are non-dominated"),
    ],
    ids=["straight", "hollow", "nearly straight", "one best", "two", "one place", "one point"],
)
def test_no_knee(certain: MakeCurve, quality: Sequence[float], diversity: Sequence[float], said: str) -> None:
    found = knee(*_front(certain, quality, diversity))
    assert (found.at, found.likely) == (None, ())
    assert found.reason.startswith("no knee: ")
    assert said in found.reason


def test_a_point_just_beyond_the_limit_is_a_knee(certain: MakeCurve) -> None:
    # 0.08 / sqrt(2) = 0.057.
    assert knee(*_front(certain, [0, 0.54, 1], [1, 0.54, 0])).at == 1.0


def _noisy(
    sampled: MakeCurve, random: np.random.Generator, quality: np.ndarray, diversity: np.ndarray, noise: float
) -> tuple[Curve, Curve]:
    at = range(len(quality))
    return (
        sampled(random, at, quality, noise, shared=0.3, higher=True),
        sampled(random, at, diversity, noise, shared=0.3, higher=True),
    )


def test_the_set_of_the_knee_holds_the_true_one_and_is_small(sampled: MakeCurve) -> None:
    random = _random(0)
    found = [knee(*_noisy(sampled, random, BENT, BENT[::-1], 0.3)) for _ in range(100)]
    assert sum(4.0 in one.likely for one in found) >= 95
    assert np.mean([len(one.likely) for one in found]) < 2


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
def test_noise_makes_no_knee_of_a_straight_line(sampled: MakeCurve, noise: float) -> None:
    random = _random(1)
    knees = sum(knee(*_noisy(sampled, random, RISE, 1 - RISE, noise)).at is not None for _ in range(100))
    assert knees <= 5


def test_noise_makes_no_knee_where_most_points_are_dominated(sampled: MakeCurve) -> None:
    # The set is never more than half of all points here: only the distance itself can say that it is noise.
    beaten = -1.0 - np.arange(7)
    quality, diversity = np.append(RISE[::2], beaten), np.append(1 - RISE[::2], beaten)
    random = _random(3)
    knees = sum(knee(*_noisy(sampled, random, quality, diversity, 1.0)).at is not None for _ in range(100))
    assert knees <= 7


def test_the_set_of_an_arc_holds_the_true_knee_and_is_often_too_wide(sampled: MakeCurve) -> None:
    # 25 points, so that its neighbours are nearly as far from the chord; the draws alone miss it one time in five.
    rise = np.linspace(0, 1, 25)
    arc = np.sin(rise * np.pi / 2)
    random = _random(2)
    found = [knee(*_noisy(sampled, random, arc, arc[::-1], 0.5)) for _ in range(60)]
    assert sum(12.0 in one.likely for one in found) >= 55
    wide = [one for one in found if "may lie at any of" in one.reason]
    assert wide
    assert all(one.at is None and len(one.likely) >= 13 for one in wide)
    assert all(len(one.likely) <= 12 for one in found if one.at is not None)


def test_curves_of_other_points_have_no_front(certain: MakeCurve) -> None:
    with pytest.raises(ValueError, match="score at"):
        pareto(certain((1, 2), (1, 2)), certain((1, 3), (1, 2)))
