"""From features to scores: every metric at every logged count, with what real images read beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.errors import DiffevalError, StoppedError
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
        floor: what held-out real images read, one row per score, with its interval.
        terms: of the largest count, named ``SCORE.TERM``.
    """

    scores: tuple[Score, ...]
    terms: Mapping[str, npt.NDArray[np.generic]]
    floor: tuple[Mapping[str, Param], ...] = ()


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
    floor: list[Mapping[str, Param]] = []
    for name in metrics:
        real = () if held_out is None else _estimates(name, held_out, reference, True)
        nulls = _nulls(real, 0 if held_out is None else len(held_out))
        floor += [_floor_row(estimate, len(held_out)) for estimate in real if held_out is not None]
        for count in counts:
            estimates = _estimates(name, generated.first(count), reference, independent)
            scores += [_score(estimate, count, nulls.get(estimate.name), params) for estimate in estimates]
            if count == counts[-1]:
                terms |= {f"{one.name}.{term}": array for one in estimates for term, array in one.terms.items()}
            reporter.advance(1)
            if reporter.stop_requested:
                raise StoppedError("scoring: stopped; all images are there, run the same command to continue")
    return Scoring(tuple(scores), terms, tuple(floor))


def _estimates(name: str, generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    metric = METRICS[name]
    if len(generated) < metric.needs(generated.dim):
        return refused(metric, len(generated), generated.dim)
    try:
        return metric.compute(generated, reference, independent)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        reason = f"{type(error).__name__}: {error}"
        return tuple(Estimate(one, None, higher_is_better=False, params={"error": reason}) for one in metric.scores)


def _nulls(real: Sequence[Estimate], n: int) -> dict[str, Null]:
    """What stands beside a score: only where another n makes no difference, so that bias is not taken for quality."""
    return {
        estimate.name: Null(estimate.value, estimate.std_error, n)
        for estimate in real
        if estimate.value is not None and estimate.comparable_across_n
    }


def _floor_row(estimate: Estimate, n: int) -> Mapping[str, Param]:
    """Held-out real images are always independent of the reference, so both sides are debiased, and counted."""
    low, high = estimate.ci95 or (None, None)
    return {
        "score": estimate.name,
        "n": n,
        "value": estimate.value,
        "std_error": estimate.std_error,
        "low": low,
        "high": high,
    }


def _score(estimate: Estimate, n: int, null: Null | None, params: Mapping[str, Param]) -> Score:
    if estimate.value is not None and not np.isfinite([estimate.value, estimate.std_error or 0.0]).all():
        reason = f"the result is not finite ({estimate.value}, error {estimate.std_error})"
        return Score(estimate.name, None, None, None, n, null, estimate.higher_is_better, {**params, "error": reason})
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
