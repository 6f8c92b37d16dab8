"""From features to scores: every metric at every logged count, with what real images read beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from diffeval.errors import DiffevalError, StoppedError
from diffeval.metrics.metric import METRICS, Estimate, FeatureSet, LackingError, Metric
from diffeval.precision import QUOTED, Target, reached
from diffeval.progress import SHARE, Reporter
from diffeval.real import RealImages
from diffeval.runs.records import Keep, Null, Param, Score
from diffeval.suite import Suite

# Counts that are logged where the user names none, up to n, and n itself.
COUNTS = (250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000)
# Rows of the table of images that raise FID most.
WORST = 20
# In how many parts the time of scoring is told.
PARTS = 1000
# Pairs of images that a metric counts for at least: it takes some time however few there are.
LEAST_PAIRS = 10**6

# What a metric takes at a count, or with held-out images (None), relative to the others.
Weights = Mapping[tuple[str, int | None], float]


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores, and the arrays that a paired comparison needs.

    Attributes:
        scores: in the order of metric and count.
        tables: ``floor``, what held-out real images read, one row per score; ``raises_fid``, the images that do most;
            what metrics bring of the largest count.
        terms: of the largest count, named ``SCORE.TERM``.
        warnings: of the largest count.
    """

    scores: tuple[Score, ...]
    terms: Mapping[str, npt.NDArray[np.generic]]
    tables: Mapping[str, tuple[Mapping[str, Param], ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user wanted of a run beyond its protocol; recorded with it.

    Attributes:
        suite: the metrics, and which of their scores are shown.
        keep: what stays on disk.
        target: the precision to reach, or None.
    """

    suite: Suite
    keep: Keep
    target: Target | None

    def recorded(self) -> Mapping[str, Param]:
        """As the results hold it."""
        chosen: dict[str, Param] = {"metrics": ",".join(sorted(self.suite.shown)), "keep": self.keep}
        for metric, options in self.suite.options.items():
            chosen |= {f"{metric}.{name}": value for name, value in options.items()}
        if self.target is not None:
            chosen |= {"precision": self.target.precision, "max_n": self.target.max_n}
        return chosen


def log_counts(
    n: int,
    at: Sequence[int] | None,
    dim: int,
    suite: Suite,
    *,
    bounded: bool = True,
    most: int | None = None,
) -> tuple[int, ...]:
    """The sample counts at which scores are logged.

    Args:
        n: images of the run.
        at: counts that the user asks for, or None for the default ones.
        dim: of the features.
        suite: what will be computed.
        bounded: whether a count above n is an error; otherwise it is left out, and n itself is logged.
        most: how many images there can be; None without end.

    Raises:
        DiffevalError: if a count lies outside 1 to n, or no count suffices.
    """
    first, needed = suite.metrics[0], suite.needs(dim)
    if at is None:
        counts = sorted({count for count in (*COUNTS, n) if needed <= count <= n})
    elif bounded:
        counts = sorted(set(at))
        wrong = [count for count in counts if not 1 <= count <= n]
        if wrong:
            raise DiffevalError(f"{first}: --at {wrong[0]} is not between 1 and the {n} images; raise --n")
    else:
        counts = sorted({count for count in (*at, n) if count <= n})
    if not counts or counts[-1] < needed:
        held = counts[-1] if counts else n
        remedy = f"use --n {needed} or more"
        if most is not None and most < needed:
            fewer = ", an extractor with fewer dimensions, or diffeval eval --metrics kid"
            remedy = "give more images" + (fewer if suite.needs(1) < needed else "")
        raise DiffevalError(
            f"{first}: {held} images, needs at least {needed} (the extractor has {dim} dimensions); {remedy}"
        )
    return tuple(counts)


def first_estimate(metric: str, generated: FeatureSet, real: RealImages) -> Estimate:
    """The estimate of a metric that can tell how many images a precision needs.

    Raises:
        DiffevalError: if none of its scores can.
    """
    for estimate in estimates_of(metric, generated, real.reference, real.independent, {}):
        if estimate.needed is not None:
            return estimate
    raise DiffevalError(f"{metric}: cannot tell how many images a precision needs; leave --precision out")


def score_counts(
    generated: FeatureSet,
    real: RealImages,
    counts: Sequence[int],
    choices: Choices,
    *,
    params: Mapping[str, Param],
    reporter: Reporter,
    weights: Weights | None = None,
) -> Scoring:
    """Computes every metric at every count.

    Args:
        generated: all images of the run.
        real: what they are measured against; the scores of its held-out images become the null,
            where a metric does not bring its own.
        counts: ascending.
        choices: the metrics, and the precision that n* is quoted for.
        params: recorded with every score: w, sampler, steps, extractor.
        reporter: told of the progress.
        weights: about what share of the time each part takes; by default as the pairs of images that it looks at.
    """
    suite = choices.suite
    progress = _Progress(reporter, weights or usual_weights(suite, counts, generated.dim, real))
    scores: list[Score] = []
    terms: dict[str, npt.NDArray[np.generic]] = {}
    floor: list[Mapping[str, Param]] = []
    tables: dict[str, tuple[Mapping[str, Param], ...]] = {}
    warnings: list[str] = []
    held_out = real.held_out
    for name in suite.metrics:
        options = suite.options.get(name, {})
        read = () if held_out is None else estimates_of(name, held_out, real.reference, True, options)
        progress.done(name, None)
        nulls = _nulls(read, 0 if held_out is None else len(held_out))
        known = [estimate for estimate in read if estimate.value is not None]
        floor += [_floor_row(estimate, len(held_out)) for estimate in known if held_out is not None]
        for count in counts_for(name, counts, generated.dim, suite):
            found = estimates_of(name, generated.first(count), real.reference, real.independent, options)
            progress.done(name, count)
            estimates = [one for one in found if one.name in suite.shown]
            if not suite.asked:
                warnings += [
                    f"{one.name} is left out: {one.params['error']}" for one in estimates if one.value is None
                ]
                estimates = [one for one in estimates if one.value is not None]
            for estimate in estimates:
                wanted = choices.target.precision if choices.target else QUOTED
                told = {**params, **_advice(estimate, wanted, METRICS[name].needs(generated.dim))}
                scores.append(_score(estimate, count, estimate.null or nulls.get(estimate.name), told))
            if count == counts[-1]:
                tables |= {table: rows for one in estimates for table, rows in one.tables.items()}
                terms |= {f"{one.name}.{term}": array for one in estimates for term, array in one.terms.items()}
                warnings += [said for estimate in estimates for said in estimate.warnings]
            if reporter.stop_requested:
                raise StoppedError("scoring: stopped; all images are there, run the same command to continue")
    tables |= {"floor": tuple(floor), "raises_fid": _worst(terms.get("fid.influence"), generated)}
    return Scoring(tuple(scores), terms, {name: rows for name, rows in tables.items() if rows}, tuple(warnings))


def usual_weights(suite: Suite, counts: Sequence[int], dim: int, real: RealImages) -> Weights:
    """By the pairs of images that metrics look at; what a metric computes once of the reference is its first part."""
    m, held_out = len(real.reference), 0 if real.held_out is None else len(real.held_out)
    found: dict[tuple[str, int | None], float] = {}
    for name in suite.metrics:
        found[name, None] = LEAST_PAIRS + m * m + held_out * (held_out + m)
        for count in counts_for(name, counts, dim, suite):
            found[name, count] = LEAST_PAIRS + count * (count + m)
    return found


class _Progress:
    """Tells a reporter how far scoring is: by what its parts take, as they are not alike."""

    def __init__(self, reporter: Reporter, weights: Weights) -> None:
        self._reporter, self._weights = reporter, weights
        self._sum, self._whole, self._told = 0.0, sum(weights.values()), 0
        reporter.stage("scoring", PARTS, SHARE)

    def done(self, name: str, count: int | None) -> None:
        """A metric is computed at a count, or of held-out images."""
        self._sum += self._weights.get((name, count), 0.0)
        parts = round(PARTS * self._sum / self._whole)
        self._reporter.advance(parts - self._told, name if count is None else f"{name} at n = {count}")
        self._told = parts


def counts_for(name: str, counts: Sequence[int], dim: int, suite: Suite) -> Sequence[int]:
    """The counts that suffice for a metric; the largest, where none does, so that it is refused by name."""
    if suite.asked:
        return counts
    return [count for count in counts if count >= METRICS[name].needs(dim)] or [counts[-1]]


def _worst(influence: npt.NDArray[np.generic] | None, generated: FeatureSet) -> tuple[Mapping[str, Param], ...]:
    """The images that raise FID most, worst first; any of them can be sampled again from the seed and its index."""
    if influence is None:
        return ()
    order = np.argsort(influence, kind="stable")[::-1][:WORST]
    labels = generated.labels
    return tuple(
        {
            "index": int(index),
            "label": None if labels is None else int(labels[index]),
            # What leaving it out takes from the plain value, to first order.
            "influence": float(influence[index]) / len(influence),
        }
        for index in order
    )


def _advice(estimate: Estimate, precision: float, least: int) -> Mapping[str, Param]:
    """How precisely a score is known, and n*, the images that a precision needs; not fewer than the metric does."""
    if estimate.needed is None:
        return {}
    n_star = estimate.needed(precision)
    return {
        "precision": reached(estimate),
        "n_star": None if n_star is None else max(n_star, least),
        "n_star_precision": precision,
    }


def estimates_of(
    name: str, generated: FeatureSet, reference: FeatureSet, independent: bool, options: Mapping[str, Param]
) -> tuple[Estimate, ...]:
    """What a metric says; where it cannot be computed, why."""
    metric: Metric = METRICS[name]
    needed = metric.needs(generated.dim)
    if len(generated) < needed:
        return metric.failed(
            f"{len(generated)} images, needs at least {needed} for {generated.dim}-dimensional features"
        )
    if not len(reference) and not metric.from_moments:
        return metric.failed(
            f"the reference holds moments alone, {name} needs its features (diffeval ref make --features)"
        )
    try:
        return metric.compute(generated, reference, independent, **options)
    except LackingError as error:
        return metric.failed(str(error))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return metric.failed(f"{type(error).__name__}: {error}")


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
        params={**params, **estimate.params, **({} if estimate.comparable_across_n else {"depends_on_n": True})},
    )
