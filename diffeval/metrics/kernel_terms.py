"""Jackknife terms of a kernel distance, for the difference of two runs: as those of the Frechet distance are.

The distance is a U-statistic with the kernel c (see ``kernel``): a group of images moves it by twice the mean of its
slopes, and two groups together by the mean of c over their pairs. Both are kept by group, so that ``variance`` reads
them as it reads second differences of a jackknife, 2 / (G - 2)^2 of the pair's kernel.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.groups import Groups, leave_out_groups
from diffeval.metrics.kernel import Kernel, polynomial_kernel
from diffeval.metrics.metric import Array
from diffeval.metrics.variance import Terms

# Sampled pairs of groups: so many images a block, so many blocks; as for the Frechet distance.
BLOCK, BLOCKS = 64, 16


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """What single images of a side contribute, in the order that they came in.

    Attributes:
        slopes: inner product of each image's embedding with the difference of the mean embeddings, [n].
        labels: of the images, or None.
    """

    slopes: Array
    labels: npt.NDArray[np.int64] | None


def kernel_terms(
    ours: Slopes,
    theirs: Slopes | None,
    features: Array,
    means: Array,
    kernel_of: Kernel = polynomial_kernel,
    scale: float = 1.0,
) -> Terms:
    """Terms of the distance times ``scale``.

    Pairs of a generated image and one of the reference are left in what single images contribute, where the reference
    is a sample: the error is then rather too large than too small.

    Args:
        ours: of the generated images.
        theirs: of the reference's, or None where it is held fixed.
        features: of the generated images, [n, d].
        means: mean kernel value of each generated image with all others, [n].
        kernel_of: the kernel.
        scale: of the distance.
    """
    sides = [ours] if theirs is None else [ours, theirs]
    groups = [leave_out_groups(len(side.slopes), side.labels) for side in sides]
    pseudo = [_by_group(2 * scale * side.slopes, part) for side, part in zip(sides, groups, strict=True)]
    pairs = _pairs(features, means, groups[0], kernel_of)
    sampled = None if pairs is None else 2 * scale / (len(groups[0]) - 2) ** 2 * pairs
    return Terms(tuple(pseudo), (sampled, None)[: len(pseudo)], None)


def _by_group(values: Array, groups: Groups) -> Array:
    """Weighted means of the groups, [G]."""
    share = groups.weight / groups.weight.sum(axis=1, keepdims=True)
    means: Array = (values[groups.index] * share).sum(axis=1)
    return means


def _pairs(features: Array, means: Array, groups: Groups, kernel_of: Kernel) -> Array | None:
    """Mean centred kernel of pairs of groups in blocks of consecutive ones, [blocks, m, m]; None of too few groups.

    Args:
        features: [n, d].
        means: mean kernel value of each image with all others, [n].
        groups: of the images.
        kernel_of: the kernel.
    """
    width = groups.index.shape[1]
    size = min(len(groups), max(2, BLOCK // width))
    if len(groups) < 4 or width > BLOCK:
        return None
    own, share = _by_group(means, groups), groups.weight / groups.weight.sum(axis=1, keepdims=True)
    found = []
    for number in range(min(BLOCKS, len(groups) // size)):
        rows = slice(number * size, (number + 1) * size)
        images, weights = features[groups.index[rows].ravel()], share[rows].ravel()
        kernel = kernel_of(images, images) * np.outer(weights, weights)
        together = kernel.reshape(size, width, size, width).sum(axis=(1, 3))
        found.append(together - own[rows, None] - own[None, rows] + own.mean())
    return np.array(found)
