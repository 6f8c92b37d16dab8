"""What a pipeline's own call decides before it samples: the size of its latents, and what its scheduler is told."""

import dataclasses
from pathlib import Path
from typing import Any

from diffeval.checkpoints.pipelines import Kind
from diffeval.checkpoints.scheduler_config import DeclaredScheduler
from diffeval.checkpoints.text_networks import TIMESTEPS
from diffeval.data.pixels import Shape
from diffeval.diffusion.flow import EVEN, TOKENS
from diffeval.errors import DiffevalError

# Settings of schedulers that Stable Diffusion's pipeline overrides, saying so, as files of its first year had them.
OUTDATED = {"steps_offset": 1, "clip_sample": False}
# Side of the latents that Flux draws where nobody names one: its configuration has none.
FLUX_SIDE = 128
# Latents on a side of one of Flux's tokens.
FLUX_PATCH = 2


def declared_shape(network: Any, kind: Kind) -> Shape | None:
    """(C, H, W) of the latents that a pipeline draws by itself; None where its configuration does not say."""
    config = network.config
    if kind.text == "flux":
        return int(config.in_channels) // FLUX_PATCH**2, FLUX_SIDE, FLUX_SIDE
    size = config.sample_size
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return int(config.in_channels), int(height), int(width)


def drawn_shape(declared: Shape | None, given: Shape | None, kind: Kind, place: Path) -> Shape:
    """(C, H, W) of the latents that are drawn: what the user asks for, or what the pipeline draws by itself.

    Raises:
        DiffevalError: if neither says, or the network cannot take them.
    """
    shape = given or declared
    if shape is None:
        raise DiffevalError(f"checkpoint: {place}/config.json has no sample_size; give --shape of its latents")
    if kind.text == "flux" and (shape[1] % FLUX_PATCH or shape[2] % FLUX_PATCH):
        raise DiffevalError(
            f"checkpoint: --shape {','.join(map(str, shape))}: {kind.name} takes latents in squares of {FLUX_PATCH}; "
            f"give even sides"
        )
    return shape


def as_called(
    kind: Kind, declared: DeclaredScheduler | None, network: Any, shape: Shape
) -> tuple[DeclaredScheduler | None, tuple[str, ...]]:
    """The scheduler as the pipeline samples by it, and what was changed for that."""
    if declared is None:
        return None, ()
    if kind.flow:
        return _of_flow(kind, declared, network, shape), ()
    return _updated(declared, kind) if kind.name == "StableDiffusionPipeline" else (declared, ())


def _of_flow(
    kind: Kind, declared: DeclaredScheduler, network: Any, shape: tuple[int, int, int]
) -> DeclaredScheduler:  # fmt: skip
    """A flow's shift depends on the number of tokens, and Flux has noise levels of its own."""
    config = dict(declared.sampler.config)
    if declared.schedule.timesteps != TIMESTEPS:
        raise DiffevalError(
            f"checkpoint: the scheduler of {kind.name} has num_train_timesteps {declared.schedule.timesteps}, needs "
            f"{TIMESTEPS}: networks of flows take sigma times that"
        )
    if kind.text == "flux":
        config[EVEN] = True
    if config.get("use_dynamic_shifting"):
        patch = FLUX_PATCH if kind.text == "flux" else int(network.config.patch_size)
        config[TOKENS] = (shape[1] // patch) * (shape[2] // patch)
    return dataclasses.replace(declared, sampler=dataclasses.replace(declared.sampler, config=config))


def _updated(declared: DeclaredScheduler, kind: Kind) -> tuple[DeclaredScheduler, tuple[str, ...]]:
    """Stable Diffusion's pipeline changes two settings of older files."""
    config = dict(declared.sampler.config)
    wrong = {name: value for name, value in OUTDATED.items() if config.get(name, value) != value}
    if not wrong:
        return declared, ()
    sampler = dataclasses.replace(declared.sampler, config={**config, **wrong})
    sampled_by = dataclasses.replace(declared.sampled_by, config={**declared.sampled_by.config, **wrong})
    said = ", ".join(f"{name} {config[name]} as {value}" for name, value in wrong.items())
    return dataclasses.replace(declared, sampler=sampler, sampled_by=sampled_by), (
        f"the scheduler's {said}, as {kind.name} takes it",
    )
