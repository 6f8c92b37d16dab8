"""Precision, recall, density and coverage: how much of each set lies within the reach of the other.

A ball around every image reaches to its k-th nearest neighbour among its own kind (itself not counted; ``<=``).

==========  ==============================================================================  =====================
precision   share of generated images within the ball of some real one                       quality; best 1
recall      share of real images within the ball of some generated one                       diversity; best 1
density     balls of real images that a generated one lies in, on average, over k            quality; 1 if equal
coverage    share of real images whose ball holds a generated one                            diversity; best 1
==========  ==============================================================================  =====================

All four depend on how many images there are and on the dimension: what they read where nothing is wrong falls from 1
towards 2/3 and less with the dimension, and coverage ends at 1 - 2^-k. So both sides have the same number of images,
n_k = min(n, m / 2), and beside each value stands what the other half of the real images reads in the generated ones'
place. A value means something next to that one only.

Source: Kynkaanniemi et al. 2019, eqs. 1 to 3 (precision and recall; k = 3); Naeem et al. 2020, eqs. 4 to 6 (density
and coverage; k = 5).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, Metric
from diffeval.metrics.neighbours import Pairs, Points, nearest, points, within_reach
from diffeval.runs.records import Null

# Neighbours of each score, as its authors have them.
NEIGHBOURS: Mapping[str, int] = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
# Fewer images of a side than this have no neighbourhoods to speak of.
LEAST = 50
# Halves of both sides that are drawn for the error: its own relative error is 1 / (2 HALVES)^1/2.
HALVES = 50
# Neighbours kept per image: the 5th of a random half is among them but for 1 in 10^5.
KEPT = 32
QUANTILE = 1.959964
KS = sorted(set(NEIGHBOURS.values()))
# Keys the random halves: of the reference, and of the samples for the error.
_SPLIT, _HALVES = 0x5EED1, 0x5EED2

Members = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cloud:
    """Points with their nearest neighbours among themselves.

    Attributes:
        points: themselves.
        squared: distances to the nearest neighbours, ascending, [n, KEPT].
        rows: which these are, [n, KEPT].
    """

    points: Points
    squared: Array
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.points)

    def radii(self, k: int, members: Members | None = None) -> Array:
        """Squared distance to the k-th nearest neighbour among the members, [n]; -1 for who is none."""
        if members is None:
            radii: Array = self.squared[:, k - 1]
            return radii
        reached = np.cumsum(members[self.rows], axis=1) >= k
        # Where too few of the neighbours are members, the last one stands in for a ball that is larger still.
        place = np.where(reached.any(axis=1), reached.argmax(axis=1), self.squared.shape[1] - 1)
        found = self.squared[np.arange(len(self)), place]
        return np.where(members, found, -1.0)


def make_cloud(features: Array, centre: Array) -> Cloud:
    """Finds the neighbours."""
    cloud = points(features, centre)
    squared, rows = nearest(cloud, min(KEPT, len(features) - 1), sharp=KS)
    return Cloud(cloud, squared, rows)


@dataclass(frozen=True)
class Reading:
    """Values of the four scores, their standard errors, and the scores of the halves that these come from."""

    values: Mapping[str, float]
    errors: Mapping[str, float]
    halves: Mapping[str, tuple[float, ...]]


def read(generated: Cloud, real: Cloud) -> Reading:
    """The four scores of two clouds of the same size, from one pass over their distances.

    Errors come from random halves of both, drawn without replacement: the variance between those, s^2 (1 / b - 1 / n),
    is that of the whole, s^2 / n, at b = n / 2. Seen against independent redraws they are rather too large than too
    small (0.85 to 1.35 times the true scatter): radii differ between halves, too. A bootstrap would repeat images, and
    a repeated image has a ball of radius 0.
    """
    random = np.random.Generator(np.random.Philox(_HALVES))
    halves = [(_half(random, len(generated)), _half(random, len(real))) for _ in range(HALVES)]
    balls = [_Balls.of(generated, real, *half) for half in halves]
    whole = _Balls.of(generated, real, None, None)
    pairs = within_reach(
        real.points,
        np.max([np.max(one.real, axis=0) for one in balls], axis=0),
        generated.points,
        np.max([np.max(one.generated, axis=0) for one in balls], axis=0),
        (whole.real, whole.generated),
    )
    parts = [one.scores(pairs) for one in balls]
    found = {name: tuple(part[name] for part in parts) for name in NEIGHBOURS}
    errors = {name: float(np.std(of_halves, ddof=1)) for name, of_halves in found.items()}
    return Reading(whole.scores(pairs), errors, found)


def without_groups(
    generated: FeatureSet, reference: FeatureSet, numbers: npt.NDArray[np.int64]
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The four scores, and without each group of generated images in turn, from one pass over the distances.

    Args:
        generated: images; as many count as in ``manifold``.
        reference: real ones.
        numbers: group of each image, int64 [n], from 0.
    """
    n = min(len(generated), len(reference) // 2)
    real, _ = reference.once(f"manifold {n}", lambda: _real_against_real(reference, n))
    cloud = make_cloud(generated.features[:n], real.centre)
    groups = range(int(numbers.max()) + 1)
    balls = [_Balls.of(cloud, real.cloud, numbers[:n] != group, None) for group in groups]
    whole = _Balls.of(cloud, real.cloud, None, None)
    pairs = within_reach(
        real.cloud.points,
        np.max(whole.real, axis=0),
        cloud.points,
        np.max([np.max(one.generated, axis=0) for one in balls], axis=0),
        (whole.real, whole.generated),
    )
    return whole.scores(pairs), [one.scores(pairs) for one in balls]


def _half(random: np.random.Generator, n: int) -> Members:
    members = np.zeros(n, dtype=bool)
    members[random.permutation(n)[: n // 2]] = True
    return members


@dataclass(frozen=True)
class _Balls:
    """Members of both sides, and the radii of their balls by k, squared, [ks, n]; -1 for who is no member."""

    members: Members
    real_members: Members
    generated: Array
    real: Array

    @classmethod
    def of(cls, generated: Cloud, real: Cloud, ours: Members | None, theirs: Members | None) -> "_Balls":
        everyone = np.ones(len(generated), dtype=bool), np.ones(len(real), dtype=bool)
        return cls(
            everyone[0] if ours is None else ours,
            everyone[1] if theirs is None else theirs,
            np.stack([generated.radii(k, ours) for k in KS]),
            np.stack([real.radii(k, theirs) for k in KS]),
        )

    def scores(self, pairs: Pairs) -> dict[str, float]:
        """The four scores; in a pair the row is the real image and the column the generated one."""
        n, m = int(self.members.sum()), int(self.real_members.sum())
        within = {k: pairs.squared <= radii[pairs.rows] for k, radii in zip(KS, self.real, strict=True)}
        within = {k: inside & self.members[pairs.columns] for k, inside in within.items()}
        reached = pairs.squared <= self.generated[KS.index(NEIGHBOURS["recall"])][pairs.columns]
        reached &= self.real_members[pairs.rows]
        precision, density, coverage = (within[NEIGHBOURS[name]] for name in ("precision", "density", "coverage"))
        return {
            "precision": _distinct(pairs.columns[precision], len(self.members)) / n,
            "recall": _distinct(pairs.rows[reached], len(self.real_members)) / m,
            "density": float(density.sum()) / (NEIGHBOURS["density"] * n),
            "coverage": _distinct(pairs.rows[coverage], len(self.real_members)) / m,
        }


def _distinct(rows: npt.NDArray[np.int64], n: int) -> float:
    hit = np.zeros(n, dtype=bool)
    hit[rows] = True
    return float(hit.sum())


def manifold(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Quality and diversity apart, by neighbourhoods of images; each beside what real images read. See the module.

    Range: 0 to 1, density from 0. The interval is for the expectation at n_k images, not for its limit. Which half of
    the reference stands against the images and which in their place is drawn once, by a fixed seed.

    Raises:
        ValueError: if the reference has too few images for two halves.
    """
    n = min(len(generated), len(reference) // 2)
    if n < LEAST:
        raise ValueError(
            f"neighbourhoods need {LEAST} images of each of two halves of the reference, which has {len(reference)}"
        )
    real, null = reference.once(f"manifold {n}", lambda: _real_against_real(reference, n))
    ours = read(make_cloud(generated.features[:n], real.centre), real.cloud)
    return tuple(
        Estimate(
            name,
            ours.values[name],
            higher_is_better=True,
            std_error=ours.errors[name],
            ci95=_interval(ours.values[name], ours.errors[name], None if name == "density" else 1.0),
            params={"k": k, "n_k": n, "std_error_method": f"{HALVES} halves without replacement"},
            comparable_across_n=False,
            terms={"halves": np.array(ours.halves[name])},
            null=Null(null.values[name], null.errors[name], n),
        )
        for name, k in NEIGHBOURS.items()
    )


@dataclass(frozen=True)
class _Real:
    cloud: Cloud
    centre: Array


def _real_against_real(reference: FeatureSet, n: int) -> tuple[_Real, Reading]:
    """One half of the reference, and what the other reads against it."""
    order = np.random.Generator(np.random.Philox(_SPLIT)).permutation(len(reference))
    half = len(reference) // 2
    centre: Array = reference.features.mean(axis=0)
    one = make_cloud(reference.features[order[:n]], centre)
    other = make_cloud(reference.features[order[half : half + n]], centre)
    return _Real(one, centre), read(other, one)


def _interval(value: float, error: float, most: float | None) -> tuple[float, float]:
    low, high = max(0.0, value - QUANTILE * error), value + QUANTILE * error
    return low, high if most is None else min(most, high)


METRICS.register("manifold")(Metric(tuple(NEIGHBOURS), lambda dim: LEAST, manifold, higher_is_better=True, place=3))
