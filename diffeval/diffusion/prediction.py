"""What a network predicts, and the target that this makes of (x_0, eps, t)."""

import math
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


def predicted_clean(
    prediction: PredictionType, alpha_bar: float, x: torch.Tensor, output: torch.Tensor
) -> torch.Tensor:
    """The clean image x_0 that a prediction at x_t stands for, of x's shape.

    An epsilon prediction is divided by sqrt(alpha_bar), its error with it.

    Args:
        prediction: what ``output`` is.
        alpha_bar: signal power at t, above 0 for ``epsilon``.
        x: x_t in the variance-preserving scale.
        output: the network's.
    """
    signal, noise = math.sqrt(alpha_bar), math.sqrt(1.0 - alpha_bar)
    if prediction == "epsilon":
        return (x - noise * output) / signal
    return output if prediction == "sample" else signal * x - noise * output
