"""How real single images are: realism against the balls of real images, and the real images that lie nearest.

A ball around every real image reaches to its k-th nearest neighbour among real images, as for precision. The realism
of an image is the largest ratio of a ball's radius to the image's distance from its centre: 1 and above inside of some
ball, infinite at a real image itself. Of the balls only the smaller half counts, for a lonely real image has a ball so
wide that anything lies in it.

Source: Kynkaanniemi et al. 2019, the realism score, with their k = 3 and balls beyond the median radius left out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array
from diffeval.metrics.neighbours import BLOCK, Index, Points, exact_squared, nearest, points, slices, squared_block

# Neighbours that a ball reaches to, as the score's authors have it.
K = 3
# Real images that are named beside an image, and how many more are looked at, for float32 may mix them up.
NEAREST, ROOM = 3, 4


@dataclass(frozen=True)
class Balls:
    """Real images with the balls around them.

    Attributes:
        points: the images.
        squared: radii, squared, float64 [m]; 0 for those that do not count.
        centre: that was taken off, [d].
    """

    points: Points
    squared: Array
    centre: Array


@dataclass(frozen=True, slots=True)
class Likeness:
    """How images lie among real ones.

    Attributes:
        realism: of each, [n]; infinite at a real image.
        distances: to the nearest real images, ascending, [n, NEAREST].
        rows: which these are, int64 [n, NEAREST].
    """

    realism: Array
    distances: Array
    rows: Index


def balls_of(features: npt.NDArray[np.floating]) -> Balls:
    """The balls of real images, features [m, d].

    Raises:
        ValueError: if there are not more than ``K`` of them.
    """
    centre: Array = features.mean(axis=0, dtype=np.float64)
    cloud = points(features, centre)
    radii = nearest(cloud, K, sharp=(K,))[0][:, -1]
    return Balls(cloud, np.where(radii <= np.median(radii), radii, 0.0), centre)


def likeness(features: npt.NDArray[np.floating], real: Balls, block: int = BLOCK) -> Likeness:
    """Realism and nearest real images of other images, features [n, d].

    What is nearest, and which ball counts, is searched in float32; the numbers are exact for what was found.
    """
    images = points(features, real.centre)
    found = [_block(images, rows, real, block) for rows in slices(len(images), block)]
    realism, squared, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Likeness(realism, np.sqrt(squared), rows)


def _block(images: Points, rows: slice, real: Balls, block: int) -> tuple[Array, Array, Index]:
    """Realism, squared distances and rows of the nearest, of a block of images against all real ones."""
    n, own = len(range(*rows.indices(len(images)))), np.arange(len(images))[rows]
    wanted = min(NEAREST + ROOM, len(real.points))
    near, where = np.empty((n, 0)), np.empty((n, 0), dtype=np.int64)
    ratio, ball = np.full(n, -1.0), np.zeros(n, dtype=np.int64)
    radii = images.rows.new_tensor(real.squared)
    for columns in slices(len(real.points), block):
        squared = squared_block(images, rows, real.points, columns)
        best = squared.topk(min(wanted, squared.shape[1]), dim=1, largest=False)
        near = np.concatenate([near, best.values.cpu().numpy()], axis=1)
        where = np.concatenate([where, best.indices.cpu().numpy() + columns.start], axis=1)
        top, at = (radii[None, columns] / squared.clamp_(min=1e-30)).max(dim=1)
        values, places = top.cpu().numpy().astype(np.float64), at.cpu().numpy() + columns.start
        ball, ratio = np.where(values > ratio, places, ball), np.maximum(values, ratio)
    kept = np.take_along_axis(where, np.argsort(near, axis=1, kind="stable")[:, :wanted], axis=1)
    # The ball that was found, and those around the nearest images, where float32 loses the most.
    both = np.concatenate([kept, ball[:, None]], axis=1)
    exact = exact_squared(images, np.repeat(own, both.shape[1]), real.points, both.ravel()).reshape(both.shape)
    reach = real.squared[both]
    shares = np.divide(reach, exact, out=np.where(reach > 0, np.inf, 0.0), where=exact > 0)
    order = np.argsort(exact[:, :wanted], axis=1, kind="stable")[:, :NEAREST]
    return np.sqrt(shares.max(axis=1)), *(np.take_along_axis(one, order, axis=1) for one in (exact, kept))
