"""What a comparison found: pairs of runs, scores, checks, and the whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffeval.compare.difference import Difference
from diffeval.compare.ranking import LEVEL
from diffeval.compare.side import Side
from diffeval.runs.records import CheckResult


@dataclass(frozen=True, slots=True)
class Pair:
    """One score of two runs.

    Attributes:
        runs: places of both.
        difference: of the first less the second; None where none can be given.
        p_value: of no difference, two-sided, corrected by Holm for the pairs of runs; None without a verdict.
        better: place of the run that is proven better; None where none is.
        needed: about how many images of each run would tell a difference of the size seen; None where none would, or
            it is told already.
        why: why there is no verdict; empty where there is one, "cannot tell" included.
    """

    runs: tuple[int, int]
    difference: Difference | None
    p_value: float | None
    better: int | None
    needed: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One score of all runs.

    Attributes:
        score: its title.
        higher_is_better: its direction.
        values: of each run at its largest count, or at the largest of all runs if n moves the score; None where it is
            not known.
        ci95: of each; None where the score has no interval.
        counts: images of each.
        real: what real images read, where a run's score lies beyond that by more than their error: better than real is
            no quality; else None.
        pairs: of all runs.
        ranks: the best and the worst rank that each run can have; empty where some pair has no verdict.
        tied: letters of each run: runs that share one cannot be told apart; empty where ``ranks`` is.
    """

    score: str
    higher_is_better: bool
    values: tuple[float | None, ...]
    ci95: tuple[tuple[float, float] | None, ...]
    counts: tuple[int | None, ...]
    real: tuple[float | None, ...]
    pairs: tuple[Pair, ...]
    ranks: tuple[tuple[int, int], ...]
    tied: tuple[str, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """Places of the runs that have it, best first."""
        known = [(value, run) for run, value in enumerate(self.values) if value is not None]
        return tuple(run for _, run in sorted(known, key=lambda one: -one[0] if self.higher_is_better else one[0]))


@dataclass(frozen=True, slots=True)
class CheckApart:
    """A health check that did not end alike, or that some run lacks; one result or None for each run."""

    name: str
    results: tuple[CheckResult | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What several runs say beside each other.

    Attributes:
        sides: the runs, in the order given; A is the first.
        scores: those that at least two runs have.
        lone: scores that a single run has, by its place.
        checks: those that did not end alike.
        agreeing: how many checks ended alike.
        differing: settings in which the runs differ, with the value of each; those that may differ included.
        tested: those of them that the user allowed to differ.
        same: pairs of runs that measured the same images.
    """

    sides: tuple[Side, ...]
    scores: tuple[Compared, ...]
    lone: Mapping[str, int]
    checks: tuple[CheckApart, ...]
    agreeing: int
    differing: Mapping[str, tuple[Any, ...]]
    tested: tuple[str, ...]
    same: tuple[tuple[int, int], ...]

    @property
    def judged(self) -> int:
        """How many scores have a verdict, other than on the same images."""
        return sum(
            any(not pair.why and pair.runs not in self.same for pair in compared.pairs) for compared in self.scores
        )

    @property
    def expected_by_chance(self) -> float:
        """How many scores would seem to differ where nothing does: each is judged by itself, at 95%."""
        return LEVEL * self.judged

    @property
    def conclusive(self) -> bool:
        """Whether anything could be compared."""
        judged = any(not pair.why for compared in self.scores for pair in compared.pairs)
        return judged or bool(self.agreeing) or any(None not in one.results for one in self.checks)
