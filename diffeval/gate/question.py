"""The questions that a rule asks, and what it found: bounds and p-values decide, never a point.

A question asks whether a number lies on the allowed side of a limit. It is answered yes where the one-sided 95% bound
lies on that side, no where the opposite bound lies beyond. A window asks two questions, a rule over classes one for
each class. A rule passes where all are answered yes, each at 5%: to pass wrongly one must be answered wrongly, so that
their number needs no correction (Berger 1982). A rule is beyond its margin where one is answered no, and there their
number counts: its p-value is the smallest times their number (Bonferroni).
"""

from dataclasses import dataclass
from typing import Literal

from diffeval.compare.uncertain import Uncertain
from diffeval.gate.config import Rule
from diffeval.runs.records import CheckStatus

ALPHA = 0.05
# No better n is named than this: who needs more than so many images needs another margin.
MOST = 10_000_000

Kind = Literal["max", "min", "window", "regression", "check"]


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a number lies on the allowed side of a limit.

    Attributes:
        found: the number.
        limit: that it is held against.
        upper: whether it must lie below the limit, or else above.
        where: the class it is of; empty for all images.
        expected: what the number is where nothing is wrong; None where that is not known.
    """

    found: Uncertain
    limit: float
    upper: bool = True
    where: str = ""
    expected: float | None = None

    @property
    def _rising(self) -> tuple[Uncertain, float]:
        """The same question with an upper limit."""
        return (self.found, self.limit) if self.upper else (self.found.turned(), -self.limit)

    @property
    def holds(self) -> bool:
        """Whether the bound towards the limit lies inside."""
        found, limit = self._rising
        return found.bound(1 - ALPHA, upper=True) <= limit

    @property
    def p_beyond(self) -> float:
        """Small where the number is proven to lie beyond the limit."""
        found, limit = self._rising
        return found.p_above(limit)

    @property
    def bound(self) -> float:
        """The bound towards the limit: how bad it may be."""
        return self.found.bound(1 - ALPHA, upper=self.upper)

    @property
    def other_bound(self) -> float:
        """The bound away from the limit: how good it may be."""
        return self.found.bound(1 - ALPHA, upper=not self.upper)

    @property
    def room(self) -> float:
        """How far inside the limit the bound lies; negative where it lies beyond."""
        return self.limit - self.bound if self.upper else self.bound - self.limit

    def needed(self, rules: int = 1, *, held: bool = True) -> int | None:
        """About how many images of the run would answer it, among so many rules.

        Where the number is inside: so many that what is as good as expected passes 4 times in 5. Where it is beyond,
        or there are as many already: so many as would tell the number from the limit if it stays what it is.

        Args:
            rules: that decide.
            held: whether an independent baseline stays as it is; otherwise both are to have so many.
        """
        found, limit = self._rising
        have = found.images if held or found.second is None else min(found.images, found.second.n)
        if self.p_beyond < ALPHA:  # beyond by itself, and not among so many
            count = found.needed(limit, confidence=1 - ALPHA / rules, held=held)
            return count if count is not None and have < count <= MOST else None
        counts = []
        if self.expected is not None and found.value < limit:
            counts.append(found.needed(limit, truth=self.expected if self.upper else -self.expected, held=held))
        counts.append(found.needed(limit, held=held))
        for count in counts:
            if count is not None and have < count <= MOST:
                return count
        return None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule found, before it is put beside the others.

    Attributes:
        rule: that was read.
        name: of the rule.
        kind: of limit.
        questions: what was asked; empty for checks and where evidence is missing.
        value: of the score; None where there is none.
        baseline: its value, where the rule is about it.
        n: images that the score stands on.
        how: how a difference was taken.
        check: status and summary of a check.
        missing: why there is no evidence; empty where there is.
        short_of: images that are wanted before anything can be told, where these are all that is missing.
    """

    rule: Rule
    name: str
    kind: Kind
    questions: tuple[Question, ...] = ()
    value: float | None = None
    baseline: float | None = None
    n: int | None = None
    how: str = ""
    check: tuple[CheckStatus, str] | None = None
    missing: str = ""
    short_of: int | None = None

    @property
    def failing(self) -> bool:
        """Whether it is a check that ended as the rule forbids."""
        return self.check is not None and self.check[0] in ("fail", self.rule.fail_on)

    @property
    def holds(self) -> bool:
        """Whether the rule passes."""
        if self.missing:
            return False
        if self.check is not None:
            return not self.failing and self.check[0] != "inconclusive"
        return bool(self.questions) and all(one.holds for one in self.questions)

    @property
    def p(self) -> float:
        """Small where it is proven to be beyond its margin; 1 where nothing is known."""
        if self.missing:
            return 1.0
        if self.check is not None:
            return 0.0 if self.failing else 1.0
        return min(1.0, len(self.questions) * min(one.p_beyond for one in self.questions))

    @property
    def worst(self) -> Question | None:
        """The question that decides: the most surely beyond its limit, or else the one nearest to it."""
        return min(
            self.questions, key=lambda one: (one.p_beyond if one.p_beyond < ALPHA else 1.0, one.room), default=None
        )

    def needed(self, rules: int = 1, *, held: bool = True) -> int | None:
        """About how many images would settle the rule among so many; None where no number is known to.

        Args:
            rules: that decide.
            held: see ``Question.needed``.
        """
        if self.short_of is not None:
            return self.short_of
        asked = rules * max(1, len(self.questions))
        open_ones = [one.needed(asked, held=held) for one in self.questions if not one.holds]
        return None if not open_ones or None in open_ones else max(count for count in open_ones if count is not None)
