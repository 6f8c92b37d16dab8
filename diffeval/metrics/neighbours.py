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

# Rows and columns of a block: 16 MB of distances in float32; pairs within blocks on the diagonal are computed twice.
BLOCK = 2048
# Float32 rounding of a squared distance, relative to the squared norms that cancel in it; with room.
ROUNDING = 4e-6
# Differences that are held at once when distances are taken again, and rows that are searched again at once.
AGAIN, ROWS_AGAIN = 1 << 22, 256

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
    """Features [n, d] with a common centre [d] taken off, which distances do not feel but rounding does.

    They lie on a CUDA device where there is one, and ``device`` does not name another.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = torch.empty(features.shape, device=device)
    norms = torch.empty(len(features), device=device)
    # In parts, because differences from a float64 centre are float64, too.
    for part in slices(len(features), max(1, AGAIN // features.shape[1])):
        rows[part] = torch.from_numpy((features[part] - centre).astype(np.float32)).to(device)
        norms[part] = (rows[part].double() ** 2).sum(dim=1).float()
    return Points(features, rows, norms)


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
    last = values[:, -1].copy()
    norms = _norms(cloud)
    room = _room(norms[:, None], norms[found])
    near = values <= room
    for rank in sharp:
        near |= np.abs(values - values[:, [rank - 1]]) <= room + room[:, [rank - 1]]
    doubtful, places = np.nonzero(near)
    values[doubtful, places] = exact_squared(cloud, doubtful, cloud, found[doubtful, places])
    order = np.argsort(values, axis=1, kind="stable")[:, :k]
    values, found = np.take_along_axis(values, order, axis=1), np.take_along_axis(found, order, axis=1)
    reach = values[:, max(sharp) - 1]
    # Where many points are about as near, one that float32 put behind all of the kept ones may be nearer.
    unsure = np.flatnonzero((last < reach + _room_within(norms, reach)) & (reach > 0) & (wanted < n - 1))
    for part in slices(len(unsure), ROWS_AGAIN):
        _search_again(cloud, unsure[part], values, found)
    return values, found


def _search_again(cloud: Points, rows: Index, values: Array, found: Index) -> None:
    """Replaces the k neighbours of some rows by the true ones: all that may be nearer than the k-th are compared."""
    k = values.shape[1]
    norms = _norms(cloud)[rows]
    held = exact_squared(cloud, np.repeat(rows, k), cloud, found[rows].ravel()).reshape(-1, k).max(axis=1)
    limit = torch.from_numpy(held + _room_within(norms, held)).float().to(cloud.rows.device)
    chosen = torch.from_numpy(rows).to(cloud.rows.device)
    own = Points(cloud.exact, cloud.rows[chosen], cloud.norms[chosen])
    squared = squared_block(own, slice(None), cloud, slice(None))
    squared[torch.arange(len(rows), device=chosen.device), chosen] = torch.inf
    i, j = (part.cpu().numpy() for part in (squared <= limit[:, None]).nonzero(as_tuple=True))
    exact = exact_squared(cloud, rows[i], cloud, j)
    order = np.lexsort((j, exact, i))
    first = np.searchsorted(i[order], np.arange(len(rows)))
    kept = order[first[:, None] + np.arange(k)]
    values[rows], found[rows] = exact[kept], j[kept]


def _norms(cloud: Points) -> Array:
    norms: Array = cloud.norms.cpu().numpy().astype(np.float64)
    return norms


def _room(one: Array, other: Array) -> Array:
    """What rounding can change in the squared distances of points with these squared norms."""
    room: Array = 2 * ROUNDING * (one + other)
    return room


def _room_within(norms: Array, squared: Array) -> Array:
    """The same for any point that is no further than that from points with these norms."""
    return _room(norms, (np.sqrt(norms) + np.sqrt(np.maximum(squared, 0.0))) ** 2)


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
    norms, other_norms = _norms(one), _norms(other)
    ours, theirs = (
        torch.from_numpy(each + _room_within(length, each)).float().to(device)
        for each, length in ((reach, norms), (other_reach, other_norms))
    )
    for rows in slices(len(one), block):
        for columns in slices(len(other), block):
            squared = squared_block(one, rows, other, columns)
            near = squared <= torch.maximum(ours[rows][:, None], theirs[columns][None])
            i, j = near.nonzero(as_tuple=True)
            values = squared[i, j].cpu().numpy().astype(np.float64)
            first, second = i.cpu().numpy() + rows.start, j.cpu().numpy() + columns.start
            room = _room(norms[first], other_norms[second])
            close = values <= room
            for radii, places in ((sharp[0], first), (sharp[1], second)):
                for radius in radii:
                    close |= np.abs(values - radius[places]) <= room
            values[close] = exact_squared(one, first[close], other, second[close])
            found.append((first, second, values))
    return Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
