"""From what the user asked for to what will be done: cheap mistakes are found here, before the first network call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

import torch
from accelerate import cpu_offload
from accelerate.hooks import remove_hook_from_module

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.compiling import check_choice
from diffeval.data.pixels import Images, Labels
from diffeval.diffusion.batching import is_out_of_memory, memory_format, pick_batch, pick_device
from diffeval.diffusion.conditions import LABEL_RULE
from diffeval.diffusion.samplers import Sampler, build_scheduler, named_sampler
from diffeval.diffusion.sampling import DTYPES, ROUNDINGS, Generator
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor
from diffeval.measured import Measured, Real
from diffeval.pairing import Asked
from diffeval.ranks import Share
from diffeval.ready import ReadyImages, Shown, shown
from diffeval.registry import did_you_mean
from diffeval.runs.records import Protocol
from diffeval.speed import measured_batch

# A run of a few images is begun with at least this batch, so that it can be extended without crawling.
LEAST_BATCH = 32
# Images per chunk file: few files, and little lost when a run is killed.
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """Sampling settings as the user gives them; None means the checkpoint's own or the best for this machine.

    Attributes:
        n: images.
        seed: keys the noise of every image.
        sampler: name of one of our samplers; None for the declared one.
        steps: sampling steps.
        w: guidance scale; None for 1.
        eta: of DDIM.
        karras: Karras et al.'s noise levels.
        device: auto, cpu, cuda, cuda:1, mps.
        dtype: fp32, fp16 or bf16, of the network.
        batch: images per network call.
        rounding: how float pixels become uint8, a name in ``ROUNDINGS``.
        interval: noise levels sigma at which guidance acts, low and high; None for all.
        rescale: phi of guidance rescaling, 0 to 1; None for 0.
        threshold: quantile of dynamic thresholding, 0 to 1; None for none.
        offload: whether the network's weights stay on the CPU but for the layer at work.
        compile: auto, on or off: whether the network is compiled; auto where the work ahead pays for it.
        shard: the part of the images that is made here, by itself; None for all.
    """

    n: int
    seed: int = 0
    sampler: str | None = None
    steps: int | None = None
    w: float | None = None
    eta: float | None = None
    karras: bool | None = None
    device: str = "auto"
    dtype: str = "fp32"
    batch: int | None = None
    rounding: str = "nearest"
    interval: tuple[float, float] | None = None
    rescale: float | None = None
    threshold: float | None = None
    offload: bool = False
    compile: str = "auto"
    shard: Share | None = None


class ImageMaker(Interface):
    """Turns image indices into images: a checkpoint's generator, or ready-made images."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""

    @property
    def device(self) -> torch.device:
        """Where it works."""

    @property
    def limit(self) -> int | None:
        """How many images there are; None without end."""

    def images(self, indices: Sequence[int]) -> Images:
        """Images of these indices, uint8 [len(indices), C, H, W]."""

    def labels(self, indices: Sequence[int]) -> Labels | None:
        """Their classes, where classes are what images are made of."""


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """A checked way to sample.

    Attributes:
        generator: makes the images.
        batch: images per network call.
        chunk: images per chunk file, a multiple of ``batch``.
    """

    generator: ImageMaker
    batch: int
    chunk: int


