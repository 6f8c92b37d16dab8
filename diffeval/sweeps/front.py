"""Quality against diversity: the points that no other beats in both, and the knee between them."""

from dataclasses import replace
from math import sqrt

import numpy as np

from diffeval.metrics.metric import Array
from diffeval.sweeps.choices import LEVEL, NONE, Choice, Curve, Flags, Picked, choose, draws, in_units, not_excluded

# A knee lies at least this far from the chord, on a front of at least so many points.
LEAST_DISTANCE, LEAST_POINTS = 0.05, 3


def pareto(quality: Curve, diversity: Curve) -> tuple[bool, ...]:
    """Which points are non-dominated: none is as good in both and better in one. Equal points are kept together.

    Raises:
        ValueError: if the curves have other points than each other.
    """
    (kept,) = _front(*_upward(quality, diversity, quality.values[None], diversity.values[None]))
    return tuple(bool(one) for one in kept)


def pareto_share(quality: Curve, diversity: Curve) -> tuple[float, ...]:
    """The share of draws, of both curves together, in which each point is non-dominated.

    Raises:
        ValueError: if the curves have other points or groups than each other.
    """
    kept = _front(*_upward(quality, diversity, *draws([quality, diversity])))
    return tuple(float(share) for share in kept.mean(axis=0))


def knee(quality: Curve, diversity: Curve) -> Choice:
    """The non-dominated point farthest from the chord between the front's ends, where there is a clear one.

    Both scores are scaled to 0 to 1 over the non-dominated points. The distance is perpendicular to the chord and
    counts on its better side only: 0 on a straight front, 1/sqrt(2) in the corner where both are best. There is no
    knee where the front has fewer than 3 points, where no point is 0.05 from the chord, where chance alone puts one as
    far from a straight front (in 5% of draws), or where the likely points are more than half of all.

    Raises:
        ValueError: if the curves have other points or groups than each other.

    Source: Satopaa, Albrecht, Irwin and Raghavan 2011 ("Kneedle"), its normalisation and its distance to the chord,
    on the non-dominated points as they are: without its smoothing, and with a least distance in place of its
    sensitivity.
    """
    values = _upward(quality, diversity, quality.values[None], diversity.values[None])
    drawn = _upward(quality, diversity, *draws([quality, diversity]))
    distances, count = _distances(*values), len(quality.at)
    on, far = int(_front(*values).sum()), float(distances.max())
    possible, reason = np.zeros(count, dtype=np.bool_), ""
    if on < LEAST_POINTS:
        reason = f"no knee: {on} of {count} points are non-dominated, it takes {LEAST_POINTS}"
    elif far < LEAST_DISTANCE:
        reason = f"no knee: the farthest point lies {max(far, 0.0):.2g} from the chord, it takes {LEAST_DISTANCE:g}"
    else:
        ends = _ends(*values)
        here, there = _beyond_chord(*values, ends)[0], _beyond_chord(*drawn, ends)
        possible = not_excluded(here, there)
        chance = _by_chance(there - here)[distances.argmax()]
        if far <= chance:
            reason = f"no knee: the farthest point lies {far:.2g} from the chord, chance puts one {chance:.2g} from it"
    found = choose(
        f"the point of the front of {quality.name} and {diversity.name} that lies farthest from the chord between its"
        f" ends, both scaled to 0 to 1, and at least {LEAST_DISTANCE:g} from it; of {quality.span}",
        f"{quality.name}, {diversity.name}",
        quality.at,
        NONE if reason else int(distances.argmax()),
        _farthest(_distances(*drawn)),
        possible,
        reason,
    )
    if not reason and len(found.likely) > count / 2:
        return replace(found, at=None, reason=f"no knee: it may lie at any of {len(found.likely)} of {count} points")
    return found


def _upward(quality: Curve, diversity: Curve, ours: Array, theirs: Array) -> tuple[Array, Array]:
    """Values or draws of both, [N, K] each, so that more is better in both."""
    if quality.at != diversity.at:
        raise ValueError(f"{quality.name} at {quality.at}, but {diversity.name} at {diversity.at}")
    return (ours if quality.higher_is_better else -ours), (theirs if diversity.higher_is_better else -theirs)


def _front(ours: Array, theirs: Array) -> Flags:
    """Which points no other dominates, [N, K]; more is better in both."""
    dominated = np.zeros(ours.shape, dtype=np.bool_)
    # Point after point, since all pairs at once are [N, K, K].
    for x, y in zip(ours.T[:, :, None], theirs.T[:, :, None], strict=True):
        dominated |= (x >= ours) & (y >= theirs) & ((x > ours) | (y > theirs))
    return ~dominated


def _distances(ours: Array, theirs: Array) -> Array:
    """How far each point of a front lies beyond its chord, [N, K]; -inf off the front, or on one of too few points.

    The ends are (0, 1) and (1, 0) when scaled, so the chord is x + y = 1.
    """
    front = _front(ours, theirs)
    x, y = _scaled(ours, front), _scaled(theirs, front)
    has = front & (front.sum(axis=1, keepdims=True) >= LEAST_POINTS)
    return np.where(has, (x + y - 1) / sqrt(2), -np.inf)


def _scaled(values: Array, front: Flags) -> Array:
    """0 to 1 over the points of the front, [N, K]; where they are all in one place, 0."""
    low = np.where(front, values, np.inf).min(axis=1, keepdims=True)
    high = np.where(front, values, -np.inf).max(axis=1, keepdims=True)
    scaled: Array = (values - low) / np.where(high > low, high - low, 1.0)
    return scaled


def _farthest(distances: Array) -> Picked:
    """Index of the knee, [N]; ``NONE`` where no point is far enough."""
    return np.where(distances.max(axis=1) >= LEAST_DISTANCE, distances.argmax(axis=1), NONE)


def _ends(ours: Array, theirs: Array) -> tuple[int, int]:
    """The two ends of one front, [1, K]: the point best in the first score, the one best in the second."""
    front = _front(ours, theirs)[0]
    return int(np.where(front, ours[0], -np.inf).argmax()), int(np.where(front, theirs[0], -np.inf).argmax())


def _beyond_chord(ours: Array, theirs: Array, ends: tuple[int, int]) -> Array:
    """Distances to the chord between two given points, [N, K], whether or not they are the ends of a row's front.

    With the ends held fixed, the distances of a straight front are 0 in expectation; those to the ends of each draw's
    own front are not, since noise can only push a front outwards.
    """
    best, other = ends
    x = (ours - ours[:, [other]]) / (ours[:, [best]] - ours[:, [other]])
    y = (theirs - theirs[:, [best]]) / (theirs[:, [other]] - theirs[:, [best]])
    beyond: Array = (x + y - 1) / sqrt(2)
    return beyond


def _by_chance(noise: Array) -> Array:
    """What no distance [N, K] exceeds by noise alone in 95% of the draws, [K], all points taken together."""
    scale = noise.std(axis=0)
    limits: Array = np.quantile(in_units(noise, scale).max(axis=1), LEVEL) * scale
    return limits
