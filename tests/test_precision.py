"""Sampling until a precision is reached: when to stop, and how far to go next."""

from collections.abc import Callable

import pytest

from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Estimate
from diffeval.precision import MOST, Target, make_target, next_count, reached


def _estimate(half: float, needed: Callable[[float], int | None]) -> Estimate:
    return Estimate("fid_debiased", 2.0, False, half / 2, (2.0 - half, 2.0 + half), needed=needed)


def test_precision_is_the_half_width_relative_to_the_value() -> None:
    assert reached(_estimate(0.5, lambda _: None)) == pytest.approx(0.25)
    assert reached(_estimate(2.5, lambda _: None)) is None  # covers 0


def test_ends_when_reached_or_at_the_most() -> None:
    target = Target(0.1, 5000)
    assert next_count(target, _estimate(0.19, lambda _: 900), 1000, 256) is None
    assert next_count(target, _estimate(0.5, lambda _: 6000), 5000, 256) is None


def test_goes_on_to_what_is_needed_and_a_little_more_in_whole_chunks() -> None:
    # 2,000 needed, 5% more is 2,100, and 2,304 = 9 * 256 the next multiple.
    assert next_count(Target(0.1, 50_000), _estimate(0.3, lambda _: 2000), 1000, 256) == 2304


def test_goes_no_further_than_fourfold_nor_beyond_the_most() -> None:
    assert next_count(Target(0.01, 50_000), _estimate(0.3, lambda _: 40_000), 1024, 256) == 4096
    assert next_count(Target(0.01, 3000), _estimate(0.3, lambda _: 40_000), 1024, 256) == 3000


def test_a_distance_next_to_zero_is_followed_up() -> None:
    assert next_count(Target(0.1, 50_000), _estimate(3.0, lambda _: None), 1024, 256) == 4096


def test_where_the_reference_is_in_the_way_more_images_are_not_drawn() -> None:
    assert next_count(Target(0.1, 50_000), _estimate(0.5, lambda _: None), 1024, 256) is None


def test_targets_are_checked() -> None:
    assert make_target(None, None, 1000) is None
    assert make_target(0.05, None, 1000) == Target(0.05, MOST)
    for precision, max_n, said in (
        (2.0, None, "not between 0 and 1"),
        (0.1, 500, "raise it"),
        (None, 500, "--precision"),
    ):
        with pytest.raises(DiffevalError, match=said):
            make_target(precision, max_n, 1000)
