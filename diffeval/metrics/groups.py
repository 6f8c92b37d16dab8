"""What fixed class shares mean for errors: groups to leave out, and the error of a mean."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array

# With fewer images of some class than the first, there are no groups that each hold every class, but so many blocks.
LEAST_GROUPS, BLOCKS = 5, 10

Labels = npt.NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class Groups:
    """A partition of n images into G groups, each to be left out in turn.

    Leaving a group out takes the share 1/G of every class away, exactly: where a class does not divide by G, its
    images are weighted for it.

    Attributes:
        index: of the images of each group, int64 [G, b], padded with 0.
        weight: how much of each is taken away, [G, b]; the padding has 0, the rest is near 1, and each row sums to n /
            G.
        balanced: whether every group holds every class in its share.
    """

    index: npt.NDArray[np.int64]
    weight: Array
    balanced: bool

    def __len__(self) -> int:
        return len(self.index)


def leave_out_groups(n: int, labels: Labels) -> Groups:
    """Groups that are as small as the classes allow: single images, or one of each class.

    Generated images and most references hold their classes in fixed shares, so between-class variance is no part of
    their sampling error. Groups that also hold every class in its share see the same; other groups would put that
    variance back, and a jackknife would remove a bias that is not there. Where a class has fewer than 5 images, the
    groups are 10 contiguous blocks instead, and ``balanced`` is False.

    Args:
        n: images, at least 10.
        labels: class of each, or None.
    """
    if labels is None:
        return Groups(np.arange(n)[:, None], np.ones((n, 1)), balanced=True)
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    count = int(sizes.min())
    if count < LEAST_GROUPS:
        numbers = np.arange(n) * BLOCKS // n
        return _collect(numbers, n / BLOCKS / np.bincount(numbers)[numbers], BLOCKS, balanced=False)
    # Deal out class after class without starting over, so that the remainders spread over the groups.
    order = np.argsort(inverse, kind="stable")
    within = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shift = np.repeat(np.cumsum(sizes % count) - sizes % count, sizes)
    numbers = np.empty(n, dtype=np.int64)
    numbers[order] = (within + shift) % count
    together = inverse * count + numbers
    weight = (sizes[inverse] / count) / np.bincount(together, minlength=count * len(sizes))[together]
    return _collect(numbers, weight, count, balanced=True)


def _collect(numbers: npt.NDArray[np.int64], weight: Array, count: int, *, balanced: bool) -> Groups:
    """Group numbers [n] as padded rows of image indices."""
    sizes = np.bincount(numbers, minlength=count)
    order = np.argsort(numbers, kind="stable")
    column = np.arange(len(numbers)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    index = np.zeros((count, sizes.max()), dtype=np.int64)
    weights = np.zeros((count, sizes.max()))
    index[numbers[order], column] = order
    weights[numbers[order], column] = weight[order]
    return Groups(index, weights, balanced)


def mean_error(terms: Array, labels: Labels) -> float:
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
