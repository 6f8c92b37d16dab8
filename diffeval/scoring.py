"""From features to scores: every metric at every logged count, with what real images read beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.errors import DiffevalError
from diffeval.metrics.metric import METRICS, Estimate, FeatureSet, refused
from diffeval.progress import Reporter
from diffeval.registry import did_you_mean
from diffeval.runs.records import Null, Param, Score

# Counts that are logged where the user names none, up to n, and n itself.
COUNTS = (250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000)


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores, and the arrays that a paired comparison needs.

    Attributes:
        scores: in the order of metric and count.
        terms: of the largest count, named ``SCORE.TERM``.
    """

    scores: tuple[Score, ...]
    terms: Mapping[str, npt.NDArray[np.generic]]


def check_metrics(names: Sequence[str]) -> None:
    """Refuses unknown metric names."""
    for name in names:
        if name not in METRICS:
            raise DiffevalError(f"unknown metric {name!r};{did_you_mean(name, METRICS)}")


def log_counts(n: int, at: Sequence[int] | None, dim: int, metrics: Sequence[str]) -> tuple[int, ...]:
    """The sample counts at which scores are logged.

    Args:
        n: images of the run.
        at: counts that the user asks for, or None for the default ones.
        dim: of the features.
        metrics: that will be computed.

    Raises:
        DiffevalError: if a count lies outside 1 to n, or no count suffices for the first metric.
    """
    first = metrics[0]
    needed = METRICS[first].needs(dim)
    if at is None:
        counts = sorted({count for count in (*COUNTS, n) if needed <= count <= n})
    else:
        counts = sorted(set(at))
        wrong = [count for count in counts if not 1 <= count <= n]
        if wrong:
            raise DiffevalError(f"{first}: --at {wrong[0]} is not between 1 and the {n} images; raise --n")
    if not counts or counts[-1] < needed:
        most = counts[-1] if counts else n
        raise DiffevalError(
            f"{first}: {most} images, needs at least {needed} (the extractor has {dim} dimensions); "
            f"use --n {needed} or more"
        )
    return tuple(counts)


def score_counts(
    generated: FeatureSet,
    reference: FeatureSet,
    counts: Sequence[int],
    metrics: Sequence[str],
    *,
    independent: bool,
    held_out: FeatureSet | None,
    params: Mapping[str, Param],
    reporter: Reporter,
) -> Scoring:
    """Computes every metric at every count.

    Args:
        generated: all images of the run.
        reference: the reference.
        counts: ascending.
        metrics: names.
        independent: see ``Metric.compute``.
        held_out: real images of the reference's population that are not in it; their scores become the null.
        params: recorded with every score: w, sampler, steps, extractor.
        reporter: told of the progress.
    """
    reporter.stage("scoring", len(counts) * len(metrics), "scores")
    scores: list[Score] = []
    terms: dict[str, npt.NDArray[np.generic]] = {}
    for name in metrics:
        nulls = _nulls(name, held_out, reference)
        for count in counts:
            estimates = _estimates(name, generated.first(count), reference, independent)
            scores += [_score(estimate, count, nulls.get(estimate.name), params) for estimate in estimates]
            if count == counts[-1]:
                terms |= {f"{one.name}.{term}": array for one in estimates for term, array in one.terms.items()}
            reporter.advance(1)
    return Scoring(tuple(scores), terms)


def _estimates(name: str, generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    metric = METRICS[name]
    if len(generated) < metric.needs(generated.dim):
        return refused(metric, len(generated), generated.dim)
    return metric.compute(generated, reference, independent)


def _nulls(name: str, held_out: FeatureSet | None, reference: FeatureSet) -> dict[str, Null]:
    """What the metric reads for real images; held-out ones are always independent of the reference."""
    if held_out is None:
        return {}
    return {
        estimate.name: Null(estimate.value, estimate.std_error, len(held_out))
        for estimate in _estimates(name, held_out, reference, True)
        if estimate.value is not None
    }


def _score(estimate: Estimate, n: int, null: Null | None, params: Mapping[str, Param]) -> Score:
    return Score(
        name=estimate.name,
        value=estimate.value,
        std_error=estimate.std_error,
        ci95=estimate.ci95,
        n=n,
        null=null,
        higher_is_better=estimate.higher_is_better,
        params={**params, **estimate.params},
    )
