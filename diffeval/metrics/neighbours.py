"""Nearest neighbours and balls around points, in blocks: what precision, recall, density and coverage are made of.

Squared distances come from ||x||^2 + ||y||^2 - 2 x'y in float32, after the mean is taken off; the matrix product is
all the work, and its memory is that of one block. Where an answer hangs on the last digits (the order of neighbours, a
point next to the surface of a ball) distances are taken again from the differences in float64, so that answers are
those of exact arithmetic, duplicates (radius 0) included.

The only metric file that imports torch: its matrix product and top-k are several times faster than NumPy's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from diffeval.metrics.metric import Array

# Rows and columns of a block: 64 MB of distances in float32.
BLOCK = 4096
# Float32 rounding of a squared distance, relative to the squared norms that cancel in it; with room.
ROUNDING = 4e-6
# Differences that are held at once when distances are taken again.
AGAIN = 1 << 22

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """Features, ready for distances.

    Attributes:
        exact: [n, d], as given.
        rows: float32 [n, d], centred, on the device.
        norms: float32 [n], squared.
    """

    exact: npt.NDArray[np.floating]
    rows: torch.Tensor
    norms: torch.Tensor

    def __len__(self) -> int:
        return len(self.exact)


def points(features: npt.NDArray[np.floating], centre: Array, device: torch.device | None = None) -> Points:
    """Features [n, d] with a common centre [d] taken off, which distances do not feel but rounding does."""
    rows = torch.from_numpy((features - centre).astype(np.float32)).to(device or torch.device("cpu"))
    return Points(features, rows, (rows.double() ** 2).sum(dim=1).float())


def squared_block(one: Points, rows: slice, other: Points, columns: slice) -> torch.Tensor:
    """Squared distances of a block of rows and columns, float32, not below 0."""
    block = torch.addmm(other.norms[columns][None], one.rows[rows], other.rows[columns].T, alpha=-2.0)
    return block.add_(one.norms[rows][:, None]).clamp_(min=0.0)


def slices(n: int, size: int) -> list[slice]:
    """Ranges of up to ``size`` that cover n."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def exact_squared(one: Points, rows: Index, other: Points, columns: Index) -> Array:
    """Squared distances of pairs of rows, float64, from their differences."""
    found = np.empty(len(rows))
    step = max(1, AGAIN // one.exact.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        gap = one.exact[rows[part]].astype(np.float64) - other.exact[columns[part]]
        found[part] = np.einsum("pd,pd->p", gap, gap)
    return found


def nearest(cloud: Points, k: int, sharp: Sequence[int], block: int = BLOCK) -> tuple[Array, Index]:
    """The k nearest neighbours of every point but itself: squared distances, ascending, and rows, both [n, k].

    Each pair of blocks is computed once and serves both. The distances to the ``sharp``-th neighbours are
    exact; so are distances of 0.

    Raises:
        ValueError: if there are not more than k points.
    """
    n = len(cloud)
    if n <= k:
        raise ValueError(f"{k} neighbours need more than {k} points, got {n}")
    # Some more than asked for: float32 may have put the k-th one behind the next.
    wanted = min(k + 4, n - 1)
    device = cloud.rows.device
    best = torch.full((n, wanted), torch.inf, device=device)
    where = torch.zeros((n, wanted), dtype=torch.int64, device=device)
    parts = slices(n, block)
    for number, rows in enumerate(parts):
        for columns in parts[number:]:
            squared = squared_block(cloud, rows, cloud, columns)
            if columns == rows:
                squared.fill_diagonal_(torch.inf)
            _merge(best, where, rows, squared, columns.start)
            if columns != rows:
                _merge(best, where, columns, squared.T, rows.start)
    values, found = best.cpu().numpy().astype(np.float64), where.cpu().numpy()
    room = _room(cloud, cloud)
    near = values <= room
    for rank in sharp:
        near |= np.abs(values - values[:, [rank - 1]]) <= room
    doubtful, places = np.nonzero(near)
    values[doubtful, places] = exact_squared(cloud, doubtful, cloud, found[doubtful, places])
    order = np.argsort(values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(found, order, axis=1)


def _room(one: Points, other: Points) -> float:
    """What rounding can change in a squared distance."""
    return ROUNDING * 4 * float(max(one.norms.max(), other.norms.max()))


def _merge(best: torch.Tensor, where: torch.Tensor, rows: slice, squared: torch.Tensor, offset: int) -> None:
    """The smallest so far, and those of a block."""
    size = min(best.shape[1], squared.shape[1])
    values, columns = squared.topk(size, dim=1, largest=False)
    both = torch.cat([best[rows], values], dim=1)
    places = torch.cat([where[rows], columns + offset], dim=1)
    best[rows], order = both.topk(best.shape[1], dim=1, largest=False)
    where[rows] = places.gather(1, order)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a point and another cloud's point that may matter to some ball.

    Attributes:
        rows: of the first cloud, [p].
        columns: of the second, [p].
        squared: their distances, [p]; exact where a ball of either is near.
    """

    rows: Index
    columns: Index
    squared: Array


def within_reach(
    one: Points, reach: Array, other: Points, other_reach: Array, sharp: tuple[Array, Array], block: int = BLOCK
) -> Pairs:
    """Pairs nearer than the reach of either point.

    Args:
        one: a cloud.
        reach: squared, of each of its points, [n].
        other: another.
        other_reach: of its points, [m].
        sharp: squared radii, [ks, n] and [ks, m], at which distances must be exact.
        block: rows and columns at once.
    """
    found: list[tuple[Index, Index, Array]] = []
    device = one.rows.device
    room = _room(one, other)
    ours, theirs = (torch.from_numpy(each + room).float().to(device) for each in (reach, other_reach))
    for rows in slices(len(one), block):
        for columns in slices(len(other), block):
            squared = squared_block(one, rows, other, columns)
            near = squared <= torch.maximum(ours[rows][:, None], theirs[columns][None])
            i, j = near.nonzero(as_tuple=True)
            values = squared[i, j].cpu().numpy().astype(np.float64)
            first, second = i.cpu().numpy() + rows.start, j.cpu().numpy() + columns.start
            close = values <= room
            for radii, places in ((sharp[0], first), (sharp[1], second)):
                for radius in radii:
                    close |= np.abs(values - radius[places]) <= room
            values[close] = exact_squared(one, first[close], other, second[close])
            found.append((first, second, values))
    return Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
