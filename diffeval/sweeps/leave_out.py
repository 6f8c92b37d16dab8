"""Scores with a group of seeds left out: what the conclusions of a sweep are held against.

The groups are the same at every point of a sweep, and each holds every class in its share. Only point values are
needed here, not their errors, so that 11 of them cost less than one of the scores with everything beside it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.debias import debiased_frechet
from diffeval.metrics.kid import compare_kernels, squared_distance
from diffeval.metrics.manifold import without_groups
from diffeval.metrics.metric import METRICS, Array, FeatureSet, LackingError

GROUPS = 10
# Scores that are means of something by image: their metrics are cheap as they are.
CHEAP = ("class_accuracy", "within_class", "appearance", "clip_score")
# Errors that a metric may leave a group with, e.g. too few images of some class.
UNUSABLE = (LackingError, ValueError, ArithmeticError, np.linalg.LinAlgError)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Values of the scores at one point.

    Attributes:
        values: with all images.
        without: without each group, [G], by score; only of scores that every group leaves something of.
    """

    values: Mapping[str, float]
    without: Mapping[str, Array]


def group_numbers(n: int, classes: int) -> npt.NDArray[np.int64]:
    """Group of each image, int64 [n]: block after block of one image of each class is dealt out to the groups.

    Where that leaves a group without images, they are dealt out one by one.
    """
    size = max(1, classes)
    numbers = np.arange(n) // size
    return (numbers if n >= size * GROUPS else np.arange(n)) % GROUPS


def leave_out(generated: FeatureSet, reference: FeatureSet, independent: bool, classes: int) -> LeftOut:
    """Values of all scores that the choices of a sweep are made by, whole and without each group."""
    numbers = group_numbers(len(generated), classes)
    whole = _smooth(generated, reference, independent)
    parts = [_smooth(generated.at(np.flatnonzero(numbers != g)), reference, independent) for g in range(GROUPS)]
    with suppress(*UNUSABLE):  # neighbourhoods need more images than there may be; the score itself says so
        near, without = without_groups(generated, reference, numbers)
        whole = {**whole, **near}
        parts = [{**part, **other} for part, other in zip(parts, without, strict=True)]
    names = [name for name in whole if all(name in part for part in parts)]
    return LeftOut(
        {name: whole[name] for name in names}, {name: np.array([part[name] for part in parts]) for name in names}
    )


def _smooth(generated: FeatureSet, reference: FeatureSet, independent: bool) -> dict[str, float]:
    """Everything but neighbourhoods."""
    found: dict[str, float] = {}
    if len(generated) >= METRICS["fid"].needs(generated.dim):
        with suppress(*UNUSABLE):
            found["fid_debiased"] = debiased_frechet(generated, reference, independent).value
    if len(reference):
        found["kid"] = squared_distance(*compare_kernels(generated, reference, independent))
    for name in CHEAP:
        try:
            estimates = METRICS[name].compute(generated, reference, independent)
        except UNUSABLE:
            continue
        # Of several kinds of one score the first counts, as everywhere.
        found |= {one.name: one.value for one in reversed(estimates) if one.value is not None}
    return found
