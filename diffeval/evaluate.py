"""The wiring: a checkpoint and settings become a run."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from diffeval.data.source import OpenOptions
from diffeval.errors import DiffevalError
from diffeval.harvest import Harvest, open_harvest
from diffeval.job import (
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
from diffeval.metrics.metric import METRICS
from diffeval.outcome import score_and_save
from diffeval.outlook import Foretelling
from diffeval.plan import Settings, plan_images, protocol_of
from diffeval.precision import Target, make_target, next_count
from diffeval.prepared import Prepared, available, prepare, refuse_impossible, usual_n
from diffeval.pricing.features import reference_prices
from diffeval.pricing.scoring import Wanted as Priced
from diffeval.pricing.scoring import scoring_prices, sizes_of
from diffeval.progress import Reporter, SilentReporter
from diffeval.prompting import Prompting, embedded, given_prompts, with_real_prompts
from diffeval.ranks import end_part, here, in_turn, shard_folder
from diffeval.real import RealImages, real_images
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Keep, Param, Results
from diffeval.scoring import Choices, first_estimate, log_counts
from diffeval.suite import Suite, choose
from diffeval.work import begin, sample_images


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
    prompting: Prompting | None = None,
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
        prompting: the prompts that images were to follow, where a metric reads them; by default the names of the
            classes.
        out: the run directory; by default named after checkpoint, task, seed and protocol, under ``runs/``.
        keep: what stays on disk beside the results.
        fresh: start anew, whatever the directory holds.
        task: recorded with the run.
        reporter: hears of progress and warnings, and can ask to stop.

    Raises:
        DiffevalError: for whatever the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
        PartDone: where this process makes a part of the images, and what comes next is for others.
    """
    reporter = reporter or SilentReporter()
    measured = given_prompts(open_measured(checkpoint, opening=opening), prompting)
    settings = settings or Settings(n=usual_n(measured))
    if settings.shard is not None and precision is not None:
        raise DiffevalError("--shard: --precision finds its n as it goes, which parts apart cannot; leave one out")
    wanted = Wanted(
        choose(metrics).configured(options or {}),
        at,
        make_target(precision, max_n, settings.n),
        None if out is None else shard_folder(out, settings.shard),
        keep,
        fresh,
        task,
    )
    n = settings.n
    enough = None if wanted.target is not None else lambda dim: wanted.counts(n, dim, available(measured))
    with in_turn(reporter):
        known = prepare(
            measured, settings, ref, extracting, opening, reporter, enough, suite=wanted.suite, prompting=prompting
        )
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
        PartDone: see ``evaluate``.
    """
    used, target = known.extractor, wanted.target
    if target is not None:
        least = min(METRICS[wanted.suite.metrics[0]].needs(used.dim), target.max_n)
        settings = dataclasses.replace(settings, n=max(settings.n, least))
    most = available(measured)
    wanted.counts(settings.n, used.dim, most)
    protocol = protocol_of(
        wanted.task, known.plan.generator, extractor=used, reference=known.reference, asked=known.asked
    )
    job = open_job(measured, settings, known.plan, protocol, wanted.out, wanted.fresh, reporter)
    first = here().first
    with holding(job.run):
        if target is not None:
            job = with_images(job, here().tell(beginning(job, target).settings.n, reporter))
        choices = Choices(wanted.suite, wanted.keep, target)
        found = finished(job, wanted.counts(job.settings.n, used.dim, most), choices.recorded()) if first else None
        if here().tell(found is not None, reporter):
            end_part(job.run.path, None)
        if found is not None:
            reporter.note(
                f"{job.run.path} is finished; its results are shown, nothing was computed (--fresh recomputes)"
            )
            return found
        texts = None if known.asked is None or not first else embedded(known.asked, reporter)
        telling = reporter
        if first and settings.shard is None:
            counts = wanted.counts(job.settings.n, used.dim, most)
            telling = Foretelling(reporter, partial(_later, measured, known, wanted, counts, real), used.dim)
        work = begin(job, known, texts, telling, keep_images=wanted.keep == "images")
        work.sample()
        if target is None:
            end_part(job.run.path, settings.shard)
        if first:
            real = real or real_images(measured, known.reference, used, reporter)
            if known.asked is not None and texts is not None:
                real = with_real_prompts(real, known.reference, measured.classes, known.asked, texts, reporter)
            real = dataclasses.replace(real, warnings=(*known.warnings, *real.warnings))
        while target is not None:
            more = None
            if real is not None:
                estimate = first_estimate(wanted.suite.metrics[0], work.generated, real)
                more = next_count(target, estimate, job.settings.n, job.state.chunk)
            more = here().tell(more, reporter)
            if more is None:
                end_part(job.run.path, None)
                break
            reporter.note(f"{job.settings.n} images do not give ±{100 * target.precision:g}%; going on to {more}")
            job = with_images(job, more)
            work = dataclasses.replace(work, job=job)
            work.sample()
        assert real is not None, "the other ranks have ended their part"
        return score_and_save(work, real, wanted.counts(job.settings.n, used.dim, most), choices)


def _later(
    measured: Measured, known: Prepared, wanted: Wanted, counts: tuple[int, ...], real: RealImages | None
) -> Mapping[str, float]:
    """About the seconds of what comes after a run's images, by stage."""
    suite, used = wanted.suite, known.extractor
    prices = [] if real is not None else reference_prices(known, used)
    prices += scoring_prices(known, used, Priced(suite, counts), sizes_of(measured, known, counts[-1]))
    # As the stage is called once it begins.
    names = {} if known.reference is None else {"reference": f"features of {known.reference.spec}"}
    return {names.get(one.stage, one.stage): one.seconds for one in prices}


def sample_prepared(
    measured: Measured, settings: Settings, known: Prepared, wanted: Wanted, reporter: Reporter
) -> None:
    """Makes the images of a run and their features, and scores nothing: what ranks, and shards, do of several runs.

    Raises:
        DiffevalError: for whatever the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    used = known.extractor
    protocol = protocol_of(
        wanted.task, known.plan.generator, extractor=used, reference=known.reference, asked=known.asked
    )
    job = open_job(measured, settings, known.plan, protocol, wanted.out, wanted.fresh, reporter)
    with holding(job.run):
        counts = wanted.counts(settings.n, used.dim, available(measured))
        recorded = Choices(wanted.suite, wanted.keep, wanted.target).recorded()
        found = finished(job, counts, recorded) if here().first else None
        if not here().tell(found is not None, reporter):
            begin(job, known, None, reporter, keep_images=wanted.keep == "images").sample()
            job.run.update(status="stopped" if settings.shard is None else "done")


def sample(
    checkpoint: Measured | str | Path,
    *,
    settings: Settings,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> tuple[RunDirectory, Harvest]:
    """Samples images and nothing else; they lie by chunk in the run's ``images/``. See ``evaluate``."""
    reporter = reporter or SilentReporter()
    measured = given_prompts(open_measured(checkpoint), prompting)
    plan = plan_images(measured, settings)
    protocol = protocol_of("sample", plan.generator)
    folder = None if out is None else shard_folder(out, settings.shard)
    job = open_job(measured, settings, plan, protocol, folder, fresh, reporter)
    with holding(job.run):
        harvest = open_harvest(job.run, job.state.chunk, None, keep_images=True)
        batch = sample_images(job, harvest, reporter, None)
        end_part(job.run.path, settings.shard)
        if holds_more(job) is None:
            origin = provenance_of(job, batch)
            job.run.save_results(Results(str(job.run.path), protocol, origin, warnings=warnings_of(job, reporter)))
        job.run.update(status="done")
        return job.run, harvest
