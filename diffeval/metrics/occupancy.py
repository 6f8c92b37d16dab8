"""How many generated and how many real images lie in each mode, and which differences are more than chance.

A mode is anything that an image lies in exactly one of: a class by a classifier, or a cluster. Counts of both sides
are two multinomials, or one for each class where classes were asked for. Which modes differ: Fisher's exact test for
each, corrected by Holm for all, and an effect that matters.

Where classes were asked for in other shares than real images have, real ones count as often as their class was asked
for: a model is not to blame for what it was told to draw.

Source: missing mass and bins as Richardson and Weiss 2018 (who count bins that differ); Fisher 1922; Holm 1979.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, fisher_exact, norm, poisson

from diffeval.metrics.class_accuracy import wilson
from diffeval.metrics.metric import Array
from diffeval.metrics.multiplicity import holm

Status = Literal["missing", "thin", "over", "ok"]
# Probability that any mode of a faultless sample is named.
LEVEL = 0.02
# Share over real share below which a mode that differs is missing, and thin; above which it is over-produced. Between
# them a difference is real, and too small to matter.
MISSING, THIN, OVER = 0.2, 0.8, 1.25
# Probability with which a mode that is absent is to be seen, where the least such mode is told.
POWER = 0.8

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """Images of one side.

    Attributes:
        modes: of each, int64 [n].
        labels: the class of each, or None.
    """

    modes: Counts
    labels: Counts | None = None

    def by_class(self, classes: int, count: int) -> Counts:
        """Images by class and mode, [C, K]; in one row without labels."""
        found = np.zeros((classes, count), dtype=np.int64)
        np.add.at(found, (np.zeros_like(self.modes) if self.labels is None else self.labels, self.modes), 1)
        return found


@dataclass(frozen=True)
class Occupancy:
    """Both sides by mode.

    Attributes:
        by_class: generated and real images by class and mode, [C, K] each; one row where classes are not known.
        p: probability of so large a difference by chance, corrected for all modes, [K].
        mixed_up: share of real images of each mode (rows) that are taken for each other one, diagonal 0, [K, K]; None
            where modes are what they are taken for. A class that is not there is seen now and then for all that.
    """

    by_class: tuple[Counts, Counts]
    p: Array
    mixed_up: Array | None = None

    @property
    def generated(self) -> Counts:
        """Images in each mode, [K]."""
        found: Counts = self.by_class[0].sum(axis=0)
        return found

    @property
    def real(self) -> Counts:
        """Images in each mode, [K]."""
        found: Counts = self.by_class[1].sum(axis=0)
        return found

    @property
    def real_shares(self) -> Array:
        """Of real images, their classes in the shares of generated ones, [K]."""
        return shares_of_modes(*self.by_class)

    @property
    def size(self) -> float:
        """Of the real side: images that would say as much, if they counted alike."""
        ours, theirs = (one.sum(axis=1) for one in self.by_class)
        weights = np.divide(ours, theirs, out=np.zeros(len(ours)), where=theirs > 0)
        return float((weights * theirs).sum() ** 2 / (weights**2 * theirs).sum())

    @property
    def n(self) -> int:
        """Generated images."""
        return int(self.generated.sum())

    @property
    def shares(self) -> Array:
        """Of generated images, [K]."""
        found: Array = self.generated / self.n
        return found

    @property
    def ratios(self) -> Array:
        """Generated over real shares, [K], of both what is mixed up with the mode taken off.

        1 where neither has any, infinite where real ones alone have none.
        """
        ours, theirs = self._own(self.shares), self._own(self.real_shares)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = ours / theirs
        return np.where((theirs == 0) & (ours == 0), 1.0, found)

    def _own(self, shares: Array) -> Array:
        return own_shares(shares, self.mixed_up)

    def status(self, mode: int) -> Status:
        """What is said of a mode."""
        ratio = float(self.ratios[mode])
        if self.p[mode] >= LEVEL:
            return "ok"
        if ratio < MISSING:
            return "missing"
        # What is missing makes room for all others; but a mode that is drawn too often is never thin.
        room = self._room
        if ratio < 1 and ratio / room < THIN:
            return "thin"
        return "over" if ratio > 1 and ratio / room > OVER else "ok"

    @property
    def _room(self) -> float:
        """By how much the shares of modes that are not missing are larger for the lack of those that are."""
        missing = (self.p < LEVEL) & (self.ratios < MISSING)
        return float(self.shares[~missing].sum() / max(self.real_shares[~missing].sum(), 1e-300))

    def interval(self, mode: int) -> tuple[float, float]:
        """95% interval of the ratio: Wilson's of the generated share, over the real one, whose error is added."""
        real = float(self._own(self.real_shares)[mode])
        if real == 0:
            return 0.0, float("inf")
        seen, ratio = float(self.shares[mode]), float(self.ratios[mode])
        others = seen - ratio * real
        low, high = (max(end - others, 0.0) / real for end in wilson(seen, self.n))
        spread = 1.96 * np.sqrt((1 - real) / (real * self.size))
        return (
            max(0.0, ratio - float(np.hypot(ratio - low, ratio * spread))),
            ratio + float(np.hypot(high - ratio, max(ratio, high) * spread)),
        )

    def g_test(self) -> tuple[float, float] | None:
        """G of the two-sample table, and its p-value from chi-squared with K - 1 degrees of freedom.

        None where classes were asked for: what is left to chance is less than the test takes it for.
        """
        if len(self.by_class[0]) > 1:
            return None
        kept = self.generated + self.real > 0
        table = np.stack([self.generated[kept], self.real[kept]]).astype(np.float64)
        expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
        g = float(2 * np.where(table > 0, table * np.log(np.maximum(table, 1e-300) / expected), 0.0).sum())
        return g, float(chi2.sf(g, max(int(kept.sum()) - 1, 1)))

    def residuals(self) -> Array:
        """Standardised differences of the shares, [K]; below 0 where too few were generated.

        Each class has the variance of its own images, weighted as it was asked for. Half an image more keeps one of a
        class that neither side has seen in the mode above 0.
        """
        ours, theirs = self.by_class
        asked, had = (one.sum(axis=1, keepdims=True) for one in self.by_class)
        kept = ((asked > 0) & (had > 0))[:, 0]
        pooled = (ours + theirs + 0.5)[kept] / (asked + had + 1.0)[kept]
        weights = asked[kept] / asked[kept].sum()
        terms = weights**2 * pooled * (1 - pooled) * (1 / asked[kept] + 1 / had[kept])
        found: Array = (self.shares - self.real_shares) / np.sqrt(terms.sum(axis=0))
        return found


