"""Sweeps as they are asked for: over guidance scales, or over any sampling settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import OpenOptions
from diffeval.describe import job_of, part_of
from diffeval.errors import DiffevalError
from diffeval.harvest import open_harvest
from diffeval.job import finished
from diffeval.measured import Extracting, open_measured
from diffeval.metrics.metric import FeatureSet
from diffeval.plan import Settings, plan_images, protocol_of
from diffeval.prepared import Prepared, prepare
from diffeval.pricing.images import Part
from diffeval.pricing.run import run_prices, start
from diffeval.pricing.scoring import Wanted
from diffeval.pricing.stage import Plan
from diffeval.progress import Reporter, SilentReporter
from diffeval.prompting import Prompting, given_prompts
from diffeval.ranks import shard_folder
from diffeval.runs.directory import RunDirectory, default_name
from diffeval.runs.records import Results
from diffeval.scoring import Choices
from diffeval.suite import Suite
from diffeval.sweeps.conclude import save, scale_conclusions, settings_conclusions
from diffeval.sweeps.grid import Value
from diffeval.sweeps.leave_out import leave_out
from diffeval.sweeps.run import changed, evaluations, measure, point_folder, point_name, shared_protocol, suite_of

SCALES = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
USUAL_N = 2000
# Settings that ``--over`` takes, and what makes a value of its text.
AXES = {
    "steps": int,
    "w": float,
    "sampler": str,
    "eta": float,
    "karras": bool,
    "dtype": str,
    "rescale": float,
    "threshold": float,
}


def sweep_scales(
    checkpoint: Checkpoint | str | Path,
    scales: Sequence[float] = SCALES,
    *,
    settings: Settings | None = None,
    keep_diversity: float = 0.9,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Results:
    """Quality and diversity against the guidance scale: the same seeds and labels at every w.

    w is that of eps_uncond + w (eps_cond - eps_uncond): 1 is the plain conditional model, 0 the unconditional one.

    Raises:
        DiffevalError: for an unconditional checkpoint, one without a null class, and whatever else the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    measured = _checkpoint(checkpoint, opening, prompting)
    if not measured.classes and measured.asked is None:
        raise DiffevalError(
            f"sweep-cfg: {measured.name} is unconditional, it has no guidance; diffeval sweep --over steps=5,10 works"
        )
    swept = measure(
        measured,
        [{"w": float(w)} for w in sorted(set(scales))],
        task="sweep-cfg",
        settings=settings or Settings(n=USUAL_N),
        ref=ref,
        extracting=extracting,
        opening=opening,
        prompting=prompting,
        out=out,
        fresh=fresh,
        reporter=reporter,
    )
    return save(swept, scale_conclusions(swept, keep_diversity))


def sweep(
    checkpoint: Checkpoint | str | Path,
    over: Sequence[Mapping[str, Value]],
    *,
    settings: Settings | None = None,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Results:
    """Quality against what it costs, at each of the given settings; e.g. ``[{"steps": 5}, {"steps": 20}]``.

    Raises:
        DiffevalError: for a setting that cannot be honoured, and whatever else the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    measured = _checkpoint(checkpoint, opening, prompting)
    settings = settings or Settings(n=USUAL_N)
    counts = [evaluations(plan_images(measured, changed(settings, one))) for one in over]
    swept = measure(
        measured,
        over,
        task="sweep",
        settings=settings,
        ref=ref,
        extracting=extracting,
        opening=opening,
        prompting=prompting,
        out=out,
        fresh=fresh,
        reporter=reporter,
    )
    return save(swept, settings_conclusions(swept, counts))


def describe(
    checkpoint: Checkpoint | str | Path,
    over: Sequence[Mapping[str, Value]],
    settings: Settings,
    *,
    task: str = "sweep",
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    begun: float | None = None,
) -> Plan:
    """What a sweep would do, and about how long each stage takes here; every setting is checked.

    Args beside those of ``sweep``:
        task: sweep or sweep-cfg.
        begun: when the command was started, by ``time.time()``; None where it is none, and starting is not priced.
    """
    measured = _checkpoint(checkpoint, opening, prompting)
    each = [changed(settings, one) for one in over]
    plans = [plan_images(measured, one) for one in each]
    counts = [evaluations(plan) for plan in plans]
    metrics = suite_of(measured, prompting)
    known = prepare(
        measured, each[0], ref, extracting, opening, SilentReporter(), fit=False, suite=metrics, prompting=prompting
    )
    protocol = shared_protocol(task, over, known)
    name = default_name(measured.name, measured.sha256, task, settings.seed, protocol)
    run = RunDirectory(shard_folder(out or Path("runs") / name, settings.shard))
    left = [
        part
        for one, plan, change in zip(each, plans, over, strict=True)
        if (
            part := _left(
                measured, one, replace(known, plan=plan), point_folder(run, change), task, metrics, fresh=fresh
            )
        )
    ]
    held = f", of which {len(over) - len(left)} are there" if len(left) < len(over) else ""
    lines = [f"checkpoint   {measured.name} {measured.sha256[:8]} ({measured.path})"]
    lines += [
        f"point        {point_name(one)}: {settings.n} images, {count} network evaluations each"
        for one, count in zip(over, counts, strict=True)
    ]
    lines += [
        f"images       {settings.n * len(over)}",
        f"evaluations  {settings.n * sum(counts)} in all, in batches of {plans[0].batch}",
        f"run          {run.path} ({'new' if run.state() is None else 'begun'}{held})",
    ]
    prices = start(begun)
    if left:
        wanted = Wanted(metrics, (settings.n,), len(left), leave_out_at)
        prices += run_prices(measured, settings, left, known, wanted)
    return Plan(tuple(lines), tuple(prices), held="" if len(left) == len(over) else "for what is left")


def _left(
    measured: Checkpoint, settings: Settings, known: Prepared, folder: Path, task: str, metrics: Suite, *, fresh: bool
) -> Part | None:
    """What is left to be made of a point; None of one that is finished."""
    generator, judge = known.plan.generator, known.judge
    protocol = protocol_of(task, generator, extractor=known.extractor, reference=known.reference, asked=known.asked)
    job = job_of(measured, settings, known.plan, protocol, folder)
    choices = Choices(metrics, "features", None).recorded()
    if not fresh and finished(job, (settings.n,), choices) is not None:
        return None
    harvest = open_harvest(job.run, job.state.chunk, known.extractor, judge, keep_images=False)
    return part_of(job, harvest, fresh=fresh)


def leave_out_at(generated: FeatureSet, reference: FeatureSet, independent: bool) -> object:
    """What a sweep computes beside scores."""
    classes = 0 if generated.labels is None else int(generated.labels.max()) + 1
    return leave_out(generated, reference, independent, classes)


def _checkpoint(
    checkpoint: Checkpoint | str | Path, opening: OpenOptions | None, prompting: Prompting | None
) -> Checkpoint:
    measured = given_prompts(open_measured(checkpoint, opening=opening), prompting)
    if not isinstance(measured, Checkpoint):
        raise DiffevalError(f"sweep: {measured.name} is ready-made images, which are not sampled; give a checkpoint")
    return measured
