"""The wiring of health checks: a checkpoint becomes a run of what they found."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.scheduler_config import SamplingScheduler, read_sampling_scheduler
from diffeval.checkpoints.text import with_prompts
from diffeval.checks.check import CHECKS, Finding, Row, Subject, look, ordered
from diffeval.checks.cost import PROBE, counting, forecast
from diffeval.checks.made_images import read_made
from diffeval.checks.without_network import look_at_images
from diffeval.data.prompts import Prompt
from diffeval.data.source import ImageSource, OpenOptions
from diffeval.describe import job_of
from diffeval.diffusion.batching import device_name
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError, StoppedError
from diffeval.harvest import timed
from diffeval.job import Job, holding, open_job, provenance_of, warnings_of
from diffeval.measured import Measured, open_measured, open_reference
from diffeval.plan import SamplingPlan, Settings, plan_images, protocol_of
from diffeval.prepared import available
from diffeval.pricing.run import start
from diffeval.pricing.stage import Plan, Price
from diffeval.progress import Reporter, SilentReporter
from diffeval.prompting import Prompting, given_prompts
from diffeval.ready import Shown
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import CheckResult, Param, Protocol, Results
from diffeval.training_log import OURS, read_training_log

# Seeds, and real images, that a check may spend.
USUAL_N = 64
TASK = "check"
# The table of what was spent.
COST = "cost"


def chosen(only: Sequence[str] | None) -> tuple[str, ...]:
    """The checks of these names, each once, causes before what they show in; all without names.

    Raises:
        DiffevalError: for an unknown name, with the nearest one, or where none is named.
    """
    for name in only or ():
        CHECKS[name]
    names = tuple(name for name in ordered() if only is None or name in only)
    if not names:
        raise DiffevalError("check: none is named; leave --only out for all")
    return names


def listing() -> list[tuple[str, str, str]]:
    """Every check: its name, what it reads, and what it looks at."""
    return [(name, _reads(CHECKS[name].reads), CHECKS[name].about) for name in CHECKS]


def _reads(reads: Sequence[str]) -> str:
    """What a user has to bring: the scan is made of the checkpoint and real images, a log stands alone."""
    needed = ("images" if one == "scan" else one for one in reads if one != "scheduler")
    brought = ["log"] if "log" in reads else ["checkpoint", *needed]
    return ", ".join(dict.fromkeys(brought))


def check(
    checkpoint: Measured | str | Path,
    *,
    only: Sequence[str] | None = None,
    settings: Settings | None = None,
    ref: str | None = None,
    training_log: Path | None = None,
    sampling_scheduler: Path | None = None,
    made: Path | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Results:
    """Looks a checkpoint over; ``results.checks`` holds what was found, of this call's checks.

    The run directory holds those of earlier calls, too, and what is there is not computed again.

    Args:
        checkpoint: a Checkpoint, or what ``load`` takes; or ready-made images, ``images:DIR``, of which only
            ``memorization`` can be told.
        only: names of checks; by default all.
        settings: how the checkpoint is sampled; n is the number of seeds, and of real images, to spend.
        ref: real images; by default the data that the checkpoint was trained on, if it can be opened.
        training_log: of its training; by default the one beside it, if ``diffeval train`` made it.
        sampling_scheduler: scheduler_config.json, or a folder with it, of the sampler that images are drawn with
            elsewhere; by default the one beside the weights. It is held against the training schedule.
        made: npz of images that another pipeline made of the checkpoint, with what they began with.
        opening: how images on disk are opened.
        prompting: prompts of a text-to-image checkpoint; without any it is looked at without text.
        out: the run directory; by default named after checkpoint, seed and protocol, under ``runs/``.
        fresh: start anew, whatever the directory holds.
        reporter: hears of progress.

    Raises:
        DiffevalError: for an unknown check, and whatever else the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    names = chosen(only)
    reporter = reporter or SilentReporter()
    settings = _enough(settings or Settings(n=USUAL_N))
    measured = _with_prompts(open_measured(checkpoint, opening=opening), prompting)
    settings = _affordable(measured, settings)
    _refuse(
        measured, ref, {"--training-log": training_log, "--sampling-scheduler": sampling_scheduler, "--made": made}
    )
    plan = plan_images(measured, settings)
    source = _images(measured, ref, opening, reporter)
    sampled_by = None if sampling_scheduler is None else read_sampling_scheduler(sampling_scheduler)
    protocol = _protocol(plan, source, sampled_by)
    offline = opening is not None and opening.offline
    log = _log(measured, training_log)
    others = None if made is None else read_made(made)
    job = open_job(measured, settings, plan, protocol, out, fresh, reporter)
    with holding(job.run), counting(_network(measured)) as cost:
        results = _held(job) or _none_yet(job)
        known = {one.name: one.status for one in results.checks}
        subject = None
        if isinstance(measured, Checkpoint):
            subject = Subject(
                measured, _generator(plan), settings.n, source, reporter, log=log, memory=job.run, known=known,
                sampled_by=sampled_by, offline=offline, made=others,
            )  # fmt: skip
        # A log is no part of the protocol, nor are made images: what was found in others does not count.
        new = {name for name, one in (("log", training_log), ("made", made)) if one is not None}
        held = {one.name for one in results.checks if not new & set(CHECKS[one.name].reads)}
        left = [name for name in names if name not in held]
        if not left:
            reporter.note(
                f"{job.run.path} holds these checks; they are shown, nothing was computed (--fresh recomputes)"
            )
        job.run.update(status="running", n=settings.n)
        if subject is not None and source is not None and any("scan" in CHECKS[name].reads for name in left):
            cost.spend(PROBE, partial(attrgetter("scan"), subject))
        for name in left:
            started = time.monotonic()
            looking = (
                partial(look, name, subject)
                if subject is not None
                else partial(look_at_images, name, _shown(plan), settings.n, source, reporter, offline=offline)
            )
            result, finding = cost.spend(name, looking)
            timed(job.run, name, started)
            results = _with(results, result, finding, job, reporter)
            results = dataclasses.replace(results, tables={**results.tables, COST: _merged(results, cost.rows)})
            # Pictures go first: what the results hold is not looked at again.
            _save_pictures(job.run, name, finding)
            job.run.save_results(results)
            if reporter.stop_requested and name != left[-1]:
                raise StoppedError(f"check: stopped after {name}; run the same command to continue")
        job.run.update(status="done")
    return dataclasses.replace(results, checks=tuple(_named(results, name) for name in names))


