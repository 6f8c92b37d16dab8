"""Second differences in a group of each side: what both left out take beyond each one alone.

With the coordinates of ``leave_out`` and ``pairs``, and the other side's images in the same coordinates,

    E_gh = -1/pi int log det(I + s^2 c c' ||A_g^-1/2 Z_g D^-1/2 R Z_h' A_h^-1/2||^2) ds:

the sign is the other one, as one side's images enter S and the other's S_r.

Source: derived here; equal to refitting without the images (``tests/metrics/test_leave_out.py``).
"""

from collections.abc import Callable

import numpy as np

from diffeval.metrics.leave_out import LEVERAGE_ROOM, AtNode, Side, Spectrum, at_node
from diffeval.metrics.metric import Array
from diffeval.metrics.pairs import (
    TOLERANCE,
    Differences,
    Value,
    by_block,
    log_determinants,
    sampled_blocks,
    sub_blocks,
    without_leverage,
)


def mixed(
    one: Side, other: Side, spectrum: Spectrum, found: tuple[Differences, Differences]
) -> tuple[float | None, Array]:
    """Mean second difference in a group of each side, and a sample of single ones, [blocks, m, m'].

    The mean is None where one side has no mean second difference of its own.

    Args:
        one: a side.
        other: the other.
        spectrum: of both.
        found: their differences.
    """
    blocks = min(sampled_blocks(one)[0], sampled_blocks(other)[0])
    sizes = sampled_blocks(one)[1], sampled_blocks(other)[1]
    single, mean = np.zeros((blocks, *sizes)), 0.0
    c = one.c * other.c
    known = all(each.squares for each in found)
    plain = one.gram() * other.gram() if known else np.empty(0)
    for number, (s, r, weight) in enumerate(spectrum.nodes(TOLERANCE)):
        across = s * r / spectrum.roots
        here = [at_node(side, r) for side in (one, other)]
        kernel, moved = (_across(rows, across * np.sqrt(c), blocks, sizes) for rows in _with_means(here, one, other))
        squares = (kernel**2).sum(axis=(-2, -1))
        logs = log_determinants(moved, 1.0)[0]
        single -= weight * logs
        if known:
            together = found[0].squares[number] * found[1].squares[number] - plain
            leading = c * (across @ together @ across) / (len(one) * len(other))
            mean -= weight * (leading + (logs - squares).mean())
    if known:
        mean -= c * without_leverage(plain, spectrum) / (len(one) * len(other))
    assembled = _mixed_assembled(one, other, spectrum)
    taken = found[0].taken, found[1].taken
    moves = [side.moved / side.left(1) for side in (one, other)]
    taken_here = [part[: blocks * size].reshape(blocks, size) for part, size in zip(taken, sizes, strict=True)]
    moves_here = [by_block(move[:, None], blocks, size) for move, size in zip(moves, sizes, strict=True)]
    product = moves_here[0] @ moves_here[1].transpose(0, 2, 1)
    sampled = assembled(taken_here[0][:, :, None], taken_here[1][:, None], product, single)
    if not known:
        return None, np.asarray(sampled)
    product = moves[0].mean(axis=0) @ moves[1].mean(axis=0)
    return float(assembled(taken[0].mean(), taken[1].mean(), product, mean)), np.asarray(sampled)


def _mixed_assembled(one: Side, other: Side, spectrum: Spectrum) -> Callable[[Value, Value, Value, Value], Value]:
    """Mixed second difference from Delta_g, Delta_h, the product of the moves of the means, and E_gh."""
    ours, theirs = one.scale(1), other.scale(1)
    whole = -2 * ours * theirs * float(spectrum.roots.sum())

    def assembled(taken: Value, other_taken: Value, product: Value, extra: Value) -> Value:
        root = whole + 2 * (1 + ours) * (theirs * taken + (1 + theirs) * extra) + 2 * (1 + theirs) * ours * other_taken
        both: Value = root - 2 * product
        return both

    return assembled


def _with_means(here: list[AtNode], one: Side, other: Side) -> tuple[list[Array], list[Array]]:
    """Rows A_g^-1/2 Z_g of both sides, and times (I + p p' / (n' - y n'))^1/2, which brings in the moved means."""
    moved = []
    for node, side in zip(here, (one, other), strict=True):
        norm = (node.p**2).sum(axis=1)
        stretch = np.sqrt(1 + norm / np.maximum(side.left(1) - node.shift, LEVERAGE_ROOM)) - 1
        along = np.einsum("gb,gbk->gk", node.p, node.y)
        moved.append(node.y + (stretch / norm)[:, None, None] * node.p[..., None] * along[:, None])
    return [node.y for node in here], moved


def _across(rows: list[Array], between: Array, blocks: int, sizes: tuple[int, int]) -> Array:
    """Kernels of sampled pairs with a group on each side, [blocks, size, other_size, b, b']."""
    first, second = (by_block(each, blocks, size) for each, size in zip(rows, sizes, strict=True))
    return sub_blocks((first * between) @ second.transpose(0, 2, 1), *sizes)
