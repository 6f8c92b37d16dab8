"""What a command would do, in lines: everything is opened and checked, nothing is sampled or written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import ImageSource, OpenOptions
from diffeval.diffusion.batching import device_name
from diffeval.diffusion.sampling import Generator
from diffeval.features.extractor import UNFITTED
from diffeval.measured import Extracting, Measured, Real, open_measured
from diffeval.plan import SamplingPlan, Settings, plan_images, protocol_of
from diffeval.precision import make_target
from diffeval.prepared import Prepared, available, prepare, refuse_impossible
from diffeval.price import price_lines, prices, sampling_prices
from diffeval.progress import SilentReporter
from diffeval.prompting import Prompting, given_prompts
from diffeval.ranks import shard_folder
from diffeval.runs.directory import RunDirectory, default_name
from diffeval.runs.files import require_writable_above
from diffeval.runs.records import Param, Protocol
from diffeval.scoring import log_counts
from diffeval.suite import Suite, choose

# Device memory that a latent model should find free, as a multiple of its weights: activations lie beside them.
ROOM = 1.3


def describe_sampling(
    checkpoint: Measured | str | Path,
    settings: Settings,
    out: Path | None = None,
    prompting: Prompting | None = None,
) -> list[str]:
    """What ``sample`` would do."""
    measured = given_prompts(open_measured(checkpoint), prompting)
    plan = plan_images(measured, settings)
    lines = [*_images(measured, plan, settings), *_prompts(measured, settings.n)]
    if isinstance(plan.generator, Generator):
        lines += price_lines(sampling_prices([plan], [plan.generator.calls], settings.n), "takes       ")
    return [*lines, _run(measured, settings, protocol_of("sample", plan.generator), out)]


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
) -> list[str]:
    """What ``evaluate`` would do; see there."""
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
    lines += _takes(known, settings.n, suite, counts)
    if known.extractor.id.endswith(UNFITTED):
        return [*lines, f"run         {out or 'runs/...'} (its extractor is trained first: about a minute, once)"]
    protocol = protocol_of(
        task, known.plan.generator, extractor=known.extractor, reference=known.reference, asked=known.asked
    )
    return [*lines, _run(measured, settings, protocol, out)]


def _takes(known: Prepared, n: int, suite: Suite, counts: Sequence[int]) -> list[str]:
    """What each stage costs, measured on a small piece of it."""
    generator = known.plan.generator
    calls = [generator.calls] if isinstance(generator, Generator) else []
    return price_lines(prices([known.plan], calls, known, n, suite, counts=counts), "takes       ")


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


def _run(measured: Measured, settings: Settings, protocol: Protocol, out: Path | None) -> str:
    name = default_name(measured.name, measured.sha256, protocol.task, settings.seed, protocol)
    run = RunDirectory(shard_folder(out or Path("runs") / name, settings.shard))
    state = run.state()
    require_writable_above(run.path)
    return f"run         {run.path} ({state.status if state else 'new'})"
