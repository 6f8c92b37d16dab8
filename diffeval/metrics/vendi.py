"""How many different images there are, in effect: the Vendi score of order 2, also called RKE mode count."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from diffeval.metrics.groups import mean_error
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, LackingError, Metric
from diffeval.metrics.neighbours import BLOCK, Points, points, slices, squared_block
from diffeval.runs.records import Null, Param

# Fewer images of a side, or of a class, have no diversity to speak of.
LEAST, LEAST_CLASS = 50, 10
QUANTILE = 1.959964
# Real images that tell the bandwidth, and the share of their median distance that it is.
SOME, SHARE = 1000, 0.5
_DRAW = 0x7E4D1

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Diversity:
    """The effective number of images, how precisely it is known, and what each image moves it by, [n]."""

    value: float
    std_error: float
    moves: Array | None = None


def bandwidth(reference: FeatureSet) -> float:
    """Half the median distance between real images: two that are no more alike than most count as two.

    Raises:
        ValueError: if most real images are the same.
    """
    rows = np.sort(np.random.Generator(np.random.Philox(_DRAW)).permutation(len(reference))[:SOME])
    some = _points(reference.features[rows])
    squared = squared_block(some, slice(None), some, slice(None)).cpu().numpy()
    width = SHARE * sqrt(float(np.median(squared[np.triu_indices(len(rows), 1)])))
    if not width:
        raise ValueError("most real images have the same features, and no bandwidth can be told from them")
    return width


def _points(features: Array) -> Points:
    return points(features, features.mean(axis=0))


def diversity(features: Array, width: float, labels: Rows | None = None) -> Diversity:
    """Order-2 Vendi score of features [n, d]: 1 / mean over all pairs of k(x, y)^2, the n pairs of one included.

    k(x, y) = exp(-|x - y|^2 / (2 width^2)). From 1, all the same, to n, all different.
    """
    cloud, n = _points(features), len(features)
    sums = np.zeros(n)
    parts = slices(n, BLOCK)
    for number, rows in enumerate(parts):
        for columns in parts[number:]:
            block = squared_block(cloud, rows, cloud, columns).div_(-(width**2)).exp_()
            sums[rows] += block.sum(dim=1).double().cpu().numpy()
            if columns != rows:
                sums[columns] += block.sum(dim=0).double().cpu().numpy()
    collision = float(sums.sum()) / n**2
    # Image i moves the mean over pairs by twice its own mean.
    moves: Array = -2 * sums / n / collision**2
    return Diversity(1 / collision, mean_error(moves, labels), moves)


def vendi(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """The effective number of different images, over all and within the classes. Range: 1 to n; compare with real's.

    Both sides have min(n, m) images, because the value grows with their number; within classes, as many of a class as
    the smaller side has, and the mean over classes is quoted. A model that repeats itself reads below the real
    value, one that makes noise above it: this is diversity, not quality. The kernel is Gaussian; its bandwidth is half
    the median distance between real images, and in the parameters. With labels, the shares of the classes are fixed.

    Bias: reads low by the share (value / n) where the images are few. The error is of first order and takes the
    bandwidth for given.

    Source: Friedman and Dieng 2023; order 2: Pasarkar and Dieng 2024, eq. 4, equal to Jalali et al. 2023's RKE.

    Raises:
        ValueError: if a side has fewer images than it needs, or most real images are the same.
    """
    n = min(len(generated), len(reference))
    if n < LEAST:
        raise ValueError(f"vendi needs {LEAST} images of each side, and has {len(generated)} and {len(reference)}")
    width = reference.once("vendi bandwidth", lambda: bandwidth(reference))
    params: dict[str, Param] = {
        "kernel": "gaussian",
        "bandwidth": width,
        "order": 2,
        "std_error_method": "influence, first order",
    }
    found = diversity(generated.features[:n], width, None if generated.labels is None else generated.labels[:n])
    drawn = np.random.Generator(np.random.Philox(_DRAW)).permutation(len(reference))[:n]
    real = reference.once(f"vendi {n}", lambda: diversity(reference.features[drawn], width))
    whole = _estimate("vendi", found, real, n, {**params, "n_used": n})
    try:
        ours, theirs, count = _within(generated, reference, width)
    except LackingError as error:
        return whole, Estimate("vendi_within_class", None, higher_is_better=True, params={"error": str(error)})
    return whole, _estimate("vendi_within_class", ours, theirs, count, {**params, "n_per_class": count})


def _within(generated: FeatureSet, reference: FeatureSet, width: float) -> tuple[Diversity, Diversity, int]:
    """Means over the classes of both sides, and the images of a class they stand on."""
    if generated.labels is None or reference.labels is None or generated.classes != reference.classes:
        raise LackingError("vendi_within_class needs the same classes on both sides")
    names = range(len(generated.classes))
    # A folder lies in an order that may mean something.
    shuffled = np.random.Generator(np.random.Philox(_DRAW)).permutation(len(reference))
    orders = np.arange(len(generated)), shuffled
    sides = [
        [order[side.labels[order] == name] for name in names]
        for side, order in zip((generated, reference), orders, strict=True)
        if side.labels is not None
    ]
    count = min(len(rows) for side in sides for rows in side)
    if count < LEAST_CLASS:
        raise LackingError(f"vendi_within_class needs {LEAST_CLASS} images of every class")
    means = []
    for images, classes in zip((generated, reference), sides, strict=True):
        each = [diversity(images.features[rows[:count]], width) for rows in classes]
        error = sqrt(sum(one.std_error**2 for one in each)) / len(each)
        means.append(Diversity(float(np.mean([one.value for one in each])), error))
    return means[0], means[1], count


def _estimate(name: str, found: Diversity, real: Diversity, n: int, params: Mapping[str, Param]) -> Estimate:
    return Estimate(
        name,
        found.value,
        higher_is_better=True,
        std_error=found.std_error,
        ci95=(max(1.0, found.value - QUANTILE * found.std_error), found.value + QUANTILE * found.std_error),
        params=params,
        comparable_across_n=False,
        terms={} if found.moves is None else {"term": found.moves},
        null=Null(real.value, real.std_error, n),
    )


METRICS.register("vendi")(Metric(("vendi", "vendi_within_class"), lambda dim: LEAST, vendi, higher_is_better=True))
