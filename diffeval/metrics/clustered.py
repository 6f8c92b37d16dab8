"""Means of what comes in clusters, such as the images of one prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from diffeval.metrics.metric import Array

TAIL = 0.975


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over all images, and how it would move with other clusters.

    Attributes:
        value: the mean.
        std_error: None where a single value tells nothing of it.
        ci95: with t's quantile at one degree of freedom less than there are clusters; None without an error.
        method: what the error counts.
        pseudo: jackknife pseudo-values of the clusters in ascending order, [G]: their mean has the error. None without
            clusters.
    """

    value: float
    std_error: float | None
    ci95: tuple[float, float] | None
    method: str
    pseudo: Array | None = None

    def by_cluster(self, clusters: npt.NDArray[np.int64], count: int) -> Mapping[str, Array]:
        """The pseudo-values of clusters 0 to ``count`` - 1, for a paired comparison; NaN of those not there."""
        if self.pseudo is None:
            return {}
        found = np.full(count, np.nan)
        found[np.unique(clusters)] = self.pseudo
        return {"by_prompt": found}


def clustered_mean(terms: Array, clusters: npt.NDArray[np.int64], low: float = -np.inf, high: float = np.inf) -> Mean:
    """Mean of terms [n], its error clustered; with one cluster, that of its images.

    The variance is G / (G - 1) times the sum over clusters of the squared sum of deviations, over n^2: of clusters
    drawn at random, however large each is. With one image in each it is the usual one.

    Args:
        terms: of the images, at least 1.
        clusters: int64 [n], of any numbers.
        low: the least value possible, where the interval ends.
        high: the greatest.

    Source: the linearised variance of a ratio of sums over clusters (Cochran 1977, section 9A); Liang and Zeger 1986.
    """
    value, n = float(terms.mean()), len(terms)
    _, places = np.unique(clusters, return_inverse=True)
    sums = np.bincount(places, weights=terms - value)
    count, pseudo = len(sums), None
    if count > 1:
        pseudo = value + count * sums / n
        error, freedom, method = (
            sqrt(count / (count - 1) * float((sums**2).sum())) / n,
            count - 1,
            "clustered by prompt",
        )
    elif n > 1:
        error, freedom, method = float(terms.std(ddof=1)) / sqrt(n), n - 1, "images of one prompt"
    else:
        return Mean(value, None, None, "none, there is one image")
    half = float(t.ppf(TAIL, freedom)) * error
    return Mean(value, error, (max(low, value - half), min(high, value + half)), method, pseudo)


def fixed_error(terms: Array, clusters: npt.NDArray[np.int64]) -> float | None:
    """The error of the mean if these clusters are all there are, so that images alone vary."""
    _, places = np.unique(clusters, return_inverse=True)
    counts = np.bincount(places)
    if counts.min() < 2:
        return None
    means = np.bincount(places, weights=terms) / counts
    variance = np.bincount(places, weights=(terms - means[places]) ** 2) / (counts - 1)
    return sqrt(float((counts * variance).sum())) / len(terms)


def left_out_mean(terms: Array, clusters: npt.NDArray[np.int64], shift: Array) -> Mean:
    """Mean of terms [n] that stand on other clusters, too: each is left out in turn, on both sides.

    Args:
        terms: of the images.
        clusters: int64 [n], places in ``shift``.
        shift: by how much the sum of the other terms changes where a cluster is left out, [G]; NaN where it cannot be.

    Source: the delete-one-group jackknife (Efron and Tibshirani 1993, chapter 11).
    """
    known, places = np.unique(clusters, return_inverse=True)
    if len(known) <= 2 or np.isnan(shift).any():
        return clustered_mean(terms, clusters)
    sums, counts = np.bincount(places, weights=terms), np.bincount(places)
    without = (terms.sum() - sums + shift[known]) / (len(terms) - counts)
    count = len(known)
    error = sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    value, half = float(terms.mean()), float(t.ppf(TAIL, count - 1)) * error
    pseudo = count * value - (count - 1) * without
    return Mean(value, error, (value - half, value + half), "jackknife over prompts, as text and as images", pseudo)
