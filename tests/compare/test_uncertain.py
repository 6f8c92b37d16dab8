"""Bounds, p-values and needed images against SciPy and against closed forms."""

from math import sqrt

import pytest
from made_runs import score
from scipy.stats import norm
from scipy.stats import t as student

from diffeval.compare.uncertain import Uncertain, limited, stored
from diffeval.metrics.student import quantile, tail
from diffeval.runs.records import Score

Z = float(norm.ppf(0.975))


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 49, 200, 4999])
def test_students_t_is_scipys(freedom: int) -> None:
    for at in (-4.0, -0.3, 0.0, 0.7, 1.96, 6.0, 30.0):
        assert tail(at, freedom) == pytest.approx(float(student.sf(at, freedom)), abs=1e-12)
    for share in (0.01, 0.4, 0.5, 0.8, 0.95, 0.975, 0.999):
        assert quantile(share, freedom) == pytest.approx(float(student.ppf(share, freedom)), rel=1e-9, abs=1e-9)


def test_the_normal_law_is_scipys() -> None:
    assert quantile(0.95, None) == pytest.approx(float(norm.ppf(0.95)))
    assert tail(2.5, None) == pytest.approx(float(norm.sf(2.5)), rel=1e-9)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile(1.0, 5)
    with pytest.raises(ValueError, match="needs 1 degree of freedom"):
        tail(1.0, 0)


def test_bounds_are_students_and_skewed_errors_stay_skewed() -> None:
    found = Uncertain(1.0, 0.2, below=0.2, above=0.4, freedom=9, n=100)
    assert found.bound(0.95, upper=False) == pytest.approx(1.0 - 0.2 * float(student.ppf(0.95, 9)))
    assert found.bound(0.95, upper=True) == pytest.approx(1.0 + 0.4 * float(student.ppf(0.95, 9)))
    assert found.interval(0.95)[1] == pytest.approx(1.0 + 0.4 * float(student.ppf(0.975, 9)))
    assert found.turned().bound(0.95, upper=True) == pytest.approx(-found.bound(0.95, upper=False))


@pytest.mark.parametrize("limit", [-1.0, 0.0, 0.99, 1.0, 1.3, 5.0])
def test_p_values_and_bounds_say_the_same(limit: float) -> None:
    found = Uncertain(1.0, 0.2, below=0.2, above=0.4, freedom=9, n=100)
    assert (found.p_below(limit) < 0.05) is (found.bound(0.95, upper=True) < limit)
    assert (found.p_above(limit) < 0.05) is (found.bound(0.95, upper=False) > limit)


def test_without_an_error_the_value_decides_and_the_limit_itself_is_inside() -> None:
    exact = Uncertain(0.0, 0.0, 0.0, 0.0, None, 100)
    assert (exact.p_below(0.0), exact.p_above(0.0)) == (0.0, 1.0)
    assert (exact.p_below(-0.1), exact.p_above(-0.1)) == (1.0, 0.0)
    assert exact.bound(0.95, upper=True) == 0.0


def test_needed_images_by_hand() -> None:
    """The error, 0.2 at 100 images, has to fall to 0.1 / (1.645 + 0.842) where the truth lies 0.1 from the limit."""
    found = Uncertain(0.1, 0.2, 0.2, 0.2, None, 100)
    reach = float(norm.ppf(0.95) + norm.ppf(0.8))
    assert found.needed() == pytest.approx(100 * (0.2 * reach / 0.1) ** 2, abs=1)
    assert found.needed(0.3, truth=0.0) == pytest.approx(100 * (0.2 * reach / 0.3) ** 2, abs=1)
    assert found.needed(two_sided=True) == pytest.approx(100 * (0.2 * (Z + float(norm.ppf(0.8))) / 0.1) ** 2, abs=1)
    assert found.needed(0.1) is None  # nothing tells a number from itself


def test_needed_images_with_all_three_kinds_of_variance() -> None:
    found = Uncertain(0.1, 0.2, 0.2, 0.2, None, 100, squared=0.5, fixed=0.001)
    n = found.needed()
    assert n is not None
    error = 0.2 * sqrt(0.001 + 0.499 * 100 / n + 0.5 * (100 / n) ** 2)
    assert error * float(norm.ppf(0.95) + norm.ppf(0.8)) == pytest.approx(0.1, rel=1e-3)
    stuck = Uncertain(0.1, 0.2, 0.2, 0.2, None, 100, fixed=0.2)
    assert stuck.needed() is None


