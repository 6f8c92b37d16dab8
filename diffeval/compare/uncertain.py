"""A number and how far it may be off: from it follow bounds, p-values, and the images that would settle a question."""

from dataclasses import dataclass, replace
from math import ceil, sqrt

from diffeval.metrics.student import quantile, tail
from diffeval.runs.records import Score

CONFIDENCE, POWER = 0.95, 0.8
# Of the normal law, for a 95% interval: what stored intervals are taken to be made with.
USUAL = quantile(0.975, None)


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
        n: images it stands on.
        squared: share of the variance that falls as 1 / n^2.
        fixed: share of the variance that more images leave as it is. The rest falls as 1 / n.
    """

    value: float
    std_error: float
    below: float
    above: float
    freedom: int | None
    n: int
    squared: float = 0.0
    fixed: float = 0.0

    def bound(self, confidence: float = CONFIDENCE, *, upper: bool) -> float:
        """One-sided bound."""
        reach = quantile(confidence, self.freedom)
        return self.value + reach * self.above if upper else self.value - reach * self.below

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Two-sided interval."""
        one = (1 + confidence) / 2
        return self.bound(one, upper=False), self.bound(one, upper=True)

    def p_above(self, limit: float) -> float:
        """One-sided p-value of what would prove that the truth lies above the limit."""
        if not self.below:
            return 0.0 if self.value > limit else 1.0
        return tail((self.value - limit) / self.below, self.freedom)

    def p_below(self, limit: float) -> float:
        """One-sided p-value of what would prove that the truth lies below the limit, or without any error at it."""
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
    ) -> int | None:
        """About how many images would tell the number from the limit.

        Args:
            limit: where the number is to be told from.
            truth: what the number is taken to be in truth; by default as it was measured.
            confidence: of the bound that is to be on the truth's side of the limit.
            power: how probable that is to be.
            two_sided: whether the bound is an end of a two-sided interval.

        Returns:
            Images, or None where no number of them would do.
        """
        gap = (self.value if truth is None else truth) - limit
        scale = self.below if gap > 0 else self.above
        if not gap:
            return None
        if not scale:
            return 1
        reach = quantile((1 + confidence) / 2 if two_sided else confidence, None) + quantile(power, None)
        # fixed + linear x + squared x^2 = target, with x = n now / n then.
        target, linear = (gap / (reach * scale)) ** 2, max(0.0, 1.0 - self.squared - self.fixed)
        left = target - self.fixed
        if left <= 0:
            return None
        root = linear + sqrt(linear**2 + 4 * self.squared * left)
        return max(1, ceil(self.n * root / (2 * left))) if root else 1

    def turned(self) -> "Uncertain":
        """The number with the other sign."""
        return replace(self, value=-self.value, below=self.above, above=self.below)

    def less(self, other: "Uncertain") -> "Uncertain":
        """This number less an independent one; errors to either side stay what they are.

        Source: Zou and Donner 2008 (bounds of a difference from bounds of its parts); of shares it is Newcombe's.
        """
        return Uncertain(
            value=self.value - other.value,
            std_error=sqrt(self.std_error**2 + other.std_error**2),
            below=sqrt(self.below**2 + other.above**2),
            above=sqrt(self.above**2 + other.below**2),
            freedom=None,
            n=max(self.n, other.n),
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
    return Uncertain(score.value, score.std_error, below, above, None, score.n)
