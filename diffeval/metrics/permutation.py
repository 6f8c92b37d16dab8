"""What the kernel distance reads where generated and real images are exchanged, in one pass over the kernel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.kernel import polynomial_kernel, row_blocks
from diffeval.metrics.metric import Array, FeatureSet
from diffeval.runs.records import Null

PERMUTATIONS = 200
# Images of each side that are exchanged at most: the pass is quadratic in their number.
CAP = 5000
SEED = 0
# Relative to the mean kernel value: differences below it are rounding, not an order.
ROUNDING = 1e-12

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pool:
    """Images of both sides together, sorted by class.

    Attributes:
        features: [N, d].
        position: where each image stood on its own side, [N].
        generated: whether it is one of the generated, bool [N].
        codes: class of each, ascending; all 0 where images are exchanged regardless of class, [N].
    """

    features: Array
    position: Index
    generated: npt.NDArray[np.bool_]
    codes: Index

    @property
    def classes(self) -> list[slice]:
        """Rows of each class."""
        ends = np.flatnonzero(np.diff(self.codes, append=-1)) + 1
        return [slice(int(start), int(end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def make_pool(generated: FeatureSet, reference: FeatureSet) -> Pool:
    """At most ``CAP`` images of each side; classes are told apart where both sides carry labels and share a class."""
    chosen = [_chosen(side) for side in (generated, reference)]
    features = np.concatenate([generated.features[chosen[0]], reference.features[chosen[1]]])
    codes = np.zeros(len(features), dtype=np.int64)
    if generated.labels is not None and reference.labels is not None:
        ours, theirs = generated.labels[chosen[0]], reference.labels[chosen[1]]
        if np.intersect1d(ours, theirs).size:
            codes = np.unique(np.concatenate([ours, theirs]), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    mine = np.arange(len(features)) < len(chosen[0])
    return Pool(features[order], np.concatenate(chosen)[order], mine[order], codes[order])


def _chosen(images: FeatureSet) -> Index:
    """Which images: evenly spaced, class by class, so that they have the shares of all, whatever their order is."""
    n = len(images)
    order = np.arange(n) if images.labels is None else np.argsort(images.labels, kind="stable")
    count = min(n, CAP)
    return np.sort(order[np.arange(count) * n // count])


def exchanges(pool: Pool, count: int) -> Array:
    """Who counts as generated, 0 or 1, under each permutation, [N, count]; each class keeps its number of them."""
    random = np.random.Generator(np.random.Philox(SEED))
    order = np.argsort(random.random((count, len(pool.codes))) + pool.codes, axis=1)
    quota = np.zeros(len(pool.codes), dtype=np.bool_)
    for rows in pool.classes:
        quota[rows.start : rows.start + int(pool.generated[rows].sum())] = True
    chosen = np.zeros((len(pool.codes), count))
    chosen[order[:, quota], np.arange(count)[:, None]] = 1.0
    return chosen


def products(pool: Pool, columns: Array) -> tuple[Array, Array]:
    """The kernel without its diagonal times columns [N, k]: over all pairs, over those of one class; each [N, k]."""
    everyone, mates = np.empty_like(columns), np.empty_like(columns)
    classes = pool.classes
    for block in row_blocks(slice(0, len(columns))):
        kernel = polynomial_kernel(pool.features[block], pool.features)
        kernel[np.arange(len(kernel)), np.arange(block.start, block.stop)] = 0.0
        everyone[block] = kernel @ columns
        if len(classes) == 1:
            continue
        for rows in classes[pool.codes[block.start] : pool.codes[block.stop - 1] + 1]:
            start, stop = max(rows.start, block.start), min(rows.stop, block.stop)
            part = kernel[start - block.start : stop - block.start, rows]
            mates[start:stop] = part @ columns[rows]
    return everyone, everyone if len(classes) == 1 else mates


def statistics(pool: Pool, chosen: Array, everyone: Array, mates: Array) -> Array:
    """The kernel distance for each column of ``chosen``, [k], weighted as in ``kernel.within``.

    Args:
        pool: the images.
        chosen: who counts as generated, 0 or 1, and a last column of ones, [N, k + 1].
        everyone: first of ``products`` with these columns.
        mates: second of ``products``.
    """
    n, m = int(pool.generated.sum()), int((~pool.generated).sum())
    ours, theirs = chosen[:, :-1], 1.0 - chosen[:, :-1]
    mine, my_mates = everyone[:, :-1], mates[:, :-1]
    across = _columns(theirs, mine) / (n * m)
    overall, same = _weights(pool, pool.generated)
    generated = _columns(ours, overall * mine + same * my_mates) / n**2
    overall, same = _weights(pool, ~pool.generated)
    rest, rest_mates = everyone[:, -1:] - mine, mates[:, -1:] - my_mates
    reference = _columns(theirs, overall * rest + same * rest_mates) / m**2
    return generated + reference - 2 * across


def _columns(one: Array, other: Array) -> Array:
    """Inner products of columns."""
    sums: Array = np.einsum("nk,nk->k", one, other)
    return sums


def _weights(pool: Pool, side: npt.NDArray[np.bool_]) -> tuple[float, Array]:
    """What a pair of a side's images counts for, and what one of the same class does beyond it, by image [N, 1].

    Without classes, or with a class of one image on this side, all pairs count alike.
    """
    sizes = np.bincount(pool.codes[side], minlength=pool.codes[-1] + 1)
    total = int(sizes.sum())
    if len(sizes) == 1 or sizes[sizes > 0].min() < 2:
        return total / (total - 1), np.zeros((len(side), 1))
    return 1.0, (1 / np.maximum(sizes - 1, 1))[pool.codes][:, None]


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What the permutations say.

    Attributes:
        null: mean and standard deviation of the permuted statistic, at the generated images that took part.
        p_value: share of permutations that read at least what is observed, which counts as one of them.
        reference_n: images of the reference that took part.
        product: the kernel without its diagonal times the column given, [N].
    """

    null: Null
    p_value: float
    reference_n: int
    product: Array


def exchange(pool: Pool, column: Array) -> Exchanged:
    """``PERMUTATIONS`` exchanges, and on the same pass over the kernel its product with a column [N].

    Source: Gretton et al. 2012, section 5; Phipson and Smyth 2010 for the p-value, which is never 0.
    """
    observed = pool.generated.astype(np.float64)
    columns = np.column_stack([observed, exchanges(pool, PERMUTATIONS), np.ones(len(observed)), column])
    everyone, mates = products(pool, columns)
    values = statistics(pool, columns[:, :-1], everyone[:, :-1], mates[:, :-1])
    permuted = values[1:]
    rounding = ROUNDING * float(np.abs(everyone[:, -2]).mean()) / len(observed)
    p_value = (1 + int((permuted >= values[0] - rounding).sum())) / (1 + len(permuted))
    n = int(observed.sum())
    null = Null(float(permuted.mean()), float(permuted.std(ddof=1)), n)
    return Exchanged(null, p_value, len(observed) - n, everyone[:, -1])
