"""The wiring: a checkpoint and settings become a run."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.data.source import OpenOptions
from diffeval.features.extractor import UNFITTED, Extractor
from diffeval.harvest import Harvest, open_harvest, reap, timed
from diffeval.job import (
    Job,
    beginning,
    finished,
    holding,
    holds_more,
    open_job,
    provenance_of,
    warnings_of,
    with_images,
)
from diffeval.measured import (
    Extracting,
    Measured,
    Real,
    open_measured,
    open_reference,
    plan_extractor,
    settle,
)
from diffeval.metrics.metric import METRICS, FeatureSet
from diffeval.per_class import read_classes, worst_sentence
from diffeval.plan import ImageMaker, SamplingPlan, Settings, plan_images, protocol_of
from diffeval.precision import make_target, next_count
from diffeval.progress import Reporter, SilentReporter
from diffeval.ready import ReadyImages, Shown
from diffeval.real import RealImages, real_images
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Keep, Param, Results
from diffeval.scoring import Choices, Scoring, first_estimate, log_counts, score_counts
from diffeval.suite import choose

USUAL_N = 5000


def evaluate(
    checkpoint: Measured | str | Path,
    *,
    metrics: Sequence[str] | None = None,
    settings: Settings | None = None,
    at: Sequence[int] | None = None,
    precision: float | None = None,
    max_n: int | None = None,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    out: Path | None = None,
    keep: Keep = "features",
    fresh: bool = False,
    task: str = "eval",
    reporter: Reporter | None = None,
) -> Results:
    """Samples a checkpoint and scores the images against a reference; the run lies in ``results.run``.

    The same call continues a run that was stopped, returns one that is finished, and extends one to a larger n.

    Args:
        checkpoint: a Checkpoint, or what ``load`` takes; or ready-made images, ``images:DIR``.
        metrics: names of scores, or of metrics; the first decides how many images are needed. By default the
            standard suite, of which what cannot be computed is left out with a warning.
        settings: how to sample; by default 5,000 images as the checkpoint declares, or all ready-made ones.
        at: sample counts to log; by default the usual ones up to n.
        precision: go on from ``settings.n`` images until the first metric's 95% interval is no wider than plus or
            minus this share of its value; whether that was reached, the score's ``params["precision"]`` says.
        max_n: the most images that ``precision`` may take; by default 50,000.
        ref: the reference, images or statistics; by default the data that the checkpoint was trained on.
        extracting: how features are made; by default as the data calls for.
        opening: how images on disk are opened.
        out: the run directory; by default named after checkpoint, task, seed and protocol, under ``runs/``.
        keep: what stays on disk beside the results.
        fresh: start anew, whatever the directory holds.
        task: recorded with the run.
        reporter: hears of progress and warnings, and can ask to stop.

    Raises:
        DiffevalError: for whatever the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    reporter = reporter or SilentReporter()
    suite = choose(metrics)
    measured = open_measured(checkpoint, opening=opening)
    settings = settings or Settings(n=usual_n(measured))
    n, target = settings.n, make_target(precision, max_n, settings.n)

    def counts(n: int, dim: int) -> tuple[int, ...]:
        """Until the precision is reached, only the counts that were reached can be logged."""
        return log_counts(n, at, dim, suite, bounded=target is None, most=available(measured))

    enough = None if target is not None else lambda dim: counts(n, dim)
    known = prepare(measured, settings, ref, extracting, opening, reporter, enough)
    plan, used, reference = known.plan, known.extractor, known.reference
    if target is not None:
        least = min(METRICS[suite.metrics[0]].needs(used.dim), target.max_n)
        settings = dataclasses.replace(settings, n=max(settings.n, least))

    counts(settings.n, used.dim)
    protocol = protocol_of(task, plan.generator, extractor=used, reference=reference)
    job = open_job(measured, settings, plan, protocol, out, fresh, reporter)
    with holding(job.run):
        if target is not None:
            job = beginning(job, target)
        choices = Choices(suite, keep, target)
        found = finished(job, counts(job.settings.n, used.dim), choices.recorded())
        if found is not None:
            reporter.note(
                f"{job.run.path} is finished; its results are shown, nothing was computed (--fresh recomputes)"
            )
            return found
        harvest = open_harvest(job.run, job.state.chunk, used, keep_images=keep == "images")
        _sample(job, harvest, used, reporter)
        real = real_images(measured, reference, used, reporter)
        real = dataclasses.replace(real, warnings=(*known.warnings, *real.warnings))
        while target is not None:
            estimate = first_estimate(suite.metrics[0], _generated(job, harvest, used), real)
            more = next_count(target, estimate, job.settings.n, job.state.chunk)
            if more is None:
                break
            reporter.note(f"{job.settings.n} images do not give ±{100 * target.precision:g}%; going on to {more}")
            job = with_images(job, more)
            _sample(job, harvest, used, reporter)
        return _score_and_save(job, harvest, real, used, counts(job.settings.n, used.dim), choices, reporter)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a score needs, opened and held against each other.

    Attributes:
        plan: how the images come about.
        extractor: makes the features.
        reference: images or moments.
        warnings: what a reader must know of it.
    """

    plan: SamplingPlan
    extractor: Extractor
    reference: Real
    warnings: tuple[str, ...]


def prepare(
    measured: Measured,
    settings: Settings,
    ref: str | None,
    extracting: Extracting | None,
    opening: OpenOptions | None,
    reporter: Reporter,
    enough: Callable[[int], object] | None = None,
    *,
    fit: bool = True,
) -> Prepared:
    """Opens the reference and the extractor, cheap things first.

    Args:
        measured: what is measured.
        settings: how it is sampled.
        ref: the reference, or None for the checkpoint's own.
        extracting: how features are made.
        opening: how images on disk are opened.
        reporter: hears of progress.
        enough: refuses a dimension of the features for which there are too few images.
        fit: whether an extractor may be trained; if not, it is given as far as it is known before (``UNFITTED``).

    Raises:
        DiffevalError: if something is missing, or two things do not fit each other.
    """
    plan = plan_images(measured, settings)
    opened = open_reference(measured, ref, opening)

    def check(extractor: Extractor) -> None:
        settle(measured, opened, extractor)
        if enough is not None:
            enough(extractor.dim)
        if not fit and extractor.id.endswith(UNFITTED):
            raise _Unfitted(extractor)

    try:
        extractor = plan_extractor(opened, extracting or Extracting(), plan.generator.device, reporter, check)
    except _Unfitted as stopped:
        extractor = stopped.draft
    reference, warnings = settle(measured, opened, extractor)
    return Prepared(plan, extractor, reference, warnings)


class _Unfitted(Exception):  # noqa: N818  # no error: it leads out of a factory that would go on to train
    """An extractor that would have to be trained."""

    def __init__(self, draft: Extractor) -> None:
        super().__init__(draft.id)
        self.draft = draft


def available(measured: Measured) -> int | None:
    """How many images there are; None where they are sampled, without end."""
    return len(measured.source) if isinstance(measured, ReadyImages) else None


def usual_n(measured: Measured) -> int:
    """Images where the user names no number."""
    return len(measured.source) if isinstance(measured, ReadyImages) else USUAL_N


def sample(
    checkpoint: Measured | str | Path,
    *,
    settings: Settings,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> tuple[RunDirectory, Harvest]:
    """Samples images and nothing else; they lie by chunk in the run's ``images/``. See ``evaluate``."""
    reporter = reporter or SilentReporter()
    measured = open_measured(checkpoint)
    plan = plan_images(measured, settings)
    protocol = protocol_of("sample", plan.generator)
    job = open_job(measured, settings, plan, protocol, out, fresh, reporter)
    with holding(job.run):
        harvest = open_harvest(job.run, job.state.chunk, None, keep_images=True)
        batch = _sample(job, harvest, None, reporter)
        if holds_more(job) is None:
            origin = provenance_of(job, batch)
            job.run.save_results(Results(str(job.run.path), protocol, origin, warnings=warnings_of(job, reporter)))
        job.run.update(status="done")
        return job.run, harvest


