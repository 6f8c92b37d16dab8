"""What a command would do, in lines: everything is opened and checked, nothing is sampled or written."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import ImageSource, OpenOptions
from diffeval.diffusion.batching import device_name
from diffeval.diffusion.sampling import Generator
from diffeval.features.extractor import UNFITTED
from diffeval.harvest import Harvest, open_harvest
from diffeval.job import Job, finished
from diffeval.measured import Extracting, Measured, Real, open_measured
from diffeval.plan import SamplingPlan, Settings, plan_images, protocol_of
from diffeval.precision import make_target
from diffeval.prepared import Prepared, available, prepare, refuse_impossible
from diffeval.pricing.images import Part, file_prices, image_prices, own_images
from diffeval.pricing.run import run_prices, start
from diffeval.pricing.scoring import Wanted
from diffeval.pricing.stage import Plan
from diffeval.progress import SilentReporter
from diffeval.prompting import Prompting, given_prompts
from diffeval.ranks import shard_folder
from diffeval.runs.directory import RunDirectory, RunState, default_name
from diffeval.runs.files import require_writable_above
from diffeval.runs.provenance import own_version
from diffeval.runs.records import Keep, Param, Protocol
from diffeval.scoring import Choices, log_counts
from diffeval.suite import Suite, choose

# Device memory that a latent model should find free, as a multiple of its weights: activations lie beside them.
ROOM = 1.3


def describe_sampling(
    checkpoint: Measured | str | Path,
    settings: Settings,
    out: Path | None = None,
    prompting: Prompting | None = None,
    *,
    form: str = "npz",
    fresh: bool = False,
    begun: float | None = None,
) -> Plan:
    """What ``sample`` would do, with the files of its images in a form, png or npz; see ``describe``."""
    measured = given_prompts(open_measured(checkpoint), prompting)
    plan = plan_images(measured, settings)
    job = job_of(measured, settings, plan, protocol_of("sample", plan.generator), out)
    harvest = open_harvest(job.run, job.state.chunk, None, keep_images=True)
    part = part_of(job, harvest, fresh=fresh)
    started = start(begun)
    return Plan(
        (*_images(measured, plan, settings), *_prompts(measured, settings.n), _run(job)),
        (*started, *image_prices(measured, [part], settings), *file_prices(plan.generator, settings, form)),
        held=_held(job, part),
    )


def describe(
    checkpoint: Measured | str | Path,
    *,
    settings: Settings,
    at: Sequence[int] | None = None,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    out: Path | None = None,
    task: str = "eval",
    metrics: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Param]] | None = None,
    precision: float | None = None,
    max_n: int | None = None,
    prompting: Prompting | None = None,
    keep: Keep = "features",
    fresh: bool = False,
    begun: float | None = None,
) -> Plan:
    """What ``evaluate`` would do, and about how long each stage takes here; see there.

    Args beside its own:
        begun: when the command was started, by ``time.time()``; None where it is none, and starting is not priced.
    """
    suite = choose(metrics).configured(options or {})
    target = make_target(precision, max_n, settings.n)
    measured = given_prompts(open_measured(checkpoint, opening=opening), prompting)
    known = prepare(
        measured, settings, ref, extracting, opening, SilentReporter(), fit=False, suite=suite, prompting=prompting
    )
    refuse_impossible(suite, known)
    counts = log_counts(settings.n, at, known.extractor.dim, suite, bounded=target is None, most=available(measured))
    lines = _images(measured, known.plan, settings)
    if target is not None:
        lines.append(f"precision   until ±{100 * target.precision:g}%, at most {target.max_n} images")
    if known.asked is None:
        lines += _prompts(measured, settings.n)
    lines += _scores(known, settings, counts, suite)
    for name, given in suite.options.items():
        lines.append(f"options     {name}: {', '.join(f'{key} {value}' for key, value in given.items())}")
    protocol = protocol_of(
        task, known.plan.generator, extractor=known.extractor, reference=known.reference, asked=known.asked
    )
    job = job_of(measured, settings, known.plan, protocol, out)
    harvest = open_harvest(job.run, job.state.chunk, known.extractor, known.judge, keep_images=keep == "images")
    part = part_of(job, harvest, fresh=fresh)
    lines.append(_run(job, unfitted=out is None and known.extractor.id.endswith(UNFITTED)))
    started, missing = start(begun), "" if target is None else "what it takes to go on until the precision is reached"
    choices = Choices(suite, keep, target).recorded()
    if not fresh and settings.shard is None and finished(job, counts, choices) is not None:
        return Plan(tuple(lines), tuple(started), held="everything is there already, and nothing would be computed")
    found = run_prices(measured, settings, [part], known, Wanted(suite, counts))
    return Plan(tuple(lines), (*started, *found), missing, _held(job, part))


def job_of(measured: Measured, settings: Settings, plan: SamplingPlan, protocol: Protocol, out: Path | None) -> Job:
    """The run as it would be opened, with its state if it is there; nothing is made or locked."""
    name = default_name(measured.name, measured.sha256, protocol.task, settings.seed, protocol)
    run = RunDirectory(shard_folder(out or Path("runs") / name, settings.shard))
    require_writable_above(run.path)
    state = run.state() or RunState(
        task=protocol.task,
        status="running",
        version=own_version(),
        checkpoint_sha256=measured.sha256,
        seed=settings.seed,
        n=0,
        batch=plan.batch,
        chunk=plan.chunk,
        protocol=None,
        started="",
    )
    return Job(measured, settings, replace(plan, batch=state.batch), protocol, run, state, 0)


def part_of(job: Job, harvest: Harvest, *, fresh: bool) -> Part:
    """What this process has to make of a run's images: what is not there yet, unless that is no longer wanted."""
    n, chunk = job.settings.n, job.state.chunk
    kept = job.state.protocol == job.protocol and not fresh
    if kept:
        missing = harvest.missing(n, job.settings.shard)
    else:
        starts = list(range(0, n, chunk))
        dealt = starts if job.settings.shard is None else job.settings.shard.of(starts)
        missing = [(start, 0) for start in dealt]
    return Part(job.plan, own_images(missing, n, chunk), job.state.compiled if kept else None)


