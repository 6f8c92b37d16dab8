"""What fixed class shares mean for errors: groups for the delete-group jackknife, and the error of a mean."""

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array

Groups = npt.NDArray[np.int64]


def jackknife_groups(n: int, labels: npt.NDArray[np.int64] | None, count: int) -> Groups:
    """Group number of each image, int64 [n] in [0, count), equal sizes to within a few images.

    Generated images and most references hold their classes in fixed shares, so between-class variance is no part of
    their sampling error. Groups that also hold every class in its share see the same; other groups would put that
    variance back, and the jackknife would remove a bias that is not there. With fewer images than ``count`` per class
    the groups are contiguous blocks instead.

    Args:
        n: images.
        labels: class of each, or None.
        count: number of groups.
    """
    if labels is None:
        return np.arange(n, dtype=np.int64) % count
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if n < count * len(classes):
        return np.arange(n, dtype=np.int64) * count // n
    # Deal out class after class without starting over, so that the remainders spread over the groups.
    order = np.argsort(inverse, kind="stable")
    within = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shift = np.repeat(np.cumsum(sizes % count) - sizes % count, sizes)
    groups = np.empty(n, dtype=np.int64)
    groups[order] = (within + shift) % count
    return groups


def mean_error(terms: Array, labels: npt.NDArray[np.int64] | None) -> float:
    """Standard error of the mean of per-image terms [n].

    With labels the classes' shares are fixed and only the variance within classes counts; where a class has a single
    image that cannot be told, and the terms are treated as one sample.
    """
    n = len(terms)
    if labels is None:
        return float(terms.std(ddof=1) / np.sqrt(n))
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.min() < 2:
        return float(terms.std(ddof=1) / np.sqrt(n))
    means = np.bincount(inverse, terms) / sizes
    within = np.bincount(inverse, (terms - means[inverse]) ** 2) / (sizes - 1)
    return float(np.sqrt((sizes * within).sum()) / n)