def _sample(job: Job, harvest: Harvest, extractor: Extractor | None, reporter: Reporter) -> int:
    started = time.monotonic()
    largest = max(job.settings.n, job.state.n)
    job.run.update(status="running", n=largest)
    try:
        return reap(job.run, harvest, job.plan.generator, extractor, job.settings.n, job.plan.batch, reporter)
    finally:
        timed(job.run, "sampling", started)


def _generated(job: Job, harvest: Harvest, extractor: Extractor) -> FeatureSet:
    """Features, logits and labels of the run's images."""
    assert harvest.features is not None, "an evaluation extracts features"
    n = job.settings.n
    held = {name: harvest.features.gather(name, n).astype(np.float64) for name in harvest.features.names}
    labels = job.plan.generator.labels(range(n))
    classes = () if labels is None else job.checkpoint.classes
    return FeatureSet(
        held["features"], labels, held.get("logits"), classes, extractor.classes, extractor.name, held["appearance"]
    )


def _score_and_save(
    job: Job,
    harvest: Harvest,
    real: RealImages,
    extractor: Extractor,
    counts: Sequence[int],
    choices: Choices,
    reporter: Reporter,
) -> Results:
    started = time.monotonic()
    generated = _generated(job, harvest, extractor)
    scoring = score_counts(generated, real, counts, choices, params=_params(job, real), reporter=reporter)
    timed(job.run, "scoring", started)
    state = job.run.state()
    assert state is not None, "the run was opened"
    tables = {**scoring.tables, "extractor": (_extractor_row(extractor),)}
    readings = read_classes(generated, real.reference, real.independent) if choices.suite.by_class else ()
    if readings:
        tables["per_class"] = tuple(one.row() for one in readings)
    worst = worst_sentence(readings)
    if "raises_fid" in tables:
        tables["raises_fid"] = _named(tables["raises_fid"], job.plan.generator)
    results = Results(
        run=str(job.run.path),
        protocol=job.protocol,
        provenance=provenance_of(job, state.batch),
        scores=scoring.scores,
        tables=tables,
        choices=choices.recorded(),
        warnings=tuple(
            dict.fromkeys(
                (*warnings_of(job, reporter), *real.warnings, *scoring.warnings, *((worst,) if worst else ()))
            )
        ),
    )
    _save(job, results, scoring, choices.keep, generated.labels, reporter)
    return results


