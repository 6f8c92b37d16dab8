"""What every class reads by itself, so that a broken one cannot hide in a mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from diffeval.metrics.class_accuracy import hits, worse_than
from diffeval.metrics.kid import kid
from diffeval.metrics.metric import FeatureSet, LackingError
from diffeval.runs.records import Param

# Images of a class on each side, fewer than which say nothing of it.
LEAST = 20
# A class is named where the probability of so bad a reading, over all that were looked at, is below this.
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """One class.

    Attributes:
        name: of the class.
        n: generated images.
        m: real ones.
        accuracy: share that the classifier takes for this class; None without one that knows it.
        kid: kernel distance to the real images of the class.
        std_error: of ``kid``.
        p: probability of so bad a reading where the class is as good as the others, corrected by Holm for all tests.
    """

    name: str
    n: int
    m: int
    accuracy: float | None
    kid: float
    std_error: float
    p: float

    def row(self) -> Mapping[str, Param]:
        """As the results hold it."""
        return {
            "class": self.name,
            "n": self.n,
            "real": self.m,
            "class_accuracy": self.accuracy,
            "kid": self.kid,
            "std_error": self.std_error,
            "p": self.p,
        }


def read_classes(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Reading, ...]:
    """Every class that both sides have enough images of, worst first; nothing without classes, or with one.

    A class is held against the others: its kernel distance against their mean (a one-sided z-test), its accuracy
    against theirs (binomial). So what is wrong with all classes alike is not found here; that is what the scores over
    all images are for.
    """
    if generated.labels is None or reference.labels is None or generated.classes != reference.classes:
        return ()
    sides = [
        (name, np.flatnonzero(generated.labels == index), np.flatnonzero(reference.labels == index))
        for index, name in enumerate(generated.classes)
    ]
    sides = [side for side in sides if min(len(side[1]), len(side[2])) >= LEAST]
    if len(sides) < 2:
        return ()
    distances = [_distance(generated.at(ours), reference.at(theirs), independent) for _, ours, theirs in sides]
    values, errors = np.array(distances).T
    right = _hits(generated)
    counts = None if right is None else np.array([(right[ours].sum(), len(ours)) for _, ours, _ in sides])
    tests = _far(values, errors)
    if counts is not None:
        tests = np.stack([tests, _wrong(counts)])
    p = holm(np.atleast_2d(tests)).min(axis=0)
    readings = [
        Reading(
            name,
            len(ours),
            len(theirs),
            None if counts is None else float(counts[row, 0] / counts[row, 1]),
            float(values[row]),
            float(errors[row]),
            float(p[row]),
        )
        for row, (name, ours, theirs) in enumerate(sides)
    ]
    return tuple(sorted(readings, key=lambda one: (one.p, -one.kid)))


def worst_sentence(readings: Sequence[Reading]) -> str | None:
    """Which classes are worse than the others; None where none is."""
    bad = [one for one in readings if one.p < LEVEL]
    if not bad:
        return None
    named = ", ".join(
        f"{one.name} (kid {one.kid:.3g}" + ("" if one.accuracy is None else f", accuracy {one.accuracy:.1%}") + ")"
        for one in bad[:3]
    )
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f"{len(bad)} of {len(readings)} classes read worse than the others: {named}{more}"


def _distance(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[float, float]:
    (found,) = kid(generated, reference, independent)
    assert found.value is not None, "both sides have images"
    return found.value, found.std_error or 0.0


def _hits(generated: FeatureSet) -> npt.NDArray[np.float64] | None:
    try:
        return hits(generated)
    except LackingError:
        return None


def _far(values: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One-sided p of each distance against the mean of the others, which differ among themselves, too."""
    p = np.ones(len(values))
    for row, (value, error) in enumerate(zip(values, errors, strict=True)):
        others = np.delete(values, row)
        spread = float(others.std(ddof=1)) if len(others) > 1 else float(np.delete(errors, row)[0])
        scale = sqrt(error**2 + spread**2 * (1 + 1 / len(others)))
        p[row] = norm.sf((value - others.mean()) / scale) if scale else float(value <= others.mean())
    return p


def _wrong(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One-sided p of each class's hits [K, (hits, n)] at the share of the others."""
    total = counts.sum(axis=0)
    return np.array(
        [
            # Laplace's share is never 1: where all others are right, one miss is no proof.
            worse_than(int(hit), int(n), float((total[0] - hit + 1) / (total[1] - n + 2)))
            for hit, n in counts
        ]
    )


def holm(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """p-values of any shape, corrected for their number; Holm 1979."""
    flat = p.ravel()
    order = np.argsort(flat)
    factors = np.arange(len(flat), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(flat[order] * factors))
    found = np.empty(len(flat))
    found[order] = adjusted
    return found.reshape(p.shape)
