"""Second differences of Frechet distances: what two groups left out together add to each one alone.

With the coordinates Z_g and R(s) of ``leave_out``, two groups take Delta_g + Delta_h + E_gh from the trace of the
root,

    E_gh = -1/pi int log det(I - X X') ds + ...,   X = c A_g^-1/2 Z_g R Z_h' A_h^-1/2,   A_g = I - c Z_g R Z_g',

and the dots stand for the moved means. The leading term ||X||^2 has a mean over all pairs that is known from the d by
d matrix sum_g Z_g' A_g^-1 Z_g; what the logarithm adds is small, and its mean is taken over a sample of pairs. The
sample also shows how second differences vary, which is the part of the variance that comes from pairs of images.

Source: derived here; equal to refitting without the images (``tests/metrics/test_leave_out.py``).
"""

from dataclasses import dataclass

import numpy as np

from diffeval.metrics.leave_out import (
    LEVERAGE_ROOM,
    AtNode,
    Side,
    Spectrum,
    at_node,
    first_differences,
    log_left,
    removed,
)
from diffeval.metrics.metric import Array

# Relative error of the quadrature.
TOLERANCE = 1e-5
# Sampled pairs of groups: so many images a block, so many blocks.
BLOCK, BLOCKS = 64, 16

Value = Array | float


@dataclass(frozen=True)
class Differences:
    """First and second differences of the distance in the groups of one side.

    Attributes:
        first: theta - theta_(g), [G].
        taken: Delta_g, [G].
        second: mean over pairs g != h of theta - theta_(g) - theta_(h) + theta_(gh); None where it was not asked for.
        sampled: single second differences, [blocks, m, m], of consecutive groups; the diagonals mean nothing. None
            where groups are larger than the dimension.
        squares: sum_g Z_g' A_g^-1 Z_g at each node of the pairs' quadrature, where ``second`` was asked for.
        rows: mean second difference of each group with the others, up to what all have alike, [G]; where ``second``
            was asked for.
    """

    first: Array
    taken: Array
    second: float | None = None
    sampled: Array | None = None
    squares: tuple[Array, ...] = ()
    rows: Array | None = None


def differences(side: Side, spectrum: Spectrum, *, second: bool) -> Differences:
    """Differences of one side, the other held fixed.

    Args:
        side: by group.
        spectrum: of both sides.
        second: whether to find the mean second difference, which costs n d^2 at each node.
    """
    taken = removed(side, spectrum)
    first = first_differences(side, spectrum, taken)
    if side.large:
        return Differences(first, taken)
    pairs = _Pairs(side, second)
    for _, r, weight in spectrum.nodes(TOLERANCE):
        here = at_node(side, r)
        rest = pairs.add_sampled(here, r, weight)
        if second:
            pairs.add_mean(here, r, weight, rest)
    if second:
        pairs.mean += side.c**2 * without_leverage(pairs.plain**2, spectrum) / pairs.count
    mean, sampled = _second(side, spectrum, taken, pairs)
    if not second:
        return Differences(first, taken, None, sampled)
    return Differences(first, taken, mean, sampled, tuple(pairs.squares), _rows(side, spectrum, taken, pairs.plain))