def shares_of_modes(generated: Counts, real: Counts) -> Array:
    """Real shares of modes, [..., K], from tables by class, [..., C, K]: classes weigh as among generated images."""
    asked, had = generated.sum(axis=-1, keepdims=True), real.sum(axis=-1, keepdims=True)
    weights = np.where(had > 0, asked, 0)
    within = np.divide(real, had, out=np.zeros(np.shape(real)), where=had > 0)
    found: Array = (weights * within).sum(axis=-2) / weights.sum(axis=(-2, -1))[..., None]
    return found


def occupancy(generated: Side, real: Side, count: int, mixed_up: Array | None = None) -> Occupancy:
    """Counts both sides and tests every mode.

    Args:
        generated: images.
        real: images; labels count where both sides have them.
        count: K.
        mixed_up: see ``Occupancy``.
    """
    classes = 1
    if generated.labels is None or real.labels is None:
        generated, real = Side(generated.modes), Side(real.modes)
    else:
        classes = int(max(generated.labels.max(), real.labels.max())) + 1
    tables = generated.by_class(classes, count), real.by_class(classes, count)
    found = Occupancy(tables, np.ones(count))
    if _alike(*tables):
        n, m = len(generated.modes), len(real.modes)
        p = np.array([_fisher(a, n, b, m) for a, b in zip(found.generated, found.real, strict=True)])
    else:
        p = 2 * norm.sf(np.abs(found.residuals()))
    return Occupancy(tables, holm(p), mixed_up)


def _alike(generated: Counts, real: Counts) -> bool:
    """Whether shares of classes differ by no more than chance; plain counts have an exact test."""
    asked, had = (one.sum(axis=1) / one.sum() for one in (generated, real))
    return bool(np.all(np.abs(asked - had) <= 3 * np.sqrt(asked * (1 - asked) / real.sum()) + 1e-12))


def _fisher(a: int, n: int, b: int, m: int) -> float:
    return float(fisher_exact([[a, n - a], [b, m - b]]).pvalue)


def own_shares(shares: Array, mixed_up: Array | None) -> Array:
    """Shares of modes, [..., K], without the images of other modes that are taken for these."""
    if mixed_up is None:
        return shares
    own: Array = np.maximum(shares - shares @ mixed_up, 0.0)
    return own


def least_missing(n: int, m: float, count: int) -> float:
    """The smallest share of a mode whose whole absence is seen with probability ``POWER``.

    None of b real and 0 generated images of a mode has probability (m / (n + m))^b by Fisher's test; b is Poisson.

    Args:
        n: generated images.
        m: real ones.
        count: K.
    """
    needed = int(np.ceil(np.log(count / LEVEL) / np.log1p(n / m)))
    means = np.linspace(needed / 2, 3 * needed + 10, 2000)
    return float(min(1.0, means[np.argmax(poisson.sf(needed - 1, means) >= POWER)] / m))