def _held(job: Job, part: Part) -> str:
    """Of a run that is there, what is left; empty where nothing is."""
    if job.state.protocol is None or part.images == job.settings.n:
        return ""
    return f"for what is left, {part.images} of {job.settings.n} images here"


def _images(measured: Measured, plan: SamplingPlan, settings: Settings) -> list[str]:
    generator = plan.generator
    lines = [f"checkpoint  {measured.name} {measured.sha256[:8]} ({measured.path})"]
    if not isinstance(generator, Generator):
        lines.append(f"images      {settings.n} of {generator.limit} ready-made, {generator.image_shape}")
        lines.append(f"device      {device_name(generator.device)}, batches of {plan.batch}")
        return lines
    guidance = "unconditional" if generator.w is None else f"w={generator.w:g}"
    if isinstance(measured, Checkpoint) and measured.latents is not None:
        lines.append(f"memory      {_memory(measured, generator.device, offload=settings.offload)}")
    return [
        *lines,
        f"images      {settings.n}, {generator.image_shape}, {guidance}, seed {settings.seed}",
        f"sampler     {generator.sampler.name} {generator.sampler.recorded()}, {generator.steps} steps",
        f"device      {device_name(generator.device)}, {generator.dtype}, batches of {plan.batch}",
    ]


def _prompts(measured: Measured, n: int) -> list[str]:
    """How many prompts images are made of; nothing for what takes none."""
    if not isinstance(measured, Checkpoint) or not measured.prompts:
        return []
    count = len(measured.prompts)
    named = f" of {len(measured.classes)} classes" if measured.classes else ""
    few = f", of which {n} are used" if n < count else ""
    return [f"prompts     {count}{named}{few}, e.g. {measured.prompts[0].text!r}"]


def _memory(checkpoint: Checkpoint, device: torch.device, *, offload: bool) -> str:
    """Of a latent model's weights, in float32 as they are held; ``--dtype`` is that of the computation."""
    assert checkpoint.latents is not None, "asked before"
    parts = {"denoiser": checkpoint.network, "autoencoder": checkpoint.latents.vae}
    sizes = {name: 4e-9 * sum(one.numel() for one in part.parameters()) for name, part in parts.items()}
    told = ", ".join(f"{name} {size:.2g}" for name, size in sizes.items())
    whole = sum(sizes.values())
    if offload:
        return (
            f"{sizes['autoencoder']:.2g} GB of weights stay on {device}, the denoiser's {sizes['denoiser']:.2g} GB "
            f"come layer by layer"
        )
    text = "; text encoders are there only while prompts are encoded, once" if checkpoint.text is not None else ""
    room = ""
    if device.type == "cuda":
        placed = sum(one.nbytes for part in parts.values() for one in part.parameters() if one.is_cuda)
        free = 1e-9 * (torch.cuda.mem_get_info(device)[0] + placed)
        room = f"; {free:.2g} GB are free" + (", too little: give --offload" if free < ROOM * whole else "")
    return f"{whole:.2g} GB of weights on {device} ({told}), activations beside them{text}{room}"


def _scores(known: Prepared, settings: Settings, counts: Sequence[int], suite: Suite) -> list[str]:
    lines = []
    if known.reference is not None:
        lines.append(f"reference   {known.reference.spec} ({_size(known.reference)})")
    if known.asked is not None:
        prompts, cut = known.asked.pairing.prompts, known.asked.template
        lines.append(f"prompts     {len(prompts)}, {known.asked.pairing.rule}, as {cut!r}")
        lines.append(f"judge       {known.asked.judge.id}")
    used = known.extractor
    kept = settings.n * (used.dim + len(used.classes)) * 4
    pixels = settings.n * int(np.prod(known.plan.generator.image_shape))
    return [
        *lines,
        f"extractor   {used.id} ({used.dim} dimensions)",
        f"scores      {', '.join(suite.metrics)} at n = {', '.join(map(str, counts))}",
        f"disk        {kept / 1e6:.1f} MB of features, {pixels / 1e6:.1f} MB more with --keep images",
    ]


def _size(reference: Real) -> str:
    if isinstance(reference, ImageSource):
        return f"{len(reference)} images"
    return f"moments of {reference.n} images" if reference.n is not None else "moments"


def _run(job: Job, *, unfitted: bool = False) -> str:
    """Where the run lies; its name has the extractor's in it, which is not known before that is fitted."""
    status = "new" if job.state.protocol is None else job.state.status
    return f"run         {Path('runs') / '...' if unfitted else job.run.path} ({status})"
