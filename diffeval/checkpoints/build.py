"""From a network and its declaration, with what the user overrides, to a Checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffeval.checkpoints.adapt import Adapter
from diffeval.checkpoints.checkpoint import Checkpoint, identity
from diffeval.checkpoints.declaration import TIME_NAMES, UNIT_RANGE, Declaration, Edm, parse_preconditioning
from diffeval.checkpoints.options import LoadOptions, flag
from diffeval.checkpoints.overrides import changes_of, count_of, identity_of, overridden
from diffeval.checkpoints.room import free_memory
from diffeval.checkpoints.scheduler_config import SamplingScheduler
from diffeval.checkpoints.schedules import declared_schedule
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.prediction import PREDICTION_TYPES, PredictionType
from diffeval.diffusion.samplers import Sampler, named_sampler
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean
from diffeval.usercode import one_line


@dataclass(frozen=True, slots=True)
class Found:
    """What a loader found on disk.

    Attributes:
        name: of the checkpoint.
        path: where it lies.
        sha256: over what defines it, options apart.
        network: in eval mode, on the CPU.
        raw: loads the weights without averaging, or None.
        weights: which weights the network has, in words.
        declaration: as the files or the factory have it.
        embeddings: size of the network's table of classes, the null class counted; None if that is unknown.
        reference_hash: of the training data, or None.
        assumptions: what the loader had to assume.
        sampled_by: the scheduler that lies beside the weights; None without.
        training_step: optimiser steps behind the weights; None where nothing says so.
    """

    name: str
    path: Path
    sha256: str
    network: torch.nn.Module
    raw: Callable[[], torch.nn.Module] | None
    weights: str
    declaration: Declaration
    embeddings: int | None = None
    reference_hash: str | None = None
    assumptions: tuple[str, ...] = ()
    sampled_by: SamplingScheduler | None = None
    training_step: int | None = None


@dataclass(frozen=True, slots=True)
class _Meaning:
    """A declaration with nothing left open."""

    shape: tuple[int, int, int]
    schedule: NoiseSchedule
    prediction: PredictionType
    value_range: tuple[float, float]
    edm: Edm | None
    classes: tuple[str, ...]
    conditions: tuple[int, ...]
    assumptions: tuple[str, ...]


def build(found: Found, options: LoadOptions) -> Checkpoint:
    """The checkpoint; its network is called once, on zeros.

    Raises:
        DiffevalError: if something needed is declared nowhere, contradicts itself, or does not fit the network.
    """
    declaration = overridden(found.declaration, options, found.embeddings)
    meaning = _meaning(declaration)
    changes = changes_of(found.declaration, declaration)
    adapter = Adapter(
        schedule=meaning.schedule,
        time=declaration.time or "step",
        edm=meaning.edm,
        conditions=meaning.conditions,
        channels=meaning.shape[0],
        learned_variance=declaration.learned_variance,
        call=declaration.call,
    )
    denoiser = adapter(found.network)
    _try_out(denoiser, meaning, found.name)
    sampler, steps = _sampler(declaration, meaning)
    has_null = len(meaning.conditions) > len(meaning.classes)
    return Checkpoint(
        name=found.name,
        path=found.path,
        sha256=identity_of(found.sha256, changes),
        network=found.network,
        denoiser=denoiser,
        raw=found.raw,
        schedule=meaning.schedule,
        prediction=meaning.prediction,
        shape=meaning.shape,
        value_range=meaning.value_range,
        classes=meaning.classes,
        null_class=len(meaning.classes) if has_null else None,
        decode=identity if meaning.value_range == UNIT_RANGE else _to_unit_range(meaning.value_range),
        sampler=sampler,
        steps=steps,
        reference=declaration.reference,
        reference_hash=found.reference_hash,
        assumptions=(*found.assumptions, *meaning.assumptions),
        adapter=adapter,
        weights=found.weights,
        overrides=tuple(f"{flag(name)} {value}" for name, value in changes.items()),
        sampled_by=found.sampled_by,
        training_step=found.training_step,
    )


def _meaning(declaration: Declaration) -> _Meaning:
    """The declaration with its gaps filled, and said."""
    said: list[str] = []

    def assumed(value: Any, default: Any, text: str) -> Any:
        if value is not None:
            return value
        said.append(text)
        return default

    if declaration.shape is None:
        raise DiffevalError("checkpoint: the shape of the images is declared nowhere; give --shape, e.g. 3,32,32")
    edm = parse_preconditioning(declaration.preconditioning)
    if edm is not None and declaration.time is not None:
        raise DiffevalError(f"checkpoint: time is {declaration.time!r}, but preconditioning sets it; leave time out")
    if edm is not None and declaration.prediction not in (None, "sample"):
        raise DiffevalError(
            f"checkpoint: prediction is {declaration.prediction!r}, but preconditioning makes it sample; leave it out"
        )
    schedule, schedule_said = declared_schedule(declaration, edm)
    said += schedule_said
    prediction = "sample" if edm else declaration.prediction
    prediction = assumed(
        prediction, "epsilon", "the prediction type is not declared: epsilon is assumed (--prediction)"
    )
    if prediction not in PREDICTION_TYPES:
        raise DiffevalError(
            f"checkpoint: unknown prediction type {prediction!r};{did_you_mean(str(prediction), PREDICTION_TYPES)}"
        )
    if edm is None:
        time = assumed(declaration.time, "step", "the time input is not declared: the timestep is assumed (--time)")
        if not callable(time) and time not in TIME_NAMES:
            raise DiffevalError(f"checkpoint: unknown time input {time!r};{did_you_mean(str(time), TIME_NAMES)}")
    low, high = assumed(
        declaration.value_range, UNIT_RANGE, "the value range is not declared: -1 to 1 is assumed (--value-range)"
    )
    if not -np.inf < low < high < np.inf:
        raise DiffevalError(f"checkpoint: the value range {low:g} to {high:g} is none; the first must be the smaller")
    if len(declaration.shape) != 3 or min(declaration.shape) < 1:
        raise DiffevalError(f"checkpoint: the shape {declaration.shape} is none; it is (C, H, W), e.g. 3,32,32")
    classes, conditions = _classes(declaration)
    return _Meaning(
        shape=(int(declaration.shape[0]), int(declaration.shape[1]), int(declaration.shape[2])),
        schedule=schedule,
        prediction=prediction,
        value_range=(float(low), float(high)),
        edm=edm,
        classes=classes,
        conditions=conditions,
        assumptions=tuple(said),
    )


def _classes(declaration: Declaration) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names, and the numbers that the network takes for them, that of the null class last."""
    count, null = count_of(declaration.classes), declaration.null_class
    if count < 0:
        raise DiffevalError(f"checkpoint: {count} classes are declared; 0 means an unconditional model")
    if count == 0:
        if null is not None:
            raise DiffevalError(f"checkpoint: null class {null}, but the model has no classes; give --classes, too")
        return (), ()
    numbers = [number for number in range(count + 1) if number != null][:count]
    names = map(str, numbers) if isinstance(declaration.classes, int) else declaration.classes
    return tuple(names), (*numbers, *(() if null is None else (null,)))


