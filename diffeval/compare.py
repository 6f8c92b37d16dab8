"""The difference between two runs, paired where they share seeds, labels and reference; reads runs only."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.metrics.variance import paired_error, terms_from, unpaired_error
from diffeval.runs.directory import RunDirectory
from diffeval.runs.protocol import differing_keys
from diffeval.runs.records import Results

# Two scores are distances to the same thing only where these agree.
SAME = ("extractor", "resize", "reference", "reference_hash", "labels")
Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A score of one run minus the same score of another.

    Attributes:
        score: its name.
        value: negative where the first run's is smaller.
        std_error: of ``value``; exactly 0 for identical runs.
        ci95: 95% confidence interval.
        paired: whether the images share seeds and labels, and the error counts what differs between them only.
        n: images of each run.
    """

    score: str
    value: float
    std_error: float
    ci95: tuple[float, float]
    paired: bool
    n: tuple[int, int]


def difference(one: Path | str, other: Path | str, score: str = "fid_debiased") -> Difference:
    """The difference between two runs at their largest counts.

    Paired where seed, count and labels agree: image i of both then comes from the same noise and class, and what moves
    both values alike drops out. Otherwise the images are taken for independent.

    Args:
        one: a run directory.
        other: another.
        score: one with stored jackknife terms, e.g. ``fid_debiased``.

    Raises:
        DiffevalError: if the runs are measured by different extractors or against different references.
        NoEvidenceError: if one of them lacks the score or its terms.
    """
    runs = [RunDirectory(Path(one)), RunDirectory(Path(other))]
    results = [_results(run) for run in runs]
    differing = differing_keys(results[0].protocol, results[1].protocol)
    for key in SAME:
        if key in differing:
            left, right = differing[key]
            raise DiffevalError(
                f"compare: {runs[0].path} has {key} {left}, {runs[1].path} has {right}; measure both alike"
            )
    values = [_value(run, result, score) for run, result in zip(runs, results, strict=True)]
    arrays = [_arrays(run, score) for run in runs]
    terms = [terms_from(_of_score(each, score)) for each in arrays]
    counts = results[0].score(score).n, results[1].score(score).n
    seeds = [result.provenance.seed for result in results]
    paired = seeds[0] == seeds[1] and counts[0] == counts[1] and _same_labels(*arrays)
    error = paired_error(*terms) if paired else unpaired_error(*terms)
    value = values[0] - values[1]
    interval = value - error.half_width, value + error.half_width
    return Difference(score, value, error.std_error, interval, paired, counts)


def _results(run: RunDirectory) -> Results:
    results = run.results()
    if results is None:
        raise NoEvidenceError(f"compare: {run.path} holds no results; finish it first")
    return results


def _value(run: RunDirectory, results: Results, name: str) -> float:
    found = [score for score in results.scores if score.name == name and score.value is not None]
    value = max(found, key=lambda score: score.n).value if found else None
    if value is None or not math.isfinite(value):
        raise NoEvidenceError(f"compare: {run.path} has no {name}; measure it with diffeval fid")
    return value


def _arrays(run: RunDirectory, name: str) -> Arrays:
    arrays = run.arrays("terms")
    if arrays is None or f"{name}.pseudo" not in arrays:
        raise NoEvidenceError(
            f"compare: {run.path} has no jackknife terms of {name}; run the command again with --fresh"
        )
    return dict(arrays)


def _of_score(arrays: Arrays, name: str) -> Arrays:
    start = f"{name}."
    return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}


def _same_labels(one: Arrays, other: Arrays) -> bool:
    left, right = one.get("labels"), other.get("labels")
    if left is None or right is None:
        return left is None and right is None
    return np.array_equal(left, right)