def plan_images(measured: Measured, settings: Settings) -> SamplingPlan:
    """How the images come about: sampled from a checkpoint, or ready-made.

    Raises:
        DiffevalError: for any setting that cannot be honoured.
    """
    if settings.n < 1:
        raise DiffevalError(f"sampling: n is {settings.n}, needs at least 1; raise --n")
    if isinstance(measured, Checkpoint):
        return plan_sampling(measured, settings)
    _refuse_sampling(measured, settings)
    if settings.n > len(measured.source):
        raise DiffevalError(
            f"images: {measured.path} holds {len(measured.source)} images, --n asks for {settings.n}; leave --n out"
        )
    batch = settings.batch or pick_batch(torch.device("cpu"), measured.image_shape, branches=1)
    maker = shown(measured, pick_device(settings.device))
    return SamplingPlan(maker, batch, batch * max(1, CHUNK // batch))


def _refuse_sampling(measured: ReadyImages, settings: Settings) -> None:
    """Ready-made images are not sampled, and a setting that says how would be ignored."""
    usual = Settings(n=settings.n)
    names = (
        "seed",
        "sampler",
        "steps",
        "w",
        "eta",
        "karras",
        "dtype",
        "rounding",
        "interval",
        "rescale",
        "threshold",
        "offload",
        "compile",
    )
    given = [f"--{name}" for name in names if getattr(settings, name) != getattr(usual, name)]
    if given:
        raise DiffevalError(f"images: {measured.path} holds ready-made images; leave {', '.join(given)} out")


def plan_sampling(checkpoint: Checkpoint, settings: Settings) -> SamplingPlan:
    """Resolves the settings against the checkpoint, and moves the network to its device.

    Raises:
        DiffevalError: for any setting that this checkpoint or machine cannot honour.
    """
    if not 0 <= settings.seed < 2**64:
        raise DiffevalError(f"sampling: seed is {settings.seed}, must be from 0 to 2^64 - 1")
    if settings.dtype not in DTYPES:
        raise DiffevalError(f"sampling: unknown dtype {settings.dtype!r};{did_you_mean(settings.dtype, DTYPES)}")
    if settings.rounding not in ROUNDINGS:
        known = did_you_mean(settings.rounding, ROUNDINGS)
        raise DiffevalError(f"sampling: unknown rounding {settings.rounding!r};{known}")
    if settings.batch is not None and settings.batch < 1:
        raise DiffevalError(f"sampling: batch is {settings.batch}, needs at least 1")
    check_choice(settings.compile)
    w = _guidance_scale(checkpoint, settings.w)
    sampler, steps = _sampler(checkpoint, settings)
    build_scheduler(sampler, checkpoint.schedule, checkpoint.prediction, steps)
    device = pick_device(settings.device)
    if checkpoint.text is not None and checkpoint.asked is None:
        raise DiffevalError(f"prompts: {checkpoint.name} makes images of text; give --prompts FILE")
    generator = Generator(
        denoiser=checkpoint.denoiser if checkpoint.at_w is None or w is None else checkpoint.at_w(w),
        shape=checkpoint.shape,
        schedule=checkpoint.schedule,
        prediction=checkpoint.prediction,
        sampler=sampler,
        steps=steps,
        w=w,
        classes=len(checkpoint.classes),
        null_class=checkpoint.null_class,
        seed=settings.seed,
        device=device,
        dtype=settings.dtype,
        decode=checkpoint.decode,
        rounding=settings.rounding,
        interval=_interval(settings, w, checkpoint),
        rescale=_rescale(settings, w, checkpoint),
        prompts=checkpoint.asked,
        pixels=checkpoint.image_shape,
        distilled=checkpoint.at_w is not None,
    )
    weights = 0 if settings.offload else _elsewhere(checkpoint.network, device)
    fitting = pick_batch(device, checkpoint.shape, branches=generator.branches, weights=weights)
    most = min(fitting, max(LEAST_BATCH, 1 << (settings.n - 1).bit_length()))
    _place(checkpoint, device, settings)
    if settings.batch is None and settings.shard is None:  # shards know nothing of each other, and must be alike
        most = measured_batch(generator, checkpoint, settings.n, LEAST_BATCH, most)
    batch = settings.batch or most
    return SamplingPlan(generator, batch, batch * max(1, CHUNK // batch))


def _elsewhere(network: torch.nn.Module, device: torch.device) -> int:
    """Bytes of weights that are yet to be moved to a device."""
    return sum(one.nbytes for one in network.parameters() if one.device.type != device.type)


def _place(checkpoint: Checkpoint, device: torch.device, settings: Settings) -> None:
    """Moves the network to its device, or has accelerate bring each layer there for as long as it works."""
    network = checkpoint.network
    offloaded = hasattr(network, "_hf_hook")
    if settings.offload and not offloaded:
        cpu_offload(network, execution_device=device, offload_buffers=True)
    if settings.offload:
        return
    if offloaded:
        remove_hook_from_module(network, recurse=True)
    try:
        network.to(device)
        network.to(memory_format=memory_format(device, checkpoint.shape, DTYPES[settings.dtype]))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = sum(one.nbytes for one in network.parameters()) / 1e9
        raise DiffevalError(
            f"sampling: {device} has no room for the network's {size:.2g} GB of weights; give --offload, which keeps "
            f"them on the CPU"
        ) from error


def _guidance_scale(checkpoint: Checkpoint, w: float | None) -> float | None:
    if not checkpoint.classes and checkpoint.asked is None:
        if w not in (None, 1.0):
            raise DiffevalError(f"sampling: w={w:g}, but {checkpoint.name} is unconditional; leave --w out")
        return None
    w = checkpoint.guidance if w is None else w
    if w != 1.0 and checkpoint.null_class is None and checkpoint.at_w is None:
        raise DiffevalError(
            f"sampling: w={w:g} needs a null condition, and {checkpoint.name} has none; use --w 1, "
            f"or train with --drop-condition 0.1"
        )
    return w


_DISTILLED = "is guidance-distilled: w is an input of its network"


def _interval(settings: Settings, w: float | None, checkpoint: Checkpoint) -> tuple[float, float] | None:
    if settings.interval is None:
        return None
    low, high = settings.interval
    if not 0 <= low < high:
        raise DiffevalError(f"sampling: --interval {low:g}:{high:g} is none; give sigma from low to high, e.g. 0.3:5")
    if w is None:
        raise DiffevalError("sampling: --interval restricts guidance, and the checkpoint is unconditional")
    if checkpoint.at_w is not None:
        raise DiffevalError(f"sampling: --interval restricts guidance, and {checkpoint.name} {_DISTILLED}")
    return settings.interval


def _rescale(settings: Settings, w: float | None, checkpoint: Checkpoint) -> float:
    phi = settings.rescale or 0.0
    if not 0 <= phi <= 1:
        raise DiffevalError(f"sampling: --rescale {phi:g} is not between 0 and 1")
    if phi and w is None:
        raise DiffevalError("sampling: --rescale scales guidance back, and the checkpoint is unconditional")
    if phi and checkpoint.at_w is not None:
        raise DiffevalError(f"sampling: --rescale scales guidance back, and {checkpoint.name} {_DISTILLED}")
    return phi


def _sampler(checkpoint: Checkpoint, settings: Settings) -> tuple[Sampler, int]:
    sampler = checkpoint.sampler
    altering = {name: getattr(settings, name) for name in ("eta", "karras", "threshold")}
    altered = [name for name, value in altering.items() if value is not None]
    if settings.sampler is not None or altered or sampler is None:
        if settings.sampler is None and sampler is not None and sampler.name == "declared":
            option = f"--{altered[0]}"
            raise DiffevalError(
                f"sampling: {option} would alter the declared sampler, {sampler.scheduler}; name one of ours, too, "
                f"with --sampler"
            )
        name = settings.sampler or (sampler.name if sampler is not None else "ddim")
        chosen = named_sampler(
            name,
            checkpoint.schedule,
            checkpoint.prediction,
            eta=settings.eta,
            karras=settings.karras,
            threshold=settings.threshold,
            bounded=checkpoint.value_range == (-1.0, 1.0) and checkpoint.latents is None,
        )
        # The declared number of steps belongs to the declared sampler.
        same = sampler is not None and sampler.name == chosen.name
        steps = checkpoint.steps if same else chosen.default_steps
        sampler = chosen
    else:
        steps = checkpoint.steps
    default = min(steps or sampler.default_steps, checkpoint.schedule.timesteps)
    return sampler, settings.steps if settings.steps is not None else default


def protocol_of(
    task: str,
    generator: ImageMaker,
    *,
    extractor: Extractor | None = None,
    reference: Real | None = None,
    asked: Asked | None = None,
) -> Protocol:
    """The protocol of a run whose images ``generator`` makes."""
    sampled = generator if isinstance(generator, Generator) else None
    return Protocol(
        task=task,
        sampler=sampled.sampler.name if sampled else None,
        sampler_config=sampled.sampler.recorded() if sampled else {},
        steps=sampled.steps if sampled else None,
        w=sampled.w if sampled else None,
        labels=_label_rule(generator),
        rounding=sampled.rounding if sampled else None,
        interval=sampled.interval if sampled else None,
        rescale=(sampled.rescale or None) if sampled else None,
        dtype=sampled.dtype if sampled else None,
        extractor=extractor.id if extractor else None,
        resize=extractor.resize if extractor else None,
        reference=reference.spec if reference else None,
        reference_hash=reference.content_hash() if reference else None,
        judge=asked.judge.id if asked else None,
        prompts=asked.pairing.content_hash() if asked else None,
        template=asked.template if asked else None,
        clip_scale=asked.scale if asked else None,
    )


def _label_rule(generator: ImageMaker) -> str:
    if isinstance(generator, Shown):
        return "as given" if generator.source.labels is not None else "none"
    if isinstance(generator, Generator) and generator.prompts is not None:
        return generator.prompts.rule
    return LABEL_RULE if isinstance(generator, Generator) and generator.classes else "none"
