"""Groups for the delete-group jackknife."""

import numpy as np
import numpy.typing as npt

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
