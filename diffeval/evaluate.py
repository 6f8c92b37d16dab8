"""The wiring: a checkpoint and settings become a run."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.data.source import ImageSource, OpenOptions
from diffeval.diffusion.sampling import Generator
from diffeval.features.extractor import Extractor
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
    open_measured,
)
from diffeval.metrics.metric import METRICS, FeatureSet
from diffeval.mode_pictures import PICTURES, mode_pictures
from diffeval.per_class import read_classes, worst_sentence
from diffeval.plan import ImageMaker, SamplingPlan, Settings, plan_images, protocol_of
from diffeval.precision import Target, make_target, next_count
from diffeval.prepared import Prepared, available, prepare, refuse_impossible, usual_n
from diffeval.progress import Reporter, SilentReporter
from diffeval.ready import Shown
from diffeval.real import RealImages, real_images
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Keep, Param, Results
from diffeval.scoring import Choices, Scoring, first_estimate, log_counts, score_counts
from diffeval.suite import Suite, choose


def evaluate(
    checkpoint: Measured | str | Path,
    *,
    metrics: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Param]] | None = None,
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
        options: of metrics, by their names, e.g. ``{"mode_coverage": {"modes": "clusters"}}``.
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
    measured = open_measured(checkpoint, opening=opening)
    settings = settings or Settings(n=usual_n(measured))
    wanted = Wanted(
        choose(metrics).configured(options or {}),
        at,
        make_target(precision, max_n, settings.n),
        out,
        keep,
        fresh,
        task,
    )
    n = settings.n
    enough = None if wanted.target is not None else lambda dim: wanted.counts(n, dim, available(measured))
    known = prepare(measured, settings, ref, extracting, opening, reporter, enough)
    refuse_impossible(wanted.suite, known)
    return evaluate_prepared(measured, settings, known, wanted, reporter)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is computed, and where it goes; see ``evaluate``.

    Attributes:
        suite: the metrics.
        at: counts to log, None for the usual ones.
        target: the precision to reach, or None.
        out: the run directory, None for the usual one.
        keep: what stays on disk.
        fresh: start anew.
        task: recorded with the run.
    """

    suite: Suite
    at: Sequence[int] | None = None
    target: Target | None = None
    out: Path | None = None
    keep: Keep = "features"
    fresh: bool = False
    task: str = "eval"

    def counts(self, n: int, dim: int, most: int | None) -> tuple[int, ...]:
        """Until the precision is reached, only the counts that were reached can be logged."""
        return log_counts(n, self.at, dim, self.suite, bounded=self.target is None, most=most)


def evaluate_prepared(
    measured: Measured,
    settings: Settings,
    known: Prepared,
    wanted: Wanted,
    reporter: Reporter,
    real: RealImages | None = None,
) -> Results:
    """One run of what ``prepare`` has opened; runs that share their real images can share their features, too.

    Raises:
        DiffevalError: for whatever the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    used, target = known.extractor, wanted.target
    if target is not None:
        least = min(METRICS[wanted.suite.metrics[0]].needs(used.dim), target.max_n)
        settings = dataclasses.replace(settings, n=max(settings.n, least))
    most = available(measured)
    wanted.counts(settings.n, used.dim, most)
    protocol = protocol_of(wanted.task, known.plan.generator, extractor=used, reference=known.reference)
    job = open_job(measured, settings, known.plan, protocol, wanted.out, wanted.fresh, reporter)
    with holding(job.run):
        if target is not None:
            job = beginning(job, target)
        choices = Choices(wanted.suite, wanted.keep, target)
        found = finished(job, wanted.counts(job.settings.n, used.dim, most), choices.recorded())
        if found is not None:
            reporter.note(
                f"{job.run.path} is finished; its results are shown, nothing was computed (--fresh recomputes)"
            )
            return found
        harvest = open_harvest(job.run, job.state.chunk, used, keep_images=wanted.keep == "images")
        _sample(job, harvest, used, reporter)
        real = real or real_images(measured, known.reference, used, reporter)
        real = dataclasses.replace(real, warnings=(*known.warnings, *real.warnings))
        while target is not None:
            estimate = first_estimate(wanted.suite.metrics[0], _generated(job, harvest, used), real)
            more = next_count(target, estimate, job.settings.n, job.state.chunk)
            if more is None:
                break
            reporter.note(f"{job.settings.n} images do not give ±{100 * target.precision:g}%; going on to {more}")
            job = with_images(job, more)
            _sample(job, harvest, used, reporter)
        counts = wanted.counts(job.settings.n, used.dim, most)
        reference = known.reference if isinstance(known.reference, ImageSource) else None
        return _score_and_save(job, harvest, real, used, counts, choices, reference, reporter)


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
    """What a metric knows of the run's images."""
    return stored_images(harvest, job.checkpoint, job.plan, extractor, job.settings.n)


def stored_images(
    harvest: Harvest, measured: Measured, plan: SamplingPlan, extractor: Extractor, n: int
) -> FeatureSet:
    """Features, logits, appearance and labels of images 0 to n - 1, which lie in a run."""
    assert harvest.features is not None, "an evaluation extracts features"
    held = {name: harvest.features.gather(name, n).astype(np.float64) for name in harvest.features.names}
    labels = plan.generator.labels(range(n))
    return FeatureSet(
        held["features"],
        labels,
        held.get("logits"),
        () if labels is None else measured.classes,
        extractor.classes,
        extractor.name,
        held["appearance"],
        asked=isinstance(plan.generator, Generator),
    )


def _score_and_save(
    job: Job,
    harvest: Harvest,
    real: RealImages,
    extractor: Extractor,
    counts: Sequence[int],
    choices: Choices,
    reference: ImageSource | None,
    reporter: Reporter,
) -> Results:
    started = time.monotonic()
    generated = _generated(job, harvest, extractor)
    scoring = score_counts(generated, real, counts, choices, params=_params(job, real), reporter=reporter)
    timed(job.run, "scoring", started)
    state = job.run.state()
    assert state is not None, "the run was opened"
    tables = {**scoring.tables, "extractor": (_extractor_row(extractor),)}
    readings = (
        read_classes(generated, real.reference, real.held_out, real.independent) if choices.suite.classes else ()
    )
    if readings:
        tables["per_class"] = tuple(one.row() for one in readings)
    if reference is not None and "modes" in tables:
        job.run.save_arrays(PICTURES, mode_pictures(tables["modes"], scoring.terms, job.plan.generator, reference))
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
