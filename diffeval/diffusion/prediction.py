"""What a network predicts, and the target that this makes of (x_0, eps, t)."""

from typing import Literal, get_args

import torch
from diffusers import DDPMScheduler

PredictionType = Literal["epsilon", "sample", "v_prediction"]
PREDICTION_TYPES: tuple[PredictionType, ...] = get_args(PredictionType)


def training_target(
    prediction: PredictionType, scheduler: DDPMScheduler, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """The tensor that the network should output at x_t, of x_0's shape.

    ``epsilon``: the noise. ``sample``: x_0. ``v_prediction``: sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0.

    Source: Ho et al. 2020, eq. 14; Salimans and Ho 2022, appendix D; diffusers' ``get_velocity``.
    """
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return x0
    velocity: torch.Tensor = scheduler.get_velocity(x0, noise, t)
    return velocity
