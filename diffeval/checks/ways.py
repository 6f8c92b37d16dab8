"""What a pipeline is known to do otherwise than it says."""

from collections.abc import Iterator
from dataclasses import dataclass

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.made_images import Made
from diffeval.diffusion.samplers import SAMPLERS, Sampler, build_scheduler, is_stochastic, named_sampler
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError

STATED = "as the settings say"
# Scales that are tried beside w, as multiples of it: close enough that any between two of them is nearer to one.
MULTIPLES = (0.5, 0.75, 1.25, 1.5, 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way to make images.

    Attributes:
        name: what the pipeline does.
        fix: what to change, where it does that.
        w: guidance scale; None for a model without a condition.
        negative: whether negative prompts count.
        sampler: another one; None for that of the settings.
        reversed: whether colour channels stand in reverse order.
    """

    name: str
    fix: str = ""
    w: float | None = None
    negative: bool = True
    sampler: Sampler | None = None
    reversed: bool = False


def ways(checkpoint: Checkpoint, generator: Generator, made: Made) -> Iterator[Way]:
    """As the settings say, and otherwise."""
    w = generator.w
    yield Way(STATED, w=w)
    if w is not None:
        distilled = checkpoint.at_w is not None
        if distilled or checkpoint.null_class is not None:
            negatives = any(one.negative for one in made.prompts) and not distilled
            yield from _told(w) if distilled else _guided(w, negatives)
    if checkpoint.image_shape[0] == 3:
        yield Way("colour channels in reverse order", "swap them: RGB, not BGR", w, reversed=True)


def samplers(checkpoint: Checkpoint, generator: Generator) -> Iterator[Way]:
    """Ours that can sample the checkpoint in as many steps."""
    bounded = checkpoint.value_range == (-1.0, 1.0) and checkpoint.latents is None
    for name in SAMPLERS:
        try:
            one = named_sampler(name, generator.schedule, generator.prediction, bounded=bounded)
            build_scheduler(one, generator.schedule, generator.prediction, generator.steps)
        except DiffevalError:
            continue
        if not is_stochastic(one) and one.scheduler != generator.sampler.scheduler:
            yield Way(f"sampler {name}", f"sample with {generator.sampler.scheduler}", generator.w, sampler=one)


_FORMULA = "eps_uncond + w (eps_cond - eps_uncond)"
_NEGATIVE = "encode the negative prompt for the unconditional half"


def _guided(w: float, negatives: bool) -> Iterator[Way]:
    """Other guidance, each with negative prompts and without."""
    give = f"compare the pipeline's guidance scale with {w:g}"
    scales = [
        (1.0, "no guidance", f"guide: {_FORMULA}, w={w:g}"),
        (
            w + 1.0,
            f"w near {w + 1.0:g}, as where it is counted from 0: eps_cond + w (eps_cond - eps_uncond)",
            f"use {_FORMULA}, or give w={w - 1.0:g}",
        ),
        (w - 1.0, f"w near {w - 1.0:g}, as where it is counted from 2", f"use {_FORMULA}, or give w={w + 1.0:g}"),
        (1.0 - w, "branches of guidance exchanged", f"use {_FORMULA}, with the unconditional half first"),
        (0.0, "prompt or class left out", "see that the condition reaches the network"),
        *((factor * w, f"w near {factor * w:g}", give) for factor in MULTIPLES),
    ]
    if negatives:
        yield Way("the negative prompt left out", _NEGATIVE, w, negative=False)
    seen = {w}
    for scale, name, fix in scales:
        if scale in seen:
            continue
        seen.add(scale)
        yield Way(name, fix, scale)
        if negatives and scale not in (0.0, 1.0):
            yield Way(f"{name}, and the negative prompt left out", f"{fix}; {_NEGATIVE}", scale, negative=False)


def _told(w: float) -> Iterator[Way]:
    """Other scales that a guidance-distilled network may have been told."""
    for scale in dict.fromkeys((1.0, w + 1.0, w - 1.0, *(factor * w for factor in MULTIPLES))):
        if scale != w:
            yield Way(f"w near {scale:g}", f"tell the network w={w:g}", scale)