def _save(
    job: Job,
    results: Results,
    scoring: Scoring,
    keep: Keep,
    labels: npt.NDArray[np.int64] | None,
    reporter: Reporter,
) -> None:
    """Writes the results, unless the run holds those of more images: these stay the run's own."""
    held = holds_more(job)
    if held is not None:
        reporter.note(f"the run holds {held} images; the first {job.settings.n} are shown, and not stored")
        job.run.update(status="done", n=held)
        return
    terms = dict(scoring.terms) if labels is None else {**scoring.terms, "labels": labels}
    job.run.save_arrays("terms", terms)
    job.run.save_results(results)
    job.run.discard(images=keep != "images", features=keep == "none")
    # What the scores were warned of belongs to this count, not to the run.
    job.run.update(status="done", n=job.settings.n, warnings=warnings_of(job, reporter))


def _named(rows: Sequence[Mapping[str, Param]], maker: ImageMaker) -> tuple[Mapping[str, Param], ...]:
    """Rows about single images with where these lie, if they are ready-made."""
    if not isinstance(maker, Shown):
        return tuple(rows)
    return tuple({"image": maker.name(int(str(row["index"]))), **row} for row in rows)


def _extractor_row(extractor: Extractor) -> Mapping[str, Param]:
    return {
        "extractor": extractor.name,
        "id": extractor.id,
        "layer": extractor.layer or None,
        "dimensions": extractor.dim,
        "resize": extractor.resize,
        "normalisation": extractor.normalisation or None,
        "notes": "; ".join(extractor.notes) or None,
    }


def _params(job: Job, real: RealImages) -> Mapping[str, Param]:
    return {
        "w": job.protocol.w,
        "sampler": job.protocol.sampler,
        "steps": job.protocol.steps,
        "extractor": real.extractor,
        "reference": real.spec,
    }
