"""How far images of one class lie apart: what guidance takes away first."""

from math import sqrt

import numpy as np

from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, LackingError, Metric
from diffeval.metrics.neighbours import points, slices, squared_block
from diffeval.runs.records import Null

# Images of a class, fewer than which have no mean distance to speak of.
LEAST_CLASS, LEAST = 5, 20
QUANTILE = 1.959964
BLOCK = 4096


def mean_distances(features: Array) -> Array:
    """Mean Euclidean distance of each image [n, d] to all the others, [n]."""
    cloud, n = points(features, features.mean(axis=0)), len(features)
    sums = np.zeros(n)
    for rows in slices(n, BLOCK):
        for columns in slices(n, BLOCK):
            block = squared_block(cloud, rows, cloud, columns).sqrt_()
            if rows == columns:
                block.fill_diagonal_(0.0)
            sums[rows] += block.sum(dim=1).double().cpu().numpy()
    found: Array = sums / (n - 1)
    return found


def within_class(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Mean distance between two images of one class, averaged over the classes. From 0; right where real images are.

    Guidance draws the images of a class together before anything else goes wrong; next to what real images of the
    class read this says how much of the variety is left. Unbiased (a U-statistic), so the number of images does not
    matter. The error is of first order, of the generated images.

    Source: Sadat et al. 2024 and others measure the diversity within a condition; the U-statistic is Hoeffding's.

    Raises:
        LackingError: without labels, or with fewer than 5 images of some class.
    """
    value, error, means = _read(generated)
    null = None
    if reference.labels is not None and reference.classes == generated.classes:
        null = reference.once("within_class", lambda: _null(reference))
    return (
        Estimate(
            "within_class_distance",
            value,
            higher_is_better=True,
            std_error=error,
            ci95=(max(0.0, value - QUANTILE * error), value + QUANTILE * error),
            params={"std_error_method": "U-statistic, first order"},
            terms={"term": means},
            null=null,
        ),
    )


def _read(images: FeatureSet) -> tuple[float, float, Array]:
    """Value, standard error, and what each image moves the value by, [n]: twice its mean distance, by class."""
    if images.labels is None:
        raise LackingError("within_class_distance needs images made class by class, and these have no such labels")
    classes = [images.features[images.labels == name] for name in np.unique(images.labels)]
    least = min(map(len, classes))
    if least < LEAST_CLASS:
        raise LackingError(f"within_class_distance needs {LEAST_CLASS} images of every class, one has {least}")
    means = [mean_distances(one) for one in classes]
    variance = sum(4 * float(one.var(ddof=1)) / len(one) for one in means) / len(means) ** 2
    moves = np.empty(len(images))
    for name, one in zip(np.unique(images.labels), means, strict=True):
        moves[images.labels == name] = 2 * one * len(images) / (len(means) * len(one))
    return float(np.mean([one.mean() for one in means])), sqrt(variance), moves


def _null(reference: FeatureSet) -> Null | None:
    try:
        value, error, _ = _read(reference)
    except LackingError:
        return None
    return Null(value, error, len(reference))


METRICS.register("within_class")(
    Metric(("within_class_distance",), lambda dim: LEAST, within_class, higher_is_better=True)
)
