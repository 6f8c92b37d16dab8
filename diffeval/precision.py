"""How precisely a score is known, how many images a wanted precision needs, and how a run gets there.

Precision is the half-width of the 95% interval relative to the value.
"""

from dataclasses import dataclass

from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Estimate

# The precision that n* is quoted for where the user names none.
QUOTED = 0.05
# Where a run goes on until it is precise enough: at most so many images, and at most so many times as many at once,
# since the first error is itself uncertain; and a little more than what it asks for.
MOST = 50_000
GROWTH, ROOM = 4.0, 1.05


@dataclass(frozen=True, slots=True)
class Target:
    """Sample until the first metric's score is known this precisely, but no more than ``max_n`` images."""

    precision: float
    max_n: int


def make_target(precision: float | None, max_n: int | None, n: int) -> Target | None:
    """Checks what the user wrote.

    Raises:
        DiffevalError: for a precision outside 0 to 1, or a ``max_n`` that is of no use.
    """
    if precision is None:
        if max_n is not None:
            raise DiffevalError("--max-n bounds what --precision asks for; give --precision, e.g. 0.05, or --n alone")
        return None
    if not 0 < precision < 1:
        raise DiffevalError(f"--precision {precision:g} is not between 0 and 1; 0.05 asks for an interval of +-5%")
    max_n = MOST if max_n is None else max_n
    if max_n < n:
        raise DiffevalError(f"--max-n {max_n} is less than the {n} images to begin with; raise it, or lower --n")
    return Target(precision, max_n)


def reached(estimate: Estimate) -> float | None:
    """The precision of an estimate; None where its interval covers 0, or it has none."""
    if estimate.value is None or estimate.ci95 is None or estimate.ci95[0] <= 0 <= estimate.ci95[1]:
        return None
    return (estimate.ci95[1] - estimate.ci95[0]) / 2 / abs(estimate.value)


def next_count(target: Target, estimate: Estimate, n: int, chunk: int) -> int | None:
    """How many images to go on to; None to end here.

    Args:
        target: what is wanted.
        estimate: at ``n`` images.
        n: images so far.
        chunk: counts are multiples of this, but for the last.
    """
    now = reached(estimate)
    if n >= target.max_n or (now is not None and now <= target.precision):
        return None
    needed = estimate.needed(target.precision) if estimate.needed is not None else None
    if needed is None and now is not None:
        return None  # the reference's own error is in the way; more images do not help
    wanted = GROWTH * n if needed is None else min(max(ROOM * needed, n + 1), GROWTH * n)
    return min(target.max_n, -int(-wanted // chunk) * chunk)
