"""Kernel distance: squared maximum mean discrepancy with a cubic polynomial kernel, unbiased at every n.

Let v be the difference of the two mean embeddings and v + e that of the two samples, where e is nearly Gaussian with
covariance S = C_x / n + C_y / m (C_x / n where the reference is held fixed), C the covariance within classes. Then the
U-statistic T is |v + e|^2 - tr S, with

    variance          4 v'Sv + 2 tr S^2        first order, single images; second order, pairs of images
    third cumulant    24 v'S^2 v + 8 tr S^3

Near distance 0 the first order vanishes and T is a sum of weighted chi-squares, skewed to the right; further away the
variance grows with the distance. T +- 1.96 std_error misses both: where T fell low its error came out low, too, and
the interval lies below the truth. The variance read off goes with T at the rate

    s = cov(T, variance) / variance = (16 v'S^2 v + 8 tr S^3) / (4 v'Sv + 2 tr S^2)

so at a distance theta it is variance + s (theta - T). T's skewness moves both of its quantiles, by Cornish and Fisher,
and the interval holds the theta that T does not reject:

    (T - shift - theta)^2 <= 1.96^2 (variance + s (theta - T)),    shift = (1.96^2 - 1) / 6 * third cumulant / variance

That is right to the second order where T is nearly normal, and stays sound where it is not.
``benchmarks/kid_coverage.py`` has its coverage.

Source: Serfling 1980, section 5.2 (variance of U-statistics); Sutherland 2019 (without bias, for two samples without
classes); Mathai and Provost 1992 (cumulants of quadratic forms); Hall 1992, section 3.5 (skewness corrections).
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from diffeval.metrics.groups import mean_error
from diffeval.metrics.kernel import Across, Kernel, Side, Within, across, polynomial_kernel, side_of, within
from diffeval.metrics.kernel_terms import Slopes, kernel_terms
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, Metric
from diffeval.metrics.permutation import PERMUTATIONS, Pool, exchange, make_pool
from diffeval.metrics.variance import Terms

LEAST = 10
# Images of a side from which on the variance of its pairs can be told.
LEAST_ERROR = 4
# Of the normal law, for a 95% interval.
QUANTILE = 1.959964
# Relative to the value, an error below this is none.
ROUNDING = 1e-8


@dataclass(frozen=True, slots=True)
class Spread:
    """How the statistic varies.

    Attributes:
        first: variance from single images, without bias but for being kept from falling below 0.
        second: variance from pairs of images.
        raw: estimates 4 (v'Sv + tr S^2): the variance of single images as read off the samples.
    """

    first: float
    second: float
    raw: float

    @property
    def variance(self) -> float:
        """Of the statistic."""
        return self.first + self.second


@dataclass(frozen=True, slots=True)
class Part:
    """One side.

    Attributes:
        side: its images, by class.
        kernel: of theirs.
        slopes: <phi(x_i), v>, [n], or None where this side is held fixed.
    """

    side: Side
    kernel: Within
    slopes: Array | None


def compare_kernels(
    generated: FeatureSet, reference: FeatureSet, independent: bool, kernel_of: Kernel = polynomial_kernel
) -> tuple[Part, Part, Across]:
    """Both sides and what lies between them; the reference's own kernel is computed once."""
    ours, theirs = side_of(generated), side_of(reference)
    one = within(ours, kernel_of)
    other = reference.once(f"within {kernel_of.__name__}", lambda: within(theirs, kernel_of))
    both = across(ours, theirs, both=independent, kernel_of=kernel_of)
    slopes = None if both.reference is None else other.slopes - both.reference
    return Part(ours, one, one.slopes - both.generated), Part(theirs, other, slopes), both


def squared_distance(ours: Part, theirs: Part, both: Across) -> float:
    """Of the mean embeddings, without bias."""
    return float(ours.kernel.partners.mean() + theirs.kernel.partners.mean() - 2 * both.generated.mean())


def spread_of(parts: tuple[Part, Part], both: Across) -> Spread:
    """Variance by origin. What single images are read to contribute holds the pairs twice, which is taken away."""
    raw, twice, second = 0.0, 0.0, both.variance
    for part in parts:
        if part.slopes is not None:
            raw += (2 * mean_error(part.slopes, part.side.codes)) ** 2
            twice += part.kernel.double + both.variance
            second += part.kernel.variance
    return Spread(max(raw - twice, 0.0), second, raw)


def jackknife_terms(
    generated: FeatureSet, reference: FeatureSet, parts: tuple[Part, Part], kernel_of: Kernel, scale: float = 1.0
) -> Terms:
    """What the difference of two runs needs, of the distance times ``scale``."""
    ours, theirs = parts
    assert ours.slopes is not None, "generated images are never held fixed"
    rank = ours.side.rank
    return kernel_terms(
        Slopes(ours.slopes[rank], generated.labels),
        None if theirs.slopes is None else Slopes(theirs.slopes[theirs.side.rank], reference.labels),
        generated.features,
        ours.kernel.partners[rank],
        kernel_of,
        scale,
    )


def _direction(parts: tuple[Part, Part], pool: Pool) -> tuple[Array, Array]:
    """S(v + e) as a weighted sum of the pool's embeddings: its weights, and ``Within.offset`` of the images, [N]."""
    weights, offset = np.zeros(len(pool.codes)), np.zeros(len(pool.codes))
    for part, mine, sign in zip(parts, (pool.generated, ~pool.generated), (1.0, -1.0), strict=True):
        if part.slopes is None:
            continue
        rows = part.side.rank[pool.position[mine]]
        slopes, codes = part.slopes[rows], part.side.codes[rows]
        sizes = np.bincount(codes)
        means = np.bincount(codes, slopes) / np.maximum(sizes, 1)
        centred = (slopes - means[codes]) * (sizes / np.maximum(sizes - 1, 1))[codes]
        weights[mine] = sign * centred / (len(rows) * len(part.side))
        offset[mine] = part.kernel.offset[rows]
    return weights, offset


def interval(value: float, spread: Spread, rate: float) -> tuple[float, float]:
    """95% confidence interval; ``rate`` is s of the module's docstring, and 0 gives value +- 1.96 std_error."""
    if spread.variance <= (ROUNDING * value) ** 2:  # images that are all the same, and what rounding leaves of that
        return value, value
    bend = QUANTILE**2 * rate / 2
    # The third cumulant over the variance is s near distance 0, and 3 s / 2 where single images make the variance.
    shift = (QUANTILE**2 - 1) / 6 * rate * (1 + spread.first / spread.variance / 2)
    half = sqrt(QUANTILE**2 * (spread.variance - rate * shift) + bend**2)
    return value + bend - shift - half, value + bend - shift + half


def kid(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Kernel Inception distance in the features given. Best value 0; unbiased, so it may be negative near 0.

    The full U-statistic over all pairs, not a mean over random subsets; not multiplied by 1000. Unbiased, for classes
    of fixed shares, too (see ``Within``). The standard error has the variance of single images and that of pairs, so
    it does not vanish near 0; the interval is skewed (see above). With the reference held fixed both are about
    |mean embedding - the reference's|^2 less the constant by which that exceeds the unbiased estimate.

    The null is what real images would read in the place of the generated ones: both are exchanged at random, within
    classes where both sides carry labels, so that shares stay as they are, even where the two sides differ in them; a
    distance that is due to shares alone is then part of the null. ``p_value`` tests that generated images are real
    ones (of their class). At most 5000 images of each side take part; ``null.n`` and ``null_reference_n`` count them.

    Where the checkpoint was trained on the reference (held fixed), its images depend on it even if it is perfect, and
    draw nearer to it than fresh real images: a small p-value still says that they can be told from real ones, but a
    large one says less than it seems. A model that reproduces the very images of the reference falls below 0, by about
    1/m, at a p-value near 1: compare it with what held-out real images read.

    Source: Binkowski et al. 2018, eq. 4 and appendix; Gretton et al. 2012, lemma 6; without labels it agrees with
    torch-fidelity's value where its one subset is all images (to 1e-9).

    Raises:
        ValueError: if a side has fewer than 2 images, which make no pair.
    """
    fewest = min(len(generated), len(reference))
    if fewest < 2:
        raise ValueError(f"the kernel distance needs 2 images of each side, got {len(generated)} and {len(reference)}")
    ours, theirs, both = compare_kernels(generated, reference, independent)
    value = squared_distance(ours, theirs, both)
    pool = make_pool(generated, reference)
    weights, offset = _direction((ours, theirs), pool)
    exchanged = exchange(pool, weights)
    spread = spread_of((ours, theirs), both)
    std_error, ci95 = None, None
    if len(generated) >= LEAST_ERROR and (len(reference) >= LEAST_ERROR or not independent):
        turned = max(float(weights @ (exchanged.product + offset * weights)), 0.0)
        std_error = sqrt(spread.variance)
        ci95 = interval(value, spread, 16 * turned / spread.raw if spread.raw else 0.0)
    return (
        Estimate(
            "kid",
            value,
            higher_is_better=False,
            std_error=std_error,
            ci95=ci95,
            params={
                "kernel": "polynomial, degree 3, gamma 1/d, coefficient 1",
                "std_error_method": "U-statistic, first and second order",
                "reference_side": "counted" if independent else "held fixed",
                "p_value": exchanged.p_value,
                "null_method": f"{PERMUTATIONS} permutations" + (" within classes" if pool.codes[-1] else ""),
                "null_reference_n": exchanged.reference_n,
            },
            terms=jackknife_terms(generated, reference, (ours, theirs), polynomial_kernel).arrays(),
            null=exchanged.null,
        ),
    )


METRICS.register("kid")(Metric(("kid",), lambda dim: LEAST, kid, place=2))
