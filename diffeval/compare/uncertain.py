"""A number and how far it may be off: from it follow bounds, p-values, and the images that would settle a question."""

from dataclasses import dataclass, replace
from math import ceil, sqrt

from diffeval.compare.shares import Table
from diffeval.metrics.student import quantile, tail
from diffeval.runs.records import Score

CONFIDENCE, POWER = 0.95, 0.8
# Of the normal law, for a 95% interval: what stored intervals are taken to be made with.
USUAL = quantile(0.975, None)
# Images used of those that there are, where a score takes no more than the reference allows.
USED = ("n_k", "n_used")


@dataclass(frozen=True, slots=True)
class Second:
    """What the second of two numbers adds to the variance of their difference, as shares of all of it.

    Attributes:
        n: images of its run.
        linear: share that falls as 1 / n.
        squared: share that falls as 1 / n^2.
    """

    n: float
    linear: float
    squared: float = 0.0


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A number, its error to either side, and how the error falls with the number of images.

    Attributes:
        value: the number.
        std_error: its standard error.
        below: what a quantile is multiplied with to give the distance to a lower bound; the standard error, or more
            where that alone would cover too little.
        above: the same of an upper bound.
        freedom: degrees of freedom of Student's t; None for the normal law.
        n: images it stands on; of a difference, those of the first number.
        squared: share of the variance that falls as 1 / n^2.
        fixed: share of the variance that more images leave as it is. The rest falls as 1 / n.
        part: what share of the run's images these are; less than 1 for a class.
        second: of a difference of independent numbers, what the second one adds; None where both are of the same
            images, or must stand on as many.
        table: of shares of the same images, which then decides instead of the errors; these are so that they give the
            same one-sided 95% bounds.
    """

    value: float
    std_error: float
    below: float
    above: float
    freedom: int | None
    n: int
    squared: float = 0.0
    fixed: float = 0.0
    part: float = 1.0
    second: Second | None = None
    table: Table | None = None

    @property
    def images(self) -> float:
        """Images of the run that it stands on a part of."""
        return self.n / self.part

    def bound(self, confidence: float = CONFIDENCE, *, upper: bool) -> float:
        """One-sided bound."""
        reach = quantile(confidence, self.freedom)
        if self.table is not None:
            return self.table.bound(reach, upper=upper)
        return self.value + reach * self.above if upper else self.value - reach * self.below

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Two-sided interval."""
        one = (1 + confidence) / 2
        return self.bound(one, upper=False), self.bound(one, upper=True)

    def p_above(self, limit: float) -> float:
        """One-sided p-value of what would prove that the truth lies above the limit."""
        if self.table is not None:
            return tail(self.table.score(limit), None)
        if not self.below:
            return 0.0 if self.value > limit else 1.0
        return tail((self.value - limit) / self.below, self.freedom)

    def p_below(self, limit: float) -> float:
        """One-sided p-value of what would prove that the truth lies below the limit, or without any error at it."""
        if self.table is not None:
            return tail(-self.table.score(limit), None)
        if not self.above:
            return 0.0 if self.value <= limit else 1.0
        return tail((limit - self.value) / self.above, self.freedom)

    def needed(
        self,
        limit: float = 0.0,
        *,
        truth: float | None = None,
        confidence: float = CONFIDENCE,
        power: float = POWER,
        two_sided: bool = False,
        held: bool = False,
    ) -> int | None:
        """About how many images of the run would tell the number from the limit.

        Args:
            limit: where the number is to be told from.
            truth: what the number is taken to be in truth; by default as it was measured.
            confidence: of the bound that is to be on the truth's side of the limit.
            power: how probable that is to be.
            two_sided: whether the bound is an end of a two-sided interval.
            held: whether the images of the second of two independent numbers stay as many as they are. Otherwise both
                are to have so many.

        Returns:
            Images, or None where no number of them would do.
        """
        truth = self.value if truth is None else truth
        gap = truth - limit
        scale = self.below if gap > 0 else self.above
        if not gap:
            return None
        if not scale:
            return 1
        reach, sure = quantile((1 + confidence) / 2 if two_sided else confidence, None), quantile(power, None)
        if self.table is not None:
            return self.table.needed(limit, truth, reach, sure) if abs(limit) < 1 else 1
        return self.falling_to((gap / ((reach + sure) * scale)) ** 2, held=held)

    def falling_to(self, share: float, *, held: bool = False) -> int | None:
        """About how many images of the run bring the variance to a share of what it is; None: no number of them.

        Args:
            share: above 0.
            held: see ``needed``.
        """
        fixed, squared = self.fixed, self.squared * self.images**2
        linear = max(0.0, 1.0 - self.squared - self.fixed) * self.images
        if self.second is not None:
            one = self.second
            linear -= (one.linear + one.squared) * self.images
            if held:
                fixed += one.linear + one.squared
            else:
                linear, squared = linear + one.linear * one.n, squared + one.squared * one.n**2
            linear = max(0.0, linear)
        left = share - fixed  # what linear / n + squared / n^2 must come to
        if left <= 0:
            return None
        root = linear + sqrt(linear**2 + 4 * squared * left)
        return max(1, ceil(root / (2 * left))) if root else 1

    def turned(self) -> "Uncertain":
        """The number with the other sign."""
        table = None if self.table is None else self.table.turned()
        return replace(self, value=-self.value, below=self.above, above=self.below, table=table)

    def together(self) -> "Uncertain":
        """A difference whose numbers stand on as many images, and must: more of them are more of both."""
        if self.second is None:
            return self
        return replace(self, squared=self.squared + self.second.squared, second=None)

    def widened(self, more: float) -> "Uncertain":
        """A difference with more variance, from an error of the second number that it does not hold yet.

        Counts of images that differ, which know nothing of that error, decide no longer.
        """
        held = (self.below**2 + self.above**2) / 2
        share = held / (held + more) if held + more else 1.0
        one = self.second
        return replace(
            self,
            std_error=sqrt(self.std_error**2 + more),
            below=sqrt(self.below**2 + more),
            above=sqrt(self.above**2 + more),
            squared=share * self.squared,
            fixed=share * self.fixed if self.fixed < 1 else 1.0,
            second=one and replace(one, linear=share * one.linear + 1 - share, squared=share * one.squared),
            table=None,
        )

    def less(self, other: "Uncertain") -> "Uncertain":
        """This number less an independent one; errors to either side stay what they are.

        Source: Zou and Donner 2008 (bounds of a difference from bounds of its parts); of shares it is Newcombe's.
        """
        ours, theirs = (one.below**2 + one.above**2 for one in (self, other))
        share = ours / (ours + theirs) if ours + theirs else 1.0
        return Uncertain(
            value=self.value - other.value,
            std_error=sqrt(self.std_error**2 + other.std_error**2),
            below=sqrt(self.below**2 + other.above**2),
            above=sqrt(self.above**2 + other.below**2),
            freedom=None,
            n=self.n,
            squared=share * self.squared,
            fixed=share * self.fixed + (1 - share) * other.fixed,
            part=self.part,
            second=Second(other.images, (1 - share) * (1 - other.squared - other.fixed), (1 - share) * other.squared),
        )


def stored(score: Score) -> Uncertain | None:
    """What a run stored of a score, None without value or error.

    The interval that was stored says how far bounds reach to either side, so that one that is skewed, or cut off where
    the score ends, stays so; without one it is the standard error.
    """
    if score.value is None or score.std_error is None:
        return None
    low, high = score.ci95 or (
        score.value - USUAL * score.std_error,
        score.value + USUAL * score.std_error,
    )
    below, above = ((end / USUAL) if end > 0 else 0.0 for end in (score.value - low, high - score.value))
    fixed = 1.0 if limited(score) else 0.0
    return Uncertain(score.value, score.std_error, below, above, None, score.n, fixed=fixed)


def limited(score: Score) -> bool:
    """Whether a score has reached the number of images that the reference allows, so that more do not help."""
    return any(isinstance(used := score.params.get(key), int) and used < score.n for key in USED)
