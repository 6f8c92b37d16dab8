"""The Frechet distance with its sampling bias removed, and an error for it.

At n images the plain distance reads theta + b / n + c / n^2 + ...: the root of a noisy covariance has a smaller trace
than the root of its expectation, so b > 0, and b differs between models. A jackknife sees the bias in how the distance
changes when images are left out. With f the mean first difference over G groups and s the mean second difference over
pairs,

    bias = 2 f^2 / s - f,

the extrapolation of a bias b / (n - n_0): a geometric series in 1 / n, where the first-order jackknife keeps one term
and the second-order jackknife two. n_0 is of the order of the dimension, where the sample covariance turns singular,
and at n = 1.25 d the terms that those drop are most of what is left. Where n is so large that they vanish only f is
used.

The error is that of ``variance``. The interval is wider by what the extrapolation adds to the second-order jackknife,
the size of the terms that cannot be seen: next to nothing from n = 5 d on.

Source: Quenouille 1956; Schucany, Gray and Owen 1971 (second order). The extrapolation is Aitken's.
"""

from dataclasses import dataclass
from math import ceil, exp, log, sqrt

from scipy.linalg import eigh
from scipy.optimize import brentq
from scipy.stats import t as student

from diffeval.metrics.frechet import distance_from, inner, moments, moments_of
from diffeval.metrics.groups import Groups, leave_out_groups
from diffeval.metrics.leave_out import Spectrum, first_differences, make_side, removed
from diffeval.metrics.metric import Array, FeatureSet
from diffeval.metrics.mixed import mixed
from diffeval.metrics.pairs import Differences, differences
from diffeval.metrics.variance import Terms, Variance, jackknife_variance

# From this many images per dimension on, the second order is far below the error, and is not computed.
SECOND_ORDER_BELOW = 20
# So many times as many images are as good as no end of them.
MOST = 1e12
# Directions with less variance than this share of the largest are below rounding.
LEAST_VARIANCE = 1e-13


@dataclass(frozen=True)
class Debiased:
    """The distance without bias.

    Attributes:
        n: generated images.
        plain: the distance of the sample as it is.
        value: without bias; it may be negative where the true distance is near 0, and is never clipped.
        first_order: by the first-order jackknife.
        remainder: how far ``value`` is from the second-order jackknife; 0 where only the first order was looked at.
        variance: of ``value``, by origin.
        jackknife_variance: without the correction for what the jackknife counts twice.
        terms: what the variance is made from.
        groups: the partition of the generated images.
        influence: of each generated image, [n]: (n - 1) times what leaving it out takes from the plain distance, less
            the mean. A positive one means that the image raises the distance.
    """

    n: int
    plain: float
    value: float
    first_order: float
    remainder: float
    variance: Variance
    jackknife_variance: float
    terms: Terms
    groups: Groups
    influence: Array

    @property
    def std_error(self) -> float:
        """Of ``value``."""
        return sqrt(self.variance.at(1.0))

    @property
    def quantile(self) -> float:
        """Of Student's t on G - 1 degrees of freedom, for a 95% interval."""
        return float(student.ppf(0.975, len(self.terms.pseudo[0]) - 1))

    @property
    def half_width(self) -> float:
        """Of the 95% interval."""
        return self._half_width(1.0)

    def _half_width(self, ratio: float) -> float:
        """With ``ratio`` times as many images; the terms of third order fall as 1 / n^3."""
        variance = self.variance.at(ratio) + self.variance.caution / ratio**2
        return self.quantile * sqrt(variance) + self.remainder / ratio**3

    @property
    def ci95(self) -> tuple[float, float]:
        """95% confidence interval."""
        return self.value - self.half_width, self.value + self.half_width

    def needed(self, precision: float) -> int | None:
        """Images at which the interval's half-width is ``precision`` times the value; None if no number suffices.

        None also where the interval covers 0: a distance that is not told from 0 has no relative precision.
        """
        wanted = precision * self.value
        if self.ci95[0] <= 0 or self._half_width(MOST) > wanted:
            return None
        if self._half_width(1 / MOST) <= wanted:
            return 1
        ratio = brentq(lambda log: self._half_width(exp(log)) - wanted, -log(MOST), log(MOST))
        return ceil(self.n * exp(ratio))


