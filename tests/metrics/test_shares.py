"""Exact intervals of shares and of their difference, held against SciPy and against enumeration."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from diffeval.metrics.shares import excess_interval, share_interval


@pytest.mark.parametrize(("hits", "of"), [(0, 12), (1, 12), (7, 12), (12, 12), (26, 512)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(hits: int, of: int) -> None:
    expected = binomtest(hits, of).proportion_ci(0.95, "exact")
    assert share_interval(hits, of) == pytest.approx((expected.low, expected.high))


def test_the_difference_lies_in_its_interval_and_turns_with_the_sides() -> None:
    low, high = excess_interval(26, 512, 3, 500)
    assert low < 26 / 512 - 3 / 500 < high
    assert excess_interval(3, 500, 26, 512) == pytest.approx((-high, -low))
    assert excess_interval(0, 40, 0, 40)[0] < 0 < excess_interval(0, 40, 0, 40)[1]
    # One share known for certain but for its own interval: 5 of 5 against 0 of 5.
    assert excess_interval(5, 5, 0, 5)[1] == 1.0


@pytest.mark.parametrize("share", [0.002, 0.01, 0.05, 0.2])
@pytest.mark.parametrize(("n", "m"), [(64, 500), (128, 128), (200, 60)])
def test_the_same_share_on_both_sides_is_taken_for_more_in_fewer_than_2_5_percent(
    share: float, n: int, m: int
) -> None:
    """All pairs of counts, each as likely as it is."""
    hits, nulls = np.arange(n + 1), np.arange(m + 1)
    likely = np.outer(binom.pmf(hits, n, share), binom.pmf(nulls, m, share))
    some = likely > 1e-9
    above = sum(likely[one, other] for one, other in np.argwhere(some) if excess_interval(one, n, other, m)[0] > 0)
    assert above <= 0.025
