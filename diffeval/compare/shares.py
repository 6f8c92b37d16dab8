"""Shares of the same images in two runs: what the images say that one run alone has right.

The error of such a difference depends on the difference itself, and where few images differ it is skewed. So a limit
is tested with the variance that the images would have if the limit were the truth (a score test), and bounds are the
limits that such a test does not refuse. Against 0 it is McNemar's test.

Source: Tango 1998; the number of images that it needs: Nam 1997.
"""

from dataclasses import dataclass, replace
from math import ceil, copysign, inf, sqrt

# Halvings of an interval of at most 2: to about 1e-15.
HALVINGS = 51


@dataclass(frozen=True, slots=True)
class Table:
    """Images of two runs, by pairs, that are each right or wrong.

    Attributes:
        n: pairs.
        first: how many the first run alone has right.
        second: how many the second alone has right.
    """

    n: int
    first: float
    second: float

    @property
    def value(self) -> float:
        """The first run's share less that of the second."""
        return (self.first - self.second) / self.n

    def turned(self) -> "Table":
        """The second run first."""
        return replace(self, first=self.second, second=self.first)

    def variance(self, truth: float) -> float:
        """Of one pair's difference, by maximum likelihood where the difference is ``truth``, in [-1, 1]."""
        if truth < 0:
            return self.turned().variance(-truth)
        # The share q that the second alone has right is the root of 2 n q^2 + b q + c; that of the first is q + truth.
        b = -self.first - self.second + (2 * self.n - self.first + self.second) * truth
        c = -self.second * truth * (1 - truth)
        root = sqrt(b * b - 8 * self.n * c)
        # The same root twice, so that no two near numbers are taken from each other.
        q = -2 * c / (b + root) if b > 0 else (root - b) / (4 * self.n)
        return 2 * q + truth * (1 - truth)

    def score(self, truth: float) -> float:
        """The value less a supposed truth, in its standard errors under that truth; falls as the truth rises."""
        apart = self.value - truth
        error = sqrt(self.variance(truth) / self.n) if abs(truth) < 1 else 0.0
        return apart / error if error else copysign(inf, apart) if apart else 0.0

    def bound(self, reach: float, *, upper: bool) -> float:
        """The truth from which the value lies ``reach`` standard errors away."""
        if not upper:
            return -self.turned().bound(reach, upper=True)
        low, high = self.value, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.score(middle) >= -reach else (low, middle)
        return low

    def needed(self, limit: float, truth: float, reach: float, power: float) -> int:
        """About how many pairs tell a truth from a limit.

        Args:
            limit: in (-1, 1), other than the truth.
            truth: of the difference. As many pairs differ as here, with one more, so that none is not taken for never.
            reach: quantile of the confidence.
            power: quantile of how probable it is to be.
        """
        differ = max((self.first + self.second + 1) / (self.n + 2), abs(truth))
        expected = Table(1, (differ + truth) / 2, (differ - truth) / 2)
        errors = reach * sqrt(expected.variance(limit)) + power * sqrt(differ - truth**2)
        return max(1, ceil((errors / (truth - limit)) ** 2))