REACH = float(norm.ppf(0.95) + norm.ppf(0.8))


def test_independent_numbers_need_images_each_by_its_own_count() -> None:
    """Errors of 0.4 at 300 images and 0.1 at 2000: with N of each, or N against the 2000, 0.7 is told from 0."""
    one, other = Uncertain(0.7, 0.4, 0.4, 0.4, None, 300), Uncertain(0.0, 0.1, 0.1, 0.1, None, 2000)
    target = (0.7 / REACH) ** 2
    assert one.less(other).needed() == pytest.approx((0.16 * 300 + 0.01 * 2000) / target, abs=1)
    assert one.less(other).needed(held=True) == pytest.approx(0.16 * 300 / (target - 0.01), abs=1)
    # The 2000 alone err by 0.1, and 0.1 REACH is more than 0.2.
    assert one.less(other).needed(truth=0.2, held=True) is None
    assert one.less(other).needed(truth=0.2) == pytest.approx(68 / (0.2 / REACH) ** 2, abs=1)


def test_two_numbers_that_must_stand_on_as_many_images_need_more_of_both() -> None:
    both = Uncertain(0.3, 0.2, 0.2, 0.2, None, 100).less(Uncertain(0.0, 0.2, 0.2, 0.2, None, 100)).together()
    assert both.needed(held=True) == both.needed() == pytest.approx(100 * 0.08 / (0.3 / REACH) ** 2, abs=1)


def test_a_class_needs_images_of_the_run() -> None:
    """50 images of a class are a twentieth of the run."""
    found = Uncertain(0.1, 0.2, 0.2, 0.2, None, 50, part=0.05)
    assert found.images == 1000
    assert found.needed() == pytest.approx(1000 * (0.2 * REACH / 0.1) ** 2, abs=1)
    other = Uncertain(0.0, 0.1, 0.1, 0.1, None, 100, part=0.05)
    target = (0.1 / REACH) ** 2
    assert found.less(other).needed() == pytest.approx((0.04 * 1000 + 0.01 * 2000) / target, abs=1)


def test_a_score_that_the_reference_limits_needs_no_number_of_images() -> None:
    at_limit, below = (score("recall", 0.5, 0.03, n=100, higher=True, n_k=used) for used in (60, 100))
    assert (limited(at_limit), limited(below)) == (True, False)
    found = stored(at_limit)
    assert found is not None
    assert found.needed(0.45) is None
    free = stored(below)
    assert free is not None
    assert free.needed(0.45) == pytest.approx(100 * (0.03 * REACH / 0.05) ** 2, abs=1)


def test_stored_intervals_decide_how_far_bounds_reach() -> None:
    """All of 100 right: no standard error, but Wilson's interval reaches down to 0.963."""
    found = stored(score("class_accuracy", 1.0, 0.0, ci95=(0.963, 1.0), higher=True))
    assert found is not None
    assert found.interval() == (pytest.approx(0.963), 1.0)
    assert found.bound(0.95, upper=False) == pytest.approx(1.0 - (1.0 - 0.963) * float(norm.ppf(0.95)) / Z)
    plain = stored(score("fid", 2.0, 0.1))
    assert plain is not None
    assert plain.interval() == (pytest.approx(2.0 - Z * 0.1), pytest.approx(2.0 + Z * 0.1))
    assert stored(Score("fid", None, None, None, 100, None, False, {"error": "none"})) is None


def test_differences_of_shares_are_newcombes() -> None:
    """56 of 70 against 48 of 80 has Newcombe's 95% interval 0.0524 to 0.3339 (Newcombe 1998, method 10)."""
    parts = []
    for hits, n in ((56, 70), (48, 80)):
        share, z = hits / n, Z**2 / n
        half = Z * sqrt(share * (1 - share) / n + z / (4 * n))
        ends = ((share + z / 2 - half) / (1 + z), (share + z / 2 + half) / (1 + z))
        found = stored(score("class_accuracy", share, sqrt(share * (1 - share) / n), ci95=ends, n=n))
        assert found is not None
        parts.append(found)
    assert parts[0].less(parts[1]).interval() == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
