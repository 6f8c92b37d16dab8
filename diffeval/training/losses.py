"""The training loss, per image, and what it says by timestep."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel

from diffeval.diffusion.prediction import PredictionType, training_target
from diffeval.diffusion.sampling import DTYPES
from diffeval.errors import DiffevalError
from diffeval.training.batches import Batch

BUCKETS = 10


@dataclass(frozen=True, slots=True)
class Objective:
    """Mean squared error of the network's prediction.

    Attributes:
        scheduler: holds the noise schedule.
        prediction: what the network predicts.
        device: where the network is.
        dtype: of the forward pass, by autocast.
    """

    scheduler: DDPMScheduler
    prediction: PredictionType
    device: torch.device
    dtype: str

    def per_image(self, network: UNet2DModel, batch: Batch) -> torch.Tensor:
        """Mean squared error of each image, float32 [b]."""
        xt = self.scheduler.add_noise(batch.x0, batch.noise, batch.t)
        with self._autocast():
            output = network(xt, batch.t, class_labels=batch.condition).sample
        target = training_target(self.prediction, self.scheduler, batch.x0, batch.noise, batch.t)
        errors: torch.Tensor = (output.float() - target).square().flatten(1).mean(dim=1)
        return errors

    def _autocast(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.dtype == "fp32" else torch.autocast(self.device.type, DTYPES[self.dtype])


def gradient_norm(network: torch.nn.Module) -> float:
    """Euclidean norm over all gradients."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def probe(network: UNet2DModel, objective: Objective, batch: Batch) -> tuple[list[float], list[float]]:
    """Loss and gradient norm in each timestep bucket of a probe batch; the weights and their gradients are left alone.

    Args:
        network: in training.
        objective: its loss.
        batch: from ``Batches.probe`` with ``BUCKETS`` buckets.
    """
    losses, norms = [], []
    for part in _split(batch, BUCKETS):
        network.zero_grad(set_to_none=True)
        loss = objective.per_image(network, part).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        norms.append(gradient_norm(network))
    network.zero_grad(set_to_none=True)
    return losses, norms


def _split(batch: Batch, parts: int) -> list[Batch]:
    pieces = zip(batch.x0.chunk(parts), batch.noise.chunk(parts), batch.t.chunk(parts), strict=True)
    conditions = [None] * parts if batch.condition is None else list(batch.condition.chunk(parts))
    return [Batch(*piece, condition) for piece, condition in zip(pieces, conditions, strict=True)]


def require_finite(
    step: int, errors: torch.Tensor, batch: Batch, timesteps: int, grad_norm: float, recent: Callable[[], str]
) -> None:
    """Stops a run whose loss or gradient is no number, naming step, bucket and the likely cause.

    Raises:
        DiffevalError: if anything is not finite.
    """
    bad = ~torch.isfinite(errors)
    if not bool(bad.any()) and math.isfinite(grad_norm):
        return
    if not bool(torch.isfinite(batch.x0).all()):
        cause = "the images themselves are not finite"
    elif bool(bad.any()) and not bool(bad.all()):
        buckets = sorted({int(t) * BUCKETS // timesteps for t in batch.t[bad].tolist()})
        width = timesteps // BUCKETS
        where = ", ".join(f"{bucket * width}-{(bucket + 1) * width - 1}" for bucket in buckets)
        cause = (
            f"only timesteps {where} are affected, so look at the ends of the noise schedule and the prediction type"
        )
    else:
        cause = (
            f"every timestep is affected, so the weights have diverged ({recent()}); lower --lr, or use --dtype fp32"
        )
    what = "loss" if bool(bad.any()) else "gradient norm"
    raise DiffevalError(f"train: the {what} is not finite at step {step}: {cause}")
