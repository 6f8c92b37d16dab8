"""How many generated and how many real images lie in each mode, and which differences are more than chance.

A mode is anything that an image lies in exactly one of: a class by a classifier, or a cluster. Counts of both sides
are two multinomials, or one for each class where classes were asked for. Which modes differ: Fisher's exact test for
each, corrected by Holm for all, and an effect that matters. How much is missing in all: the mass
sum_k max(0, p_k - q_k) that real images have beyond generated ones, and the Jensen-Shannon divergence. Both are above
0 for two samples of one distribution, too. So both sides are drawn anew, with their sizes, from shares that are the
same but for the modes that surely differ; by how much more these redraws read than their own shares do is taken off.

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
# Standardised difference from which on a mode surely differs, as far as the bias of what is read goes.
DIFFERS = 3.0
# Redraws for what is read where nothing is wrong, and for errors.
DRAWS = 400
# Keys the redraws.
_NULL, _ERRORS = 0x5EED3, 0x5EED4
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
    """

    by_class: tuple[Counts, Counts]
    p: Array

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
        return _shares(*self.by_class)

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
        """Generated over real shares, [K]; 1 where neither has any, infinite where real ones alone have none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.shares / self.real_shares
        return np.where((self.real_shares == 0) & (self.generated == 0), 1.0, found)

    def status(self, mode: int) -> Status:
        """What is said of a mode."""
        ratio = float(self.ratios[mode])
        if self.p[mode] >= LEVEL:
            return "ok"
        if ratio < MISSING:
            return "missing"
        # What is missing makes room for all others.
        ratio /= self._room
        return "thin" if ratio < THIN else "over" if ratio > OVER else "ok"

    @property
    def _room(self) -> float:
        """By how much the shares of modes that are not missing are larger for the lack of those that are."""
        missing = (self.p < LEVEL) & (self.ratios < MISSING)
        return float(self.shares[~missing].sum() / max(self.real_shares[~missing].sum(), 1e-300))

    def interval(self, mode: int) -> tuple[float, float]:
        """95% interval of the ratio: Wilson's of the generated share, over the real one, whose error is added."""
        share, real = float(self.shares[mode]), float(self.real_shares[mode])
        if real == 0:
            return 0.0, float("inf")
        low, high = (end / real for end in wilson(share, self.n))
        ratio, spread = share / real, 1.96 * np.sqrt((1 - real) / (real * self.size))
        return (
            max(0.0, ratio - float(np.hypot(ratio - low, ratio * spread))),
            ratio + float(np.hypot(high - ratio, max(ratio, high) * spread)),
        )

    def g_test(self) -> tuple[float, float]:
        """G of the two-sample table, and its p-value from chi-squared with K - 1 degrees of freedom."""
        kept = self.generated + self.real > 0
        table = np.stack([self.shares[kept] * self.n, self.real_shares[kept] * self.size])
        expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
        # A weighted side may have none where the other has some.
        terms = np.where(table > 0, table * np.log(np.maximum(table, 1e-300) / np.maximum(expected, 1e-300)), 0.0)
        g = float(2 * terms.sum())
        return g, float(chi2.sf(g, max(int(kept.sum()) - 1, 1)))

    def residuals(self) -> Array:
        """Standardised differences of the shares, [K]; below 0 where too few were generated."""
        pooled = (self.generated + self.real_shares * self.size) / (self.n + self.size)
        spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-300) * (1 / self.n + 1 / self.size))
        found: Array = (self.shares - self.real_shares) / spread
        return found


def _shares(generated: Counts, real: Counts) -> Array:
    """Real shares of modes, [..., K], from tables by class, [..., C, K]: classes weigh as among generated images."""
    asked, had = generated.sum(axis=-1, keepdims=True), real.sum(axis=-1, keepdims=True)
    weights = np.where(had > 0, asked, 0)
    within = np.divide(real, had, out=np.zeros(np.shape(real)), where=had > 0)
    found: Array = (weights * within).sum(axis=-2) / weights.sum(axis=(-2, -1))[..., None]
    return found