class _Pairs:
    """E_gh: its mean over all pairs, and single ones in blocks of consecutive groups, summed up node by node."""

    def __init__(self, side: Side, second: bool) -> None:
        self.side = side
        self.count = len(side) * (len(side) - 1)
        self.blocks, self.size = sampled_blocks(side)
        self.mean = 0.0
        self.plain = side.gram() if second else np.empty(0)
        self.squares: list[Array] = []
        self.single = np.zeros((self.blocks, self.size, self.size))
        self.off_diagonal = ~np.eye(self.size, dtype=bool)

    def add_mean(self, here: AtNode, r: Array, weight: float, rest: float) -> None:
        """Adds one node to the mean; ``rest`` is what the sampled pairs have beyond the leading terms."""
        side, left_two = self.side, self.side.left(2)
        flat = here.y.reshape(-1, here.y.shape[2])
        together = flat.T @ flat
        self.squares.append(together)
        # What there is without leverage is known exactly, and nearly cancels with the rest: it is added at the end.
        leading = (side.c**2 * (r @ (together**2 - self.plain**2) @ r) - here.own.sum()) / self.count
        # The mean that two groups move: each one's share, and a cross term.
        along = np.einsum("gb,gbk->gk", here.p, here.y)
        cross = 2 * side.c * ((along.sum(axis=0) ** 2) @ r - ((along**2) @ r).sum()) / self.count
        both = (2 * here.shift.mean() + cross) / left_two
        alone = log_left(here.shift / side.left(1)).mean()
        self.mean += weight * (leading + both + rest + 2 * alone)

    def add_sampled(self, here: AtNode, r: Array, weight: float) -> float:
        """Adds one node to the sampled pairs; returns their mean beyond the leading terms."""
        side, left_two = self.side, self.side.left(2)
        y, p = (by_block(array, self.blocks, self.size) for array in (here.y, here.p[..., None]))
        kernel = sub_blocks((side.c * y * r) @ y.transpose(0, 2, 1), self.size, self.size)
        logs, squares = log_determinants(kernel, -1.0)
        p = p.reshape(self.blocks, self.size, -1)
        pulled = np.einsum("nijbc,njc->nijb", kernel, p, optimize=True)
        alone = _of_two(here.shift, self.blocks, self.size)
        linear = (2 * np.einsum("nib,nijb->nij", p, pulled) + alone) * self.off_diagonal
        beyond = (_pulled_together(kernel, p[:, :, None] + pulled, p) + alone) * self.off_diagonal
        moved = log_left(beyond / left_two)
        each = _of_two(log_left(here.shift / side.left(1)), self.blocks, self.size)
        self.single -= weight * (logs + moved - each)
        return float((-logs - squares - moved - linear / left_two)[:, self.off_diagonal].mean())


def _pulled_together(kernel: Array, v: Array, p: Array) -> Array:
    """What the means of two groups move beyond each one's share: v' (I - X X')^-1 v - |p_g|^2 with v = p_g + X p_h."""
    if kernel.shape[-1] == 1:
        found = v[..., 0] ** 2 / np.maximum(1 - kernel[..., 0, 0] ** 2, LEVERAGE_ROOM)
    else:
        # On the diagonals, which mean nothing, the matrix can be singular.
        left = np.eye(kernel.shape[-2]) - kernel @ kernel.swapaxes(-2, -1)
        diagonal = np.arange(kernel.shape[1])
        left[:, diagonal, diagonal] = np.eye(kernel.shape[-2])
        found = (v * np.linalg.solve(left, v[..., None])[..., 0]).sum(axis=-1)
    together: Array = found - (p**2).sum(axis=-1)[:, :, None]
    return together


def without_leverage(products: Array, spectrum: Spectrum) -> float:
    """1 / pi int r' P r ds, where P holds the products of both Gram matrices: E_gh's mean as if A_g were I.

    1 / pi int ds / ((a^2 + s^2) (b^2 + s^2)) = 1 / (2 a b (a + b)). With the factor s^2 / (a b) of mixed differences
    it is the same.
    """
    a = spectrum.roots
    return float((products / (2 * np.outer(a, a) * np.add.outer(a, a))).sum())


def _of_two(values: Array, blocks: int, size: int) -> Array:
    """Sums of the values [G] of two groups, for the sampled pairs."""
    here = values[: blocks * size].reshape(blocks, size)
    both: Array = here[:, :, None] + here[:, None, :]
    return both


def _second(side: Side, spectrum: Spectrum, taken: Array, pairs: _Pairs) -> tuple[float, Array]:
    """Mean second difference, and the sampled ones."""
    count = len(side)
    moved = (side.moved**2).sum(axis=1)
    total = side.moved.sum(axis=0)
    product = ((total @ total) - moved.sum()) / (count * (count - 1))
    along = side.moved @ side.gap
    mean = _assembled(
        side,
        spectrum,
        *(2 * part.mean() for part in (taken, side.energy, moved, along)),
        product=product,
        extra=pairs.mean,
    )
    moves = by_block(side.moved[:, None], pairs.blocks, pairs.size)
    sums = [_of_two(part, pairs.blocks, pairs.size) for part in (taken, side.energy, moved, along)]
    single = _assembled(side, spectrum, *sums, product=moves @ moves.transpose(0, 2, 1), extra=pairs.single)
    return float(mean), np.asarray(single)