def describe(
    checkpoint: Measured | str | Path,
    *,
    only: Sequence[str] | None = None,
    settings: Settings | None = None,
    ref: str | None = None,
    sampling_scheduler: Path | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    begun: float | None = None,
) -> Plan:
    """What ``check`` would do, and about how long each stage takes here; see there.

    Args beside its own:
        begun: when the command was started, by ``time.time()``; None where it is none, and starting is not priced.
    """
    names, settings = chosen(only), _enough(settings or Settings(n=USUAL_N))
    measured = _with_prompts(open_measured(checkpoint, opening=opening), prompting)
    settings = _affordable(measured, settings)
    _refuse(measured, ref, {"--sampling-scheduler": sampling_scheduler})
    plan = plan_images(measured, settings)
    source = _images(measured, ref, opening, SilentReporter())
    sampled_by = None if sampling_scheduler is None else read_sampling_scheduler(sampling_scheduler)
    job = job_of(measured, settings, plan, _protocol(plan, source, sampled_by), out)
    known = None if fresh or job.state.protocol != job.protocol else _held(job)
    held = () if known is None else tuple(one.name for one in known.checks)
    left = [name for name in names if name not in held]
    lines = [
        f"checkpoint  {measured.name} {measured.sha256[:8]} ({measured.path})",
        f"images      {'none' if source is None else source.spec}",
        f"device      {device_name(plan.generator.device)}",
        *(f"check       {one}: {CHECKS[one].about}" for one in names),
        f"run         {job.run.path}",
    ]
    prices = start(begun)
    if isinstance(measured, Checkpoint):
        priced = forecast(Subject(measured, _generator(plan), settings.n, source), left)
        prices += [Price(one.spent_on, one.seconds, f"about {one.passes:,} forward passes") for one in priced]
    return Plan(tuple(lines), tuple(prices), held="" if left == list(names) else f"for the {len(left)} checks left")


def _with_prompts(measured: Measured, prompting: Prompting | None) -> Measured:
    """A text-to-image checkpoint with prompts; where there are none, with the empty one."""
    text = measured.text if isinstance(measured, Checkpoint) else None
    if isinstance(measured, Checkpoint) and text is not None and prompting is None and not text.prompts:
        return with_prompts(measured, (Prompt("0", ""),))
    return given_prompts(measured, prompting)


def _protocol(plan: SamplingPlan, source: ImageSource | None, sampled_by: SamplingScheduler | None) -> Protocol:
    """What the findings stand on."""
    protocol = protocol_of(TASK, plan.generator, reference=source)
    return protocol if sampled_by is None else dataclasses.replace(protocol, sampling_scheduler=sampled_by.id)