def debiased_frechet(generated: FeatureSet, reference: FeatureSet, independent: bool) -> Debiased:
    """The distance and its error.

    With ``independent`` both sides are samples, and the estimand is the distance between the two populations;
    otherwise the reference's moments are held fixed, and it is the distance to those moments.
    """
    ours, theirs = moments(generated.features), moments_of(reference)
    eigenvalues, vectors = eigh(inner(ours, theirs), driver="evd")
    seen = eigenvalues > eigenvalues.max() * LEAST_VARIANCE
    spectrum = Spectrum(eigenvalues[seen])
    to_ours = theirs.factor @ vectors[:, seen]
    gap = ours.mean - theirs.mean
    groups = leave_out_groups(len(generated), generated.labels)
    sides = [make_side(generated.features, groups, gap, to_ours)]
    alone = sides[0]
    if generated.labels is not None:
        alone = make_side(generated.features, leave_out_groups(len(generated), None), gap, to_ours)
    balanced = [groups.balanced]
    if independent:
        other_groups = leave_out_groups(len(reference), reference.labels)
        to_theirs = ours.covariance @ to_ours / spectrum.roots
        sides.append(make_side(reference.features, other_groups, -gap, to_theirs))
        balanced.append(other_groups.balanced)
    found = [
        differences(side, spectrum, second=even and side.n < SECOND_ORDER_BELOW * generated.dim)
        for side, even in zip(sides, balanced, strict=True)
    ]
    across = None
    if independent and all(one.sampled is not None for one in found):
        across = mixed(sides[0], sides[1], spectrum, (found[0], found[1]))
    first = found[0].first
    if alone is not sides[0]:
        first = first_differences(alone, spectrum, removed(alone, spectrum))
    return _combine(
        distance_from(ours, theirs, eigenvalues), groups, found, across, (len(first) - 1) * (first - first.mean())
    )


def _combine(
    plain: float,
    groups: Groups,
    found: list[Differences],
    across: tuple[float | None, Array] | None,
    influence: Array,
) -> Debiased:
    counts = [len(one.first) for one in found]
    means = [float(one.first.mean()) for one in found]
    slopes = [count * mean for count, mean in zip(counts, means, strict=True)]
    # Where second differences were not asked for, the bias is b / n, and they are 2 b / n / G^2.
    curvature = sum(
        -2 * slope if one.second is None else count**2 * one.second
        for count, slope, one in zip(counts, slopes, found, strict=True)
    )
    if across is not None and across[0] is not None:
        curvature += 2 * counts[0] * counts[1] * across[0]
    first_order = bias = -sum(slopes) + sum(means)
    remainder = 0.0
    if curvature > 0 and any(one.second is not None for one in found):
        bias = 2 * sum(slopes) ** 2 / curvature - sum(means)
        # G^2 theta / 2 - (G - 1)^2 mean theta_(g) + (G - 2)^2 mean theta_(gh) / 2, in differences.
        count = counts[0]
        second_order = -(2 - 3 / count) * sum(slopes) - (1 - 2 / count) ** 2 * curvature / 2
        remainder = abs(bias - second_order)
    pseudo = tuple(
        plain - bias + (count - 1) * (one.first - mean) for count, mean, one in zip(counts, means, found, strict=True)
    )
    moves = tuple(
        (count - 1) * (2 * one.first + (count - 2) * one.rows)
        for count, one in zip(counts, found, strict=True)
        if one.rows is not None
    )
    terms = Terms(pseudo, tuple(one.sampled for one in found), None if across is None else across[1], moves)
    return Debiased(
        n=len(influence),
        plain=plain,
        value=plain - bias,
        first_order=plain - first_order,
        remainder=remainder,
        variance=terms.variance(),
        jackknife_variance=sum(jackknife_variance(one) for one in pseudo),
        terms=terms,
        groups=groups,
        influence=influence,
    )
