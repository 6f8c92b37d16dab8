"""The error of a difference from the terms that two runs stored: paired where these belong together.

==============  =========================================================  =======================================
``pseudo``      jackknife pseudo-values by group of images, [G]            paired by seed and class
``term``        per image, the mean of which moves as the score does, [n]  paired by seed and class
``halves``      the score of random halves of both sides, the same in      paired by seed and class
                every run, [50]
``by_prompt``   jackknife pseudo-values by prompt, [P]                     paired by prompt, whatever the seeds
==============  =========================================================  =======================================

The difference of two scores has the differences of their terms for terms: what moves both alike is no part of its
error.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isclose, sqrt

import numpy as np
import numpy.typing as npt

from diffeval.compare.shares import Table
from diffeval.compare.side import Side
from diffeval.compare.uncertain import CONFIDENCE, Second, Uncertain
from diffeval.metrics.student import quantile
from diffeval.metrics.variance import DifferenceError, paired_error, terms_from, unpaired_error

Array = npt.NDArray[np.float64]
# Degrees of freedom from which on Student's t is the normal law.
MANY = 5000
# Where the terms of a score lie that has none of its own: plain FID errs as it does without its bias.
FRECHET = "fid_debiased"
TERMS_OF = {"fid": FRECHET}


def same_images(one: Side, other: Side) -> bool:
    """Whether image i of both comes from the same noise and class."""
    if not (one.sampled and other.sampled) or one.seed != other.seed:
        return False
    if one.results.provenance.n != other.results.provenance.n:
        return False
    left, right = one.arrays.get("labels"), other.arrays.get("labels")
    if left is None or right is None:
        return left is None and right is None
    return np.array_equal(left, right)


def same_prompts(one: Side, other: Side) -> bool:
    """Whether both were to follow the same prompts, in the same order."""
    prompts = one.results.protocol.prompts
    return prompts is not None and prompts == other.results.protocol.prompts


def paired(name: str, value: float, one: Side, other: Side) -> tuple[Uncertain, str] | None:
    """The difference with its paired error, and by what it is paired; None where nothing pairs.

    Args:
        name: of the score, at the largest count of both runs.
        value: of the first less that of the second.
        one: a run.
        other: another.
    """
    ours, theirs = (side.terms(TERMS_OF.get(name, name)) for side in (one, other))
    if name in TERMS_OF:  # it moves as the plain distance does
        ours.pop("moves", None)
    n = one.results.provenance.n
    if same_prompts(one, other) and _alike("by_prompt", ours, theirs):
        known = np.isfinite(ours["by_prompt"])
        moved = (ours["by_prompt"] - theirs["by_prompt"])[known]
        if np.array_equal(known, np.isfinite(theirs["by_prompt"])) and len(moved) > 1:
            return _usual(value, float(moved.std(ddof=1)) / sqrt(len(moved)), len(moved) - 1, n), "prompt"
    if not same_images(one, other):
        return None
    by = "seed" if one.arrays.get("labels") is None else "seed and class"
    if _alike("pseudo", ours, theirs):
        return _of(value, paired_error(terms_from(ours), terms_from(theirs)), n), by
    if _alike("term", ours, theirs) and not np.isnan([*ours["term"], *theirs["term"]]).any():
        return _of_terms(value, ours["term"], theirs["term"], one.arrays.get("labels")), by
    if _alike("halves", ours, theirs):
        moved = ours["halves"] - theirs["halves"]
        return _usual(value, float(moved.std(ddof=1)), len(moved) - 1, n), by
    return None


def unpaired(name: str, value: float, one: Side, other: Side) -> Uncertain | None:
    """The difference of distances from independent images; None where the score has no jackknife terms."""
    ours, theirs = (side.terms(TERMS_OF.get(name, name)) for side in (one, other))
    if TERMS_OF.get(name, name) != FRECHET or "pseudo" not in ours or "pseudo" not in theirs:
        return None  # other scores stored an interval of their own, which knows more
    error = unpaired_error(terms_from(ours), terms_from(theirs))
    found, own = _of(value, error, one.results.provenance.n), terms_from(theirs).variance()
    whole = error.variance + error.caution
    if not whole:
        return found
    squared = (own.pairs + own.caution) / whole
    return replace(
        found,
        squared=found.squared - squared,
        second=Second(other.results.provenance.n, (own.own + own.across) / whole, squared),
    )


def _alike(kind: str, ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> bool:
    return kind in ours and kind in theirs and ours[kind].shape == theirs[kind].shape


def _usual(value: float, error: float, freedom: int, n: int) -> Uncertain:
    return Uncertain(value, error, error, error, freedom if freedom < MANY else None, n)


def _of(value: float, error: DifferenceError, n: int) -> Uncertain:
    whole = error.variance + error.caution
    scale = sqrt(whole)
    return Uncertain(
        value,
        error.std_error,
        scale,
        scale,
        error.freedom if error.freedom < MANY else None,
        n,
        squared=(error.pairs + error.caution) / whole if whole else 0.0,
        fixed=error.reference / whole if whole else 0.0,
    )


def _of_terms(value: float, ours: Array, theirs: Array, labels: npt.NDArray[np.int64] | None) -> Uncertain:
    """Of the mean of differences of terms [n]; classes have fixed shares, so that what is within them counts."""
    moved = ours.astype(np.float64) - theirs.astype(np.float64)
    n, classes = len(moved), 1
    error = float(moved.std(ddof=1)) / sqrt(n)
    if labels is not None:
        _, places, sizes = np.unique(labels[:n], return_inverse=True, return_counts=True)
        if sizes.min() > 1:
            classes = len(sizes)
            means = np.bincount(places, moved) / sizes
            within = np.bincount(places, (moved - means[places]) ** 2) / (sizes - 1)
            error = sqrt(float((sizes * within).sum())) / n
    found = _usual(value, error, n - classes, n)
    shares = set(np.unique(np.concatenate([ours, theirs])).tolist()) <= {0.0, 1.0}
    if not shares or not isclose(value, float(moved.mean()), abs_tol=1e-6):
        return found
    # The error of shares depends on their difference, and few images differ: counts decide, whatever the classes.
    table = Table(n, int((moved > 0).sum()), int((moved < 0).sum()))
    reach = quantile(CONFIDENCE, None)
    below, above = (abs(table.bound(reach, upper=upper) - table.value) / reach for upper in (False, True))
    return Uncertain(value, error, below, above, None, n, table=table)
