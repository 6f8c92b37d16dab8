"""What every class reads by itself, so that a broken one cannot hide in a mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import fisher_exact, norm
from scipy.stats import t as student

from diffeval.metrics.class_accuracy import hits
from diffeval.metrics.kid import kid
from diffeval.metrics.metric import FeatureSet, LackingError
from diffeval.metrics.multiplicity import holm
from diffeval.runs.records import Param

# Images of a class on each side, fewer than which say nothing of it.
LEAST = 20
# A class is named where the probability of so bad a reading, over all that were looked at, is below this.
LEVEL = 0.05
# Standard deviations of the permuted distances from which on these are extrapolated.
BEYOND = 4.0


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
        p: probability of so bad a reading of a good class, corrected by Holm for all tests.
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


def read_classes(
    generated: FeatureSet, reference: FeatureSet, held_out: FeatureSet | None, independent: bool
) -> tuple[Reading, ...]:
    """Every class that both sides have enough images of, worst first; nothing without classes, or with one.

    A class is bad by its distance if it can be told from the real images of the class (kernel permutation test) and
    lies further from them than the other classes from theirs (Student's t for one more of their kind): what is wrong
    with all classes alike is not found here, that is what the scores over all images are for. It is bad by its
    accuracy if held-out real images of the class are recognised more often (Fisher's exact test); classifiers know
    some classes better than others, so that classes are not held against each other there. All tests are one-sided.

    Args:
        generated: images with labels.
        reference: real ones.
        held_out: real ones that the extractor was not trained on; None without such, and accuracy is then only shown.
        independent: see ``Metric.compute``.
    """
    if generated.labels is None or reference.labels is None or generated.classes != reference.classes:
        return ()
    sides = [
        (name, np.flatnonzero(generated.labels == index), np.flatnonzero(reference.labels == index))
        for index, name in enumerate(generated.classes)
    ]
    sides = [side for side in sides if min(len(side[1]), len(side[2])) >= LEAST]
    if len(sides) < 3:
        return ()
    distances = [_distance(generated.at(ours), reference.at(theirs), independent) for _, ours, theirs in sides]
    right = _hits(generated)
    tests = [_far(distances)]
    if right is not None and held_out is not None:
        tests.append(_wrong(generated, right, held_out, [name for name, _, _ in sides]))
    p = holm(np.stack(tests)).min(axis=0)
    readings = [
        Reading(
            name,
            len(ours),
            len(theirs),
            None if right is None else float(right[ours].mean()),
            distances[row].value,
            distances[row].std_error,
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
    return f"{len(bad)} of {len(readings)} classes stand out as bad: {named}{more}"


@dataclass(frozen=True, slots=True)
class _Distance:
    """Kernel distance of a class, and the probability of one so large if its images were real ones."""

    value: float
    std_error: float
    p: float


def _distance(generated: FeatureSet, reference: FeatureSet, independent: bool) -> _Distance:
    (found,) = kid(generated, reference, independent)
    assert found.value is not None, "both sides have images"
    p = float(str(found.params["p_value"]))
    if found.null is not None and found.null.std_error:
        # Permutations cannot say less than one in as many as there were; beyond that, how far out it lies must do.
        z = (found.value - found.null.value) / found.null.std_error
        p = min(p, float(norm.sf(z))) if z > BEYOND else p
    return _Distance(found.value, found.std_error or 0.0, p)


def _hits(generated: FeatureSet) -> npt.NDArray[np.float64] | None:
    try:
        return hits(generated)
    except LackingError:
        return None


def _far(distances: Sequence[_Distance]) -> npt.NDArray[np.float64]:
    """The larger of two p-values of each class: not told from real images, no further from them than the others."""
    values = np.array([one.value for one in distances])
    p = np.ones(len(values))
    for row, one in enumerate(distances):
        others = np.delete(values, row)
        scale = sqrt(one.std_error**2 + float(others.var(ddof=1)) * (1 + 1 / len(others)))
        gap = one.value - float(others.mean())
        further = float(student.sf(gap / scale, len(others) - 1)) if scale else float(gap <= 0)
        p[row] = max(further, one.p)
    return p


def _wrong(
    generated: FeatureSet, right: npt.NDArray[np.float64], held_out: FeatureSet, names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """One-sided p of each class's hits against those of held-out real images of the class."""
    real = _hits(held_out)
    p = np.ones(len(names))
    if real is None or held_out.labels is None or held_out.classes != generated.classes:
        return p
    for row, name in enumerate(names):
        index = generated.classes.index(name)
        ours, theirs = right[generated.labels == index], real[held_out.labels == index]
        table = [[one.sum(), len(one) - one.sum()] for one in (ours, theirs)]
        p[row] = fisher_exact(table, alternative="less").pvalue
    return p