def _log(measured: Measured, given: Path | None) -> Sequence[Mapping[str, Any]]:
    """Rows of the log that the user names, or of the one that lies beside the checkpoint; empty without."""
    if given is not None:
        return read_training_log(given)
    beside = measured.path / OURS
    return read_training_log(beside) if beside.is_file() else ()


def _enough(settings: Settings) -> Settings:
    """The settings; a variance needs two seeds, and whoever reads weights needs them all."""
    if settings.offload:
        raise DiffevalError("check: reads the network's weights, which --offload moves about; leave --offload out")
    if settings.n < 2:
        raise DiffevalError(f"check: n is {settings.n}, needs at least 2; raise --n")
    return settings


def _affordable(measured: Measured, settings: Settings) -> Settings:
    """The settings, with no more images than there are where they are ready-made."""
    there = available(measured)
    return settings if there is None else dataclasses.replace(settings, n=min(settings.n, there))


def _refuse(measured: Measured, ref: str | None, given: Mapping[str, Path | None]) -> None:
    """Refuses ready-made images without what they are held against, and with what speaks of a network."""
    if isinstance(measured, Checkpoint):
        return
    begun = f"check: {measured.name} is ready-made images, without a network"
    named = [flag for flag, path in given.items() if path is not None]
    if named:
        raise DiffevalError(f"{begun}; leave {named[0]} out")
    if ref is None:
        raise DiffevalError(f"{begun}: they can be held against training images alone; give --ref, or a checkpoint")


def _network(measured: Measured) -> torch.nn.Module:
    """Whose forward passes are counted; none are made of ready-made images."""
    return measured.network if isinstance(measured, Checkpoint) else torch.nn.Identity()


def _shown(plan: SamplingPlan) -> Shown:
    assert isinstance(plan.generator, Shown), "ready-made images are shown"
    return plan.generator


def _generator(plan: SamplingPlan) -> Generator:
    assert isinstance(plan.generator, Generator), "a checkpoint is sampled"
    return plan.generator


def _images(
    measured: Measured, ref: str | None, opening: OpenOptions | None, reporter: Reporter
) -> ImageSource | None:
    """Real images; None where the checkpoint's own are not known or not here, and the user names none."""
    try:
        opened = open_reference(measured, ref, opening)
    except DiffevalError as error:
        if ref is not None:
            raise
        reporter.note(f"without real images: {error}")
        return None
    if opened.source is None:
        raise DiffevalError(f"check: --ref {opened.spec} holds moments; checks need images, e.g. folder:DIR")
    return opened.source


def _held(job: Job) -> Results | None:
    """What the run holds, if it stands on as many seeds."""
    held = job.run.readable_results()
    return held if held is not None and held.provenance.n == job.settings.n else None


def _none_yet(job: Job) -> Results:
    """Results without a check; pictures of another number of seeds go with their checks."""
    for path in job.run.path.glob("pictures_*.npz"):
        path.unlink()
    return Results(str(job.run.path), job.protocol, provenance_of(job, job.plan.batch))


def _named(results: Results, name: str) -> CheckResult:
    return next(one for one in results.checks if one.name == name)


def _with(results: Results, result: CheckResult, finding: Finding, job: Job, reporter: Reporter) -> Results:
    """The results with one check more, in the order of names."""
    kept = [one for one in results.checks if one.name != result.name]
    tables: dict[str, tuple[Mapping[str, Param], ...]] = {
        name: rows for name, rows in results.tables.items() if name.split(".")[0] != result.name
    }
    if finding.rows:
        tables[result.name] = finding.rows
    tables |= {f"{result.name}.{name}": rows for name, rows in finding.tables.items()}
    return dataclasses.replace(
        results,
        checks=tuple(sorted((*kept, result), key=lambda one: one.name)),
        tables=tables,
        provenance=provenance_of(job, job.plan.batch),
        warnings=warnings_of(job, reporter),
    )


def _merged(results: Results, rows: Sequence[Row]) -> tuple[Row, ...]:
    """What was spent, on what was looked at earlier, too."""
    spent = {str(row["spent_on"]): row for row in (*results.tables.get(COST, ()), *rows)}
    return tuple(spent.values())


def _save_pictures(run: RunDirectory, name: str, finding: Finding) -> None:
    if finding.pictures is None:
        (run.path / f"pictures_{name}.npz").unlink(missing_ok=True)
        return
    shown = finding.pictures
    run.save_arrays(
        f"pictures_{name}",
        {
            "images": shown.images,
            "rows": np.array(shown.rows),
            "columns": np.array(shown.columns),
            "sentence": np.array(shown.sentence),
        },
    )