def _rows(side: Side, spectrum: Spectrum, taken: Array, gram: Array) -> Array:
    """Mean second difference of each group with the others, [G].

    E_gh by its leading term as if A_g were I, which costs one product where the quadrature costs one at each node. The
    exact means follow it with a correlation of 0.99 (``tests/metrics/test_leave_out.py``).
    """
    others = len(side) - 1
    a = spectrum.roots
    weighted = gram / (2 * np.outer(a, a) * np.add.outer(a, a))
    extra = side.c**2 * np.einsum("gbk,gbk->g", side.z @ weighted, side.z) / others
    moved = (side.moved**2).sum(axis=1)
    sums = (part + (part.sum() - part) / others for part in (taken, side.energy, moved, side.moved @ side.gap))
    product = (side.moved @ side.moved.sum(axis=0) - moved) / others
    return np.asarray(_assembled(side, spectrum, *sums, product=product, extra=extra))


def _assembled(
    side: Side,
    spectrum: Spectrum,
    taken: Value,
    energy: Value,
    moved: Value,
    along: Value,
    *,
    product: Value,
    extra: Value,
) -> Value:
    """Second difference from what the two groups give together, in ``product`` and ``extra`` as a pair.

    Args:
        side: of the groups.
        spectrum: of both sides.
        taken: Delta_g + Delta_h.
        energy: of both.
        moved: squared norm of what each moves, summed.
        along: what each moves times the gap, summed.
        product: inner product of what they move.
        extra: E_gh.
    """
    one, two = side.left(1), side.left(2)
    scale, scale_two = side.scale(1), side.scale(2)
    root = (
        -2 * spectrum.roots.sum() * (scale_two - 2 * scale)
        + 2 * (scale_two - scale) * taken
        + 2 * (1 + scale_two) * extra
    )
    moved_two = moved + 2 * product
    trace = (
        side.total * side.c
        - (2 * side.total - energy - moved / one) / (one - 1)
        + (side.total - energy - moved_two / two) / (two - 1)
    )
    shift = 2 * along * (1 / one - 1 / two) - moved / one**2 + moved_two / two**2
    assembled: Value = root + trace + shift
    return assembled


def sampled_blocks(side: Side) -> tuple[int, int]:
    """How many blocks of how many consecutive groups are sampled."""
    size = min(len(side), max(2, BLOCK // side.z.shape[1]))
    return min(BLOCKS, len(side) // size), size


def by_block(array: Array, blocks: int, size: int) -> Array:
    """The first groups' rows [G, b, k] by block, [blocks, size * b, k]."""
    return array[: blocks * size].reshape(blocks, -1, array.shape[-1])


def sub_blocks(kernel: Array, size: int, other_size: int) -> Array:
    """Kernels of blocks as kernels of pairs of groups, [blocks, size, other_size, b, b']."""
    blocks, rows, columns = kernel.shape
    parts = kernel.reshape(blocks, size, rows // size, other_size, columns // other_size)
    return parts.transpose(0, 1, 3, 2, 4)


def log_determinants(kernel: Array, sign: float) -> tuple[Array, Array]:
    """Log det(I + sign X X') of each kernel X [..., b, b'], and ||X||^2."""
    squares = (kernel**2).sum(axis=(-2, -1))
    if kernel.shape[-2:] == (1, 1):
        return np.log1p(np.maximum(sign * squares, LEVERAGE_ROOM - 1)), squares
    products = sign * kernel @ kernel.swapaxes(-2, -1)
    logs = np.linalg.slogdet(np.eye(kernel.shape[-2]) + products)[1]
    return logs, squares
