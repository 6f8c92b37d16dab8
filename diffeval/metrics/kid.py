"""Kernel distance: squared maximum mean discrepancy with a cubic polynomial kernel, unbiased at every n."""

from dataclasses import dataclass
from math import hypot

import numpy as np

from diffeval.metrics.groups import mean_error
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, Metric

# Rows per block of the kernel matrix, whose columns are all images: at 50,000 of them a block is 0.2 GB.
BLOCK = 512
LEAST = 10


def polynomial_kernel(one: Array, other: Array) -> Array:
    """k(x, y) = (x'y / d + 1)^3 for all pairs of rows: [n, d], [m, d] -> [n, m]."""
    products: Array = one @ other.T / one.shape[1] + 1.0
    cubed: Array = products * products * products
    return cubed


@dataclass(frozen=True, slots=True)
class _RowMeans:
    """Means of kernel rows.

    Attributes:
        within_generated: mean of k(x_i, x_j) over j != i, [n].
        within_reference: mean of k(y_i, y_j) over j != i, [m].
        across_generated: mean of k(x_i, y_j) over j, [n].
        across_reference: mean of k(x_i, y_j) over i, [m].
    """

    within_generated: Array
    within_reference: Array
    across_generated: Array
    across_reference: Array


def _row_means(generated: FeatureSet, reference: FeatureSet) -> _RowMeans:
    n, m = len(generated), len(reference)
    across_generated, across_reference = np.empty(n), np.zeros(m)
    for start in range(0, n, BLOCK):
        kernel = polynomial_kernel(generated.features[start : start + BLOCK], reference.features)
        across_generated[start : start + BLOCK] = kernel.mean(axis=1)
        across_reference += kernel.sum(axis=0)
    within = reference.once("kid within", lambda: _within(reference))
    return _RowMeans(_within(generated), within, across_generated, across_reference / n)


def _within(images: FeatureSet) -> Array:
    """Mean kernel value of each row with all others, so that the mean over rows is unbiased.

    Where classes have fixed shares, pairs of one class are rarer than among independent draws (balanced data: n/K - 1
    of n - 1 partners instead of one in K); they are weighted up by n_a / (n_a - 1) to make good for that. Without
    labels, or with a class of one image, this is the plain U-statistic.
    """
    features, n = images.features, len(images)
    own = ((features**2).sum(axis=1) / features.shape[1] + 1.0) ** 3
    rows = _row_sums(features, features)
    labels = images.labels
    if labels is None or np.unique(labels, return_counts=True)[1].min() < 2:
        plain: Array = (rows - own) / (n - 1)
        return plain
    means = np.empty(n)
    for label in np.unique(labels):
        mine = labels == label
        size = int(mine.sum())
        same = _row_sums(features[mine], features[mine])
        means[mine] = (rows[mine] - same + (same - own[mine]) * size / (size - 1)) / n
    return means


def _row_sums(one: Array, other: Array) -> Array:
    """Sums of the kernel's rows, a block at a time."""
    blocks = [polynomial_kernel(one[start : start + BLOCK], other).sum(axis=1) for start in range(0, len(one), BLOCK)]
    return np.concatenate(blocks)


def kid(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Kernel Inception distance in the features given. Best value 0; unbiased, so it may be negative near 0.

    The full U-statistic over all pairs, not a mean over random subsets. The standard error is the leading term of its
    variance, 2 se(mean_j k(x_i, x_j) - mean_j k(x_i, y_j)), and the reference's likewise where it is an independent
    sample; it is too small near distance 0, where that term vanishes, so there is no interval. Not multiplied by 1000.

    Unbiased, for classes of fixed shares, too (see ``_within``). A model that reproduces the very images of the
    reference falls below 0, by about 1/m: compare it with what real images read.

    Source: Binkowski et al. 2018, eq. 4 and appendix; Gretton et al. 2012, lemma 6; without labels it agrees with
    torch-fidelity's value where its one subset is all images (to 1e-9).
    """
    means = _row_means(generated, reference)
    value = float(means.within_generated.mean() + means.within_reference.mean() - 2 * means.across_generated.mean())
    terms = means.within_generated - means.across_generated
    std_error = 2 * mean_error(terms, generated.labels)
    if independent:
        on_reference = means.within_reference - means.across_reference
        std_error = hypot(std_error, 2 * mean_error(on_reference, reference.labels))
    return (
        Estimate(
            "kid",
            value,
            higher_is_better=False,
            std_error=std_error,
            params={
                "kernel": "polynomial, degree 3, gamma 1/d, coefficient 1",
                "std_error_method": "U-statistic",
                "reference_side": "counted" if independent else "held fixed",
            },
            terms={"term": terms},
        ),
    )


METRICS.register("kid")(Metric(("kid",), lambda dim: LEAST, kid))
