"""Nearest training images, in blocks: which of them an image may be a copy of, and how far it stands out from others.

An image is looked for under several views (as it is, flipped, shifted) and counts by the one that is nearest. The
nearest are found in float32 and their distances taken again from differences in float64, so that a copy lies at 0.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array
from diffeval.metrics.neighbours import Index, Points, exact_squared, points, slices, squared_block

# Images whose distances to a chunk of training images are held at once.
QUERIES = 1024
# More than asked for, because float32 may put the last one behind the next.
ROOM = 4
# Neighbours behind the nearest that say how far apart images usually are.
NEXT = 5

Rows = npt.NDArray[np.generic]
# Training images in order, some at a time: row numbers, and pixels or features [b, d].
Chunks = Callable[[], Iterable[tuple[Index, Rows]]]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest training images of some images.

    Attributes:
        distances: ascending, [q, k].
        rows: which training images these are, [q, k].
        views: of the image, under which they are so near, [q, k].
    """

    distances: Array
    rows: Index
    views: Index

    @property
    def ratios(self) -> Array:
        """Distance to the nearest over the mean distance to the next ones, [q]: 0 for a copy; 1 if all are at 0."""
        usual = self.distances[:, 1:].mean(axis=1)
        found: Array = np.divide(self.distances[:, 0], usual, out=np.ones(len(usual)), where=usual > 0)
        return found


def nearest_training(views: Sequence[Rows], chunks: Chunks, k: int, own: Index | None = None) -> Nearest:
    """Finds the k nearest training images.

    Args:
        views: of the same images, each [q, d].
        chunks: the training images; one that lies in the data twice is to come once.
        k: how many.
        own: row of each image among the training images, which does not count; None for images that are none.

    Raises:
        ValueError: if there are fewer than k training images.
    """
    stacked = np.concatenate(views).astype(np.float32, copy=False)
    centre: Array = stacked.mean(axis=0, dtype=np.float64)
    query = points(stacked, centre)
    held = None if own is None else np.tile(own, len(views))
    best, where = np.empty((len(stacked), 0)), np.empty((len(stacked), 0), dtype=np.int64)
    for rows, part in chunks():
        best, where = _with_chunk(best, where, query, points(part.astype(np.float32), centre), rows, k + ROOM, held)
    return _each_once(best, where, len(views), k)


def _with_chunk(
    best: Array, where: Index, query: Points, chunk: Points, rows: Index, k: int, own: Index | None
) -> tuple[Array, Index]:
    """The k nearest so far and those of a chunk: squared distances and rows; infinite to the image itself."""
    # One more, because the image itself may be among them.
    blocks = [
        squared_block(query, part, chunk, slice(None)).topk(min(k + 1, len(chunk)), dim=1, largest=False)
        for part in slices(len(query), QUERIES)
    ]
    near = np.concatenate([block.values.cpu().numpy().astype(np.float64) for block in blocks])
    places = np.concatenate([block.indices.cpu().numpy() for block in blocks])
    if own is not None:
        near[rows[places] == own[:, None]] = np.inf
    held = best.shape[1]
    order = np.argsort(np.concatenate([best, near], axis=1), axis=1, kind="stable")[:, :k]
    best, where = (
        np.take_along_axis(np.concatenate(both, axis=1), order, axis=1)
        for both in ((best, near), (where, rows[places]))
    )
    # Those that came in are measured again; most of a later chunk never come in.
    image, rank = np.nonzero((order >= held) & np.isfinite(best))
    best[image, rank] = exact_squared(query, image, chunk, places[image, order[image, rank] - held])
    return best, where


def _each_once(best: Array, where: Index, views: int, k: int) -> Nearest:
    """The first k different rows of every image, from those of each of its views, [views * q, candidates]."""
    count, width = len(best) // views, best.shape[1]

    # The candidates of an image lie in a row, view after view.
    squared = best.reshape(views, count, width).transpose(1, 0, 2).reshape(count, -1)
    rows = where.reshape(views, count, width).transpose(1, 0, 2).reshape(count, -1)
    order = np.argsort(squared, axis=1, kind="stable")
    squared, rows = np.take_along_axis(squared, order, axis=1), np.take_along_axis(rows, order, axis=1)
    kept = np.zeros((count, k), dtype=np.int64)
    for image, found in enumerate(rows):
        first = np.sort(np.unique(found[np.isfinite(squared[image])], return_index=True)[1])
        if len(first) < k:
            raise ValueError(f"{k} nearest training images are needed, and there are {len(first)}")
        kept[image] = first[:k]
    distances: Array = np.sqrt(np.take_along_axis(squared, kept, axis=1))
    return Nearest(distances, np.take_along_axis(rows, kept, axis=1), np.take_along_axis(order, kept, axis=1) // width)
