"""The cubic polynomial kernel, and what one pass over it, or another, tells of a sample, in blocks of rows.

Write phi(x) for the kernel's feature map, mu_c for the mean embedding of class c, and

    c(x, y) = <phi(x) - mu_(class of x), phi(y) - mu_(class of y)>

for the kernel centred within classes. Shares of classes are fixed by design, so this is all of phi that varies.
Images without labels are one class. The variances here are means of c^2 over pairs, without bias in finite samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array, FeatureSet

# Rows per block of the kernel matrix, whose columns are all images: at 50,000 of them a block is 0.2 GB.
BLOCK = 512
# Images of a class from which on the variance over its own pairs can be told.
LEAST_PAIRS = 4

# Of all pairs of rows: [n, d], [m, d] -> [n, m].
Kernel = Callable[[Array, Array], Array]


def polynomial_kernel(one: Array, other: Array) -> Array:
    """k(x, y) = (x'y / d + 1)^3 for all pairs of rows: [n, d], [m, d] -> [n, m]."""
    products: Array = one @ other.T
    products /= one.shape[1]
    products += 1.0
    cubed: Array = products * products
    cubed *= products
    return cubed


@dataclass(frozen=True, slots=True)
class Side:
    """Images of one origin, sorted by class, so that the pairs of two classes are a rectangle of the kernel.

    Attributes:
        features: [n, d].
        order: where each image stood before, [n].
        sizes: images of each class, [C], all at least 2 (or a single class).
    """

    features: Array
    order: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """Class of each image, 0 to C - 1, ascending, [n]."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """First image of each class, [C]."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def rank(self) -> npt.NDArray[np.int64]:
        """Where each image stands now, in the order that the images came in, [n]."""
        return np.argsort(self.order)


def side_of(images: FeatureSet) -> Side:
    """Images by class; without labels, or with a class of one image, which has no pairs, they are a single class."""
    n = len(images)
    if images.labels is not None:
        sizes = np.unique(images.labels, return_counts=True)[1]
        if sizes.min() > 1:
            order = np.argsort(images.labels, kind="stable")
            return Side(images.features[order], order, sizes)
    return Side(images.features, np.arange(n), np.array([n]))


@dataclass(frozen=True, slots=True)
class Within:
    """One side's kernel with itself, without the pairs of an image with itself.

    Attributes:
        partners: mean kernel value with all partners, [n]; its mean over the images estimates |mean embedding|^2
            without bias: pairs of one class are rarer than among independent draws (balanced data: n/K - 1 of n - 1
            partners instead of one in K), and are weighted up by n_a / (n_a - 1) to make good for that.
        slopes: the same with n_a / (n_a - 2), which makes the part linear in phi(x_i) the inner product with the mean
            embedding exactly, [n]: what the first-order variance is the variance of.
        variance: of the second-order part of the mean of ``partners``: 2 / n^4 times the sum of squared weights times
            c^2.
        double: what that part adds to (2 / n)^2 sum_i var(slopes_i), the first-order variance as it is read off: about
            twice ``variance``.
        offset: k(x_i, x_i) - c(x_i, x_i), estimated by 2 <phi(x_i), mu_a> - |mu_a|^2, [n].
    """

    partners: Array
    slopes: Array
    variance: float
    double: float
    offset: Array


def within(side: Side, kernel_of: Kernel = polynomial_kernel) -> Within:
    """One pass over the n x n kernel."""
    n, sizes, codes, starts = len(side), side.sizes, side.codes, side.starts
    own, own_squares, others = np.empty(n), np.empty(n), np.empty(n)
    weights = sizes / np.maximum(sizes - 1, 1)
    between = 0.0
    for classes, rows in _runs(sizes):
        together = np.zeros((classes.stop - classes.start, len(sizes)))
        for block in row_blocks(rows):
            kernel = kernel_of(side.features[block], side.features)
            at, mine = np.arange(len(kernel)), codes[block]
            kernel[at, np.arange(block.start, block.stop)] = 0.0
            sums = _by_class(kernel, starts)
            kernel *= kernel
            squares = _by_class(kernel, starts)
            own[block], own_squares[block] = sums[at, mine], squares[at, mine]
            sums[at, mine] = squares[at, mine] = 0.0
            others[block] = sums.sum(axis=1)
            between += float(weights[mine] @ (squares - 2 * sums**2 / sizes) @ weights)
            together += np.add.reduceat(sums, np.maximum(starts[classes] - block.start, 0), axis=0)
        between += float((weights / sizes)[classes] @ together**2 @ (weights / sizes))
    same = _same_class(side, own, own_squares, between)
    mates = own / np.maximum(sizes - 1, 1)[codes]
    slope_weights = np.where(sizes >= LEAST_PAIRS, sizes / np.maximum(sizes - 2, 1), weights)
    return Within(
        partners=(others + weights[codes] * own) / n,
        slopes=(others + slope_weights[codes] * own) / n,
        variance=2 / n**4 * (between + float(sizes**2 * weights @ same)),
        double=4 / n**4 * (between + float(sizes * slope_weights**2 * (sizes - 2) @ same)),
        offset=2 * mates - (np.add.reduceat(mates, starts) / sizes)[codes],
    )


def _same_class(side: Side, sums: Array, squares: Array, between: float) -> Array:
    """Mean of c^2 over pairs of one class, for each class, [C].

    By U-centring, which is without bias. Pairs of a class of 2 or 3 images vary as those of two classes do on average.

    Source: Szekely and Rizzo 2014, section 3; Song et al. 2012, eq. 5 (the same sum, as HSIC of a kernel with itself).

    Args:
        side: the images.
        sums: of k over the other images of the class, [n].
        squares: of k^2 likewise, [n].
        between: sum of the mean of c^2 over all pairs of two classes, as they are counted in n^2.
    """
    sizes = side.sizes.astype(np.float64)
    pairs = len(side) ** 2 - float(sizes @ sizes)
    total, rows, all_squares = (np.add.reduceat(one, side.starts) for one in (sums, sums**2, squares))
    enough = sizes >= LEAST_PAIRS
    safe = np.where(enough, sizes, LEAST_PAIRS)
    centred = all_squares + total**2 / ((safe - 1) * (safe - 2)) - 2 * rows / (safe - 2)
    return np.where(enough, centred / (safe * (safe - 3)), between / pairs if pairs else 0.0)


@dataclass(frozen=True, slots=True)
class Across:
    """The kernel of two sides.

    Attributes:
        generated: mean over the reference, [n].
        reference: mean over the generated images, [m]; None where not asked for.
        variance: of the second-order part of twice the overall mean: 4 / (n m)^2 times the sum of c^2; 0 where not
            asked for.
    """

    generated: Array
    reference: Array | None = None
    variance: float = 0.0


def across(generated: Side, reference: Side, *, both: bool, kernel_of: Kernel = polynomial_kernel) -> Across:
    """One pass over the n x m kernel; ``both`` asks for what an error of the reference needs, too."""
    n, m = len(generated), len(reference)
    if not both:
        blocks = [
            kernel_of(generated.features[block], reference.features).mean(axis=1) for block in row_blocks(slice(0, n))
        ]
        return Across(np.concatenate(blocks))
    starts, codes = generated.starts, generated.codes
    weights = [side.sizes / np.maximum(side.sizes - 1, 1) for side in (generated, reference)]
    by_row, by_column, total = np.empty(n), np.zeros(m), 0.0
    for classes, rows in _runs(generated.sizes):
        together = np.zeros((classes.stop - classes.start, m))
        for block in row_blocks(rows):
            kernel = kernel_of(generated.features[block], reference.features)
            sums = _by_class(kernel, reference.starts)
            by_row[block] = sums.sum(axis=1) / m
            together += np.add.reduceat(kernel, np.maximum(starts[classes] - block.start, 0), axis=0)
            kernel *= kernel
            squares = _by_class(kernel, reference.starts)
            total += float(weights[0][codes[block]] @ (squares - sums**2 / reference.sizes) @ weights[1])
        by_column += together.sum(axis=0)
        corners = _by_class(together, reference.starts) ** 2 / reference.sizes - _by_class(
            together**2, reference.starts
        )
        total += float((weights[0] / generated.sizes)[classes] @ corners @ weights[1])
    return Across(by_row, by_column / n, 4 / (n * m) ** 2 * total)


def _by_class(matrix: Array, starts: npt.NDArray[np.int64]) -> Array:
    """Sums over the columns of each class: [b, n] -> [b, C]."""
    if len(starts) == 1:
        single: Array = matrix.sum(axis=1, keepdims=True)
        return single
    sums: Array = np.add.reduceat(matrix, starts, axis=1)
    return sums


def _runs(sizes: npt.NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Classes and their rows: one large class, or as many whole ones as a block holds, so that none is cut by two."""
    ends = np.cumsum(sizes)
    first, start = 0, 0
    while first < len(sizes):
        last = max(int(np.searchsorted(ends, start + BLOCK, side="right")), first + 1)
        stop = int(ends[last - 1])
        yield slice(first, last), slice(start, stop)
        first, start = last, stop


def row_blocks(rows: slice) -> Iterator[slice]:
    """Rows, a block at a time."""
    for start in range(rows.start, rows.stop, BLOCK):
        yield slice(start, min(start + BLOCK, rows.stop))
