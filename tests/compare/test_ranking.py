"""Ranks as ranges and ties as letters, on grids worked by hand."""

from itertools import combinations

import pytest

from diffeval.compare.ranking import corrected, pairs_of, rank_ranges, tied_groups


def _apart(*pairs: tuple[int, int]) -> frozenset[frozenset[int]]:
    return frozenset(frozenset(pair) for pair in pairs)


def test_holm_by_hand() -> None:
    """0.01 x 3, then 0.02 x 2, then 0.3 x 1."""
    found = corrected({(0, 1): 0.02, (0, 2): 0.3, (1, 2): 0.01})
    assert found == {(0, 1): pytest.approx(0.04), (0, 2): pytest.approx(0.3), (1, 2): pytest.approx(0.03)}
    assert corrected({(0, 1): 0.04}) == {(0, 1): 0.04}


def test_a_tie_that_does_not_carry_over_has_two_letters() -> None:
    """0 and 1 are tied, 1 and 2 are tied, and 0 is better than 2."""
    assert tied_groups([0, 1, 2], _apart((0, 2))) == ("a", "ab", "b")
    assert rank_ranges([frozenset({2}), frozenset(), frozenset()]) == ((1, 2), (1, 3), (2, 3))


def test_all_apart_and_none_apart() -> None:
    assert tied_groups([2, 0, 1], _apart(*combinations(range(3), 2))) == ("b", "c", "a")
    assert tied_groups([2, 0, 1], frozenset()) == ("a", "a", "a")
    assert rank_ranges([frozenset({1}), frozenset(), frozenset({0, 1})]) == ((2, 2), (3, 3), (1, 1))


def test_letters_are_shared_by_those_and_only_those_that_are_not_told_apart() -> None:
    apart = _apart((0, 3), (1, 4), (0, 4), (2, 4), (0, 5))
    letters = tied_groups(range(6), apart)
    for one, other in pairs_of(6):
        assert bool(set(letters[one]) & set(letters[other])) is (frozenset((one, other)) not in apart)


def test_thirty_runs_that_cannot_be_told_apart_are_one_group() -> None:
    assert tied_groups(range(30), frozenset()) == ("a",) * 30