def occupancy(generated: Side, real: Side, count: int) -> Occupancy:
    """Counts both sides and tests every mode.

    Args:
        generated: images.
        real: images; labels count where both sides have them.
        count: K.
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
    return Occupancy(tables, holm(p))


def _alike(generated: Counts, real: Counts) -> bool:
    """Whether shares of classes differ by no more than chance; plain counts have an exact test."""
    asked, had = (one.sum(axis=1) / one.sum() for one in (generated, real))
    return bool(np.all(np.abs(asked - had) <= 3 * np.sqrt(asked * (1 - asked) / real.sum()) + 1e-12))


def _fisher(a: int, n: int, b: int, m: int) -> float:
    return float(fisher_exact([[a, n - a], [b, m - b]]).pvalue)


@dataclass(frozen=True, slots=True)
class Reading:
    """A statistic of both sides.

    Attributes:
        value: less what redraws read too much.
        plain: as it is.
        std_error: over redraws of both sides; no less than one image of either makes.
        null_error: the same where nothing is wrong.
    """

    value: float
    plain: float
    std_error: float
    null_error: float


def missing_mass(real: Array, generated: Array) -> Array:
    """sum_k max(0, p_k - q_k), over the last axis."""
    found: Array = np.maximum(real - generated, 0.0).sum(axis=-1)
    return found


def js_divergence(real: Array, generated: Array) -> Array:
    """Jensen-Shannon divergence in nats, 0 to log 2, over the last axis."""
    middle = (real + generated) / 2

    def towards(one: Array) -> Array:
        terms = one * np.log(np.maximum(one, 1e-300) / np.maximum(middle, 1e-300))
        return np.where(one > 0, terms, 0.0)

    found: Array = ((towards(real) + towards(generated)) / 2).sum(axis=-1)
    return found


def covered_mass(real: Array, generated: Array) -> Array:
    """Share of real images in modes that are generated at no less than ``MISSING`` times their real rate."""
    found: Array = 1.0 - (real * (generated < MISSING * real)).sum(axis=-1)
    return found


def readings(one: Occupancy) -> dict[str, Reading]:
    """The three statistics, by the names of their scores."""
    differing = np.abs(one.residuals()) > DIFFERS
    shares = _shares_of(one, differing)
    drawn, null = _redrawn(one, shares, _ERRORS), _redrawn(one, _shares_of(one, np.zeros_like(differing)), _NULL)
    asked = one.by_class[0].sum(axis=1)
    truth = [(asked @ each) / asked.sum() for each in shares]
    found = {}
    for name, statistic in (
        ("mode_coverage", covered_mass), ("missing_mass", missing_mass), ("js_divergence", js_divergence),
    ):  # fmt: skip
        value, reads = float(statistic(one.real_shares, one.shares)), statistic(drawn[1], drawn[0])
        # Coverage has a ceiling, 1, and reads that where nothing is wrong; there is nothing to take off.
        bias = 0.0 if name == "mode_coverage" else float(reads.mean() - statistic(truth[1], truth[0]))
        at_null = statistic(null[1], null[0])
        least = 1.0 / (one.n + one.size)
        errors = [max(float(each.std(ddof=1)), least) for each in (reads, at_null)]
        found[name] = Reading(value - bias, value, *errors)
    return found


def _shares_of(one: Occupancy, differing: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Shares of modes by class, [C, K] of each side: its own where modes differ, the common ones of the rest else."""
    pooled = np.where(differing, 0, one.by_class[0] + one.by_class[1])
    common = _rows_of(pooled, np.where(differing, 0.0, 1.0))
    sides = []
    for table in one.by_class:
        own = np.where(differing, _rows_of(table, np.ones(len(differing))), 0.0)
        sides.append(own + common * (1.0 - own.sum(axis=1, keepdims=True)))
    return sides[0], sides[1]


def _rows_of(table: Counts, otherwise: Array) -> Array:
    """Shares in each row of counts; of a row without any, as another says."""
    total = table.sum(axis=1, keepdims=True)
    usual = np.broadcast_to(otherwise / max(float(otherwise.sum()), 1e-300), table.shape)
    found: Array = np.divide(table, total, out=usual.astype(np.float64), where=total > 0)
    return found


def _redrawn(one: Occupancy, shares: tuple[Array, Array], key: int) -> tuple[Array, Array]:
    """Shares of both sides, [DRAWS, K] each, redrawn class by class with the sizes that they have."""
    random = np.random.Generator(np.random.Philox(key))
    drawn = []
    for rows, table in zip(shares, one.by_class, strict=True):
        sizes = table.sum(axis=1)
        exact = rows / rows.sum(axis=1, keepdims=True)
        drawn.append(np.stack([random.multinomial(n, row, DRAWS) for n, row in zip(sizes, exact, strict=True)], 1))
    ours, theirs = drawn
    return ours.sum(axis=1) / one.n, _shares(ours, theirs)


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
