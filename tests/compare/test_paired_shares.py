"""Shares of the same images: published intervals, closed forms, and how often a bound errs, counted exactly."""

from math import exp, lgamma, log, sqrt

import numpy as np
import pytest
from made_runs import score, side
from scipy.stats import norm

from diffeval.compare import Side, difference_of
from diffeval.compare.shares import Table

Z95, Z975, Z80 = (float(norm.ppf(share)) for share in (0.95, 0.975, 0.8))


@pytest.mark.parametrize(
    ("table", "reach", "ends"),
    [
        (Table(21, 1, 7), Z975, (-0.517, -0.026)),  # Fagerland, Lydersen and Laake 2014, of Bentur et al. 2009
        (Table(44, 0, 1), Z95, (-0.096, 0.037)),  # Tango 1998, two ways to disinfect lenses
    ],
)
def test_intervals_are_those_that_were_published(table: Table, reach: float, ends: tuple[float, float]) -> None:
    found = table.bound(reach, upper=False), table.bound(reach, upper=True)
    assert found == (pytest.approx(ends[0], abs=6e-4), pytest.approx(ends[1], abs=6e-4))


def test_against_0_it_is_mcnemars_test() -> None:
    assert Table(161, 6, 16).score(0.0) == pytest.approx(-10 / sqrt(22))
    assert Table(100, 0, 0).score(0.0) == 0.0


def test_where_no_image_differs_the_bound_is_z2_over_n_plus_z2() -> None:
    """The variance of a truth d is then d (1 - d), and n d^2 = z^2 d (1 - d)."""
    assert Table(98, 0, 0).bound(Z95, upper=True) == pytest.approx(Z95**2 / (98 + Z95**2))
    assert Table(98, 0, 0).bound(Z95, upper=False) == pytest.approx(-(Z95**2) / (98 + Z95**2))


@pytest.mark.parametrize("truth", [-0.3, -0.02, 0.0, 0.01, 0.15, 0.6])
def test_the_variance_is_that_of_the_most_likely_table(truth: float) -> None:
    """12 and 5 of 80 differ: the likelihood of the shares q + d and q, looked at on a fine grid."""
    first, second, n = 12, 5, 80
    q = np.linspace(max(0.0, -truth), (1 - truth) / 2, 2_000_001)[1:-1]
    likelihood = first * np.log(q + truth) + second * np.log(q) + (n - first - second) * np.log1p(-2 * q - truth)
    best = float(q[np.argmax(likelihood)])
    assert Table(n, first, second).variance(truth) == pytest.approx(2 * best + truth - truth**2, abs=2e-6)


def test_a_table_turned_has_the_bounds_turned() -> None:
    table = Table(300, 9, 2)
    assert table.turned().bound(Z95, upper=True) == pytest.approx(-table.bound(Z95, upper=False))
    assert table.score(table.bound(Z95, upper=True)) == pytest.approx(-Z95)
    assert Table(5, 5, 0).bound(Z95, upper=True) == 1.0
    assert Table(5, 5, 0).score(1.0) == 0.0


def test_the_number_of_images_that_was_named_does() -> None:
    """Nam's formula: with as many images the score test finds what is named about 4 times in 5."""
    n = Table(1000, 12, 12).needed(0.01, 0.0, Z95, Z80)
    differ, draw = 25 / 1002, np.random.Generator(np.random.Philox(1))
    tables = [Table(n, *draw.multinomial(n, [differ / 2, differ / 2, 1 - differ])[:2]) for _ in range(2000)]
    assert np.mean([one.score(0.01) < -Z95 for one in tables]) == pytest.approx(0.8, abs=0.03)


def _run(name: str, right: np.ndarray) -> Side:
    n = len(right)
    known = score("class_accuracy", float(right.mean()), 0.01, n=n, higher=True)
    return side(name, [known], {"class_accuracy.term": right}, n=n, sha256=name)


def _difference(n: int, lost: int, gained: int):  # type: ignore[no-untyped-def]
    new, old = np.ones(n), np.ones(n)
    new[:lost] = 0
    old[lost : lost + gained] = 0
    return difference_of(_run("new", new), _run("old", old), "class_accuracy")


def _chance(n: int, lost: int, gained: int, losing: float, gaining: float) -> float:
    """Of so many lost and gained images: multinomial."""
    if gained and not gaining:
        return 0.0
    rest = n - lost - gained
    ways = lgamma(n + 1) - lgamma(lost + 1) - lgamma(gained + 1) - lgamma(rest + 1)
    shares = lost * log(losing) + (gained * log(gaining) if gained else 0.0) + rest * log(1 - losing - gaining)
    return exp(ways + shares)


@pytest.mark.parametrize(
    ("n", "margin", "gaining"), [(500, 0.01, 0.0), (2000, 0.012, 0.0), (1000, 0.01, 0.002), (2000, 0.02, 0.0)]
)
def test_shares_that_are_worse_by_the_margin_pass_and_fail_about_5_percent_of_the_time(
    n: int, margin: float, gaining: float
) -> None:
    """With plus and minus 1.645 errors 12.3, 8.6, 6.7 and 6.0% would pass."""
    passing = failing = 0.0
    for lost in range(int(2.5 * n * (margin + gaining)) + 5):
        for gained in range(1 if not gaining else 12):
            chance = _chance(n, lost, gained, margin + gaining, gaining)
            if chance < 1e-7:
                continue
            found = _difference(n, lost, gained)
            passing += chance * (found.regression.bound(0.95, upper=True) <= margin)
            failing += chance * (found.p_beyond(margin) < 0.05)
    assert passing <= 0.056
    assert failing <= 0.07


def test_bounds_and_p_values_of_a_difference_are_the_tables() -> None:
    found = _difference(500, 5, 1)
    table = Table(500, 5, 1)
    assert found.regression.bound(0.95, upper=True) == pytest.approx(table.bound(Z95, upper=True))
    assert found.ci95 == (
        pytest.approx(-table.bound(Z975, upper=True)),
        pytest.approx(-table.bound(Z975, upper=False)),
    )
    assert found.p_within(0.03) == pytest.approx(float(norm.cdf(table.score(0.03))))
    assert found.p_value == pytest.approx(2 * float(norm.sf(4 / sqrt(6))))
    # The errors to either side give the one-sided bounds, for who needs no more.
    assert found.regression.value + Z95 * found.regression.above == pytest.approx(table.bound(Z95, upper=True))
    assert found.needed(0.02, expected=0.0) == table.needed(0.02, 0.0, Z95, Z80)