def _sampler(declaration: Declaration, meaning: _Meaning) -> tuple[Sampler | None, int | None]:
    sampler, bounded = declaration.sampler, meaning.value_range == UNIT_RANGE
    if isinstance(sampler, str):
        sampler = named_sampler(
            sampler, meaning.schedule, meaning.prediction, eta=declaration.eta, bounded=bounded and meaning.edm is None
        )
    if sampler is None and declaration.steps is not None:
        raise DiffevalError(f"checkpoint: {declaration.steps} steps are declared, but no sampler; declare both")
    steps = declaration.steps or (sampler.default_steps if sampler is not None else None)
    return sampler, None if steps is None else min(steps, meaning.schedule.timesteps)


def _to_unit_range(value_range: tuple[float, float]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Decoder of a model whose data lay in another range."""
    low, high = value_range

    def decode(x: torch.Tensor) -> torch.Tensor:
        return (x - low) / (high - low) * 2.0 - 1.0

    return decode


@torch.inference_mode()
def _try_out(denoiser: Denoiser, meaning: _Meaning, name: str) -> None:
    """One call on zeros: a network that wants other shapes, times or classes says so now, not after an hour."""
    needed = 2 * 4 * meaning.shape[0] * meaning.shape[1] * meaning.shape[2]
    if needed > free_memory():
        raise DiffevalError(
            f"checkpoint: two images of {'x'.join(map(str, meaning.shape))} take {needed / 1e9:.3g} GB, which are "
            f"not free; see --shape"
        )
    t = torch.tensor(meaning.schedule.timesteps // 2)
    condition = torch.zeros(2, dtype=torch.int64) if meaning.classes else None
    try:
        x = torch.zeros(2, *meaning.shape)
        denoiser(x, t, condition)
    except DiffevalError:
        raise
    except Exception as error:
        raise DiffevalError(
            f"checkpoint: the network of {name} fails on a batch {[2, *meaning.shape]} at timestep {int(t)}: "
            f"{one_line(error)}; see --shape, --time and --classes, or declare call="
        ) from error
