"""Whether a mode that is there is whole: how far images of one mode lie from each other, and how many are the same."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array
from diffeval.metrics.neighbours import Points, nearest, points, slices, squared_block

# Images of a mode on each side, fewer than which say nothing of its spread, and more than which are not needed.
LEAST, MOST = 10, 200
# Share of real images' distance below which a mode is called collapsed, with its interval.
COLLAPSED = 0.5
# Share of the usual distance of real nearest neighbours below which two images are the same one.
SAME = 0.1
# Images among which repeats are looked for, at most, and rows of a block.
SEARCHED, BLOCK = 10_000, 2048
# Pairs that are more than chance: so many times those of real images, and so many more.
MANY = (3, 10)
# Keys the order in which images are looked at.
_ORDER = 0x5EED7

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spread:
    """Distances to the nearest neighbour within a mode, generated over real ones.

    Attributes:
        ratio: of their means; 1 where a mode is as wide as it should be, 0 where one image is repeated.
        low: end of its 95% interval.
        high: the other.
    """

    ratio: float
    low: float
    high: float

    @property
    def collapsed(self) -> bool:
        """Whether images of the mode are surely too alike."""
        return self.high < COLLAPSED


def spread(generated: Array, real: Array) -> Spread | None:
    """Of one mode; None with fewer than ``LEAST`` images on a side.

    Both sides have the same number of images, as nearest neighbours come nearer with more of them. Distances of one
    sample are not independent; the interval takes them for it, and its half-width is doubled for that.

    Args:
        generated: features of its generated images, [a, d].
        real: of its real ones, [b, d].
    """
    count = min(len(generated), len(real), MOST)
    if count < LEAST:
        return None
    centre = real.mean(axis=0)
    ours, theirs = (
        np.sqrt(nearest(points(_drawn(one, count), centre), 1, (1,))[0][:, 0]) for one in (generated, real)
    )
    if not theirs.mean() > 0:
        return None
    ratio = float(ours.mean() / theirs.mean())
    spreads = [one.std(ddof=1) / np.sqrt(count) / theirs.mean() for one in (ours, theirs)]
    half = 2 * 1.96 * float(np.hypot(spreads[0], ratio * spreads[1]))
    return Spread(ratio, max(0.0, ratio - half), ratio + half)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Pairs of images that are the same, or nearly.

    Attributes:
        searched: images among which they were counted, on each side.
        generated: pairs.
        real: pairs.
    """

    searched: int
    generated: int
    real: int

    @property
    def support(self) -> float | None:
        """How many images there are to draw from, by the birthday paradox: n (n - 1) / 2 over pairs; None without.

        Pairs that real images have, too, are taken off; no estimate where there are not many more than these. Source:
        Arora and Zhang 2018.
        """
        if self.generated <= MANY[0] * self.real + MANY[1]:
            return None
        return self.searched * (self.searched - 1) / 2 / (self.generated - self.real)


def repeats(generated: Array, real: Array) -> Repeats:
    """Counts pairs nearer than a tenth of the median distance of real nearest neighbours, among equally many."""
    count = min(len(generated), len(real), SEARCHED)
    centre = real.mean(axis=0)
    theirs, ours = (points(_drawn(one, count), centre) for one in (real, generated))
    usual = float(np.median(nearest(theirs, 1, (1,))[0][:, 0]))
    limit = SAME**2 * usual
    return Repeats(count, _pairs_within(ours, limit), _pairs_within(theirs, limit))


def _drawn(features: Array, count: int) -> Array:
    """So many of them, in an order of their own: files lie sorted by class."""
    order = np.random.Generator(np.random.Philox(_ORDER)).permutation(len(features))
    return features[order[:count]]


def _pairs_within(cloud: Points, squared: float) -> int:
    """Pairs of points that are no further apart."""
    found = 0
    for rows in slices(len(cloud), BLOCK):
        for columns in slices(len(cloud), BLOCK):
            if columns.start < rows.start:
                continue
            block = squared_block(cloud, rows, cloud, columns)
            if columns == rows:
                block.fill_diagonal_(float("inf"))
            near = int((block <= squared).sum())
            found += near // 2 if columns == rows else near
    return found
