"""Flow models as what all else here works with: a variance-preserving schedule and predictions of x_0.

A flow mixes x = (1 - sigma) x_0 + sigma eps, and its network gives the velocity v = eps - x_0. Divided by the root of
(1 - sigma)^2 + sigma^2 that x is a variance-preserving one, and x_0 = x - sigma v: nothing is approximated. Timestep t
of the schedule is sigma = (t + 1) / T.

Source: Lipman et al. 2023; Esser et al. 2024 (Stable Diffusion 3).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from diffeval.diffusion.schedule import NoiseSchedule, check_timesteps, from_alpha_bar
from diffeval.errors import DiffevalError

SCHEDULER, NAME = "FlowMatchEulerDiscreteScheduler", "flow"
# What a pipeline of flows knows beside the scheduler's file.
TOKENS, EVEN = "image_tokens", "even_sigmas"
# velocity(x, time): time is sigma times T, as these networks take it.
Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def flow_schedule(timesteps: int = 1000) -> NoiseSchedule:
    """Alpha-bar of a flow at sigma = 1/T, 2/T, ... 1; the last one is pure noise."""
    check_timesteps(timesteps)
    sigma = np.arange(1, timesteps + 1) / timesteps
    return from_alpha_bar((1 - sigma) ** 2 / ((1 - sigma) ** 2 + sigma**2), NAME)


def spread(sigma: torch.Tensor) -> torch.Tensor:
    """What the flow's x is longer than the variance-preserving one, for data of variance 1."""
    return ((1.0 - sigma) ** 2 + sigma**2).sqrt()


def clean(velocity: Velocity, x: torch.Tensor, t: torch.Tensor, timesteps: int) -> torch.Tensor:
    """x_0 as the velocity at a variance-preserving x [b, C, H, W] and timestep t [b] has it."""
    sigma = (t.float() + 1.0) / timesteps
    wide = sigma.view(-1, 1, 1, 1)
    mixed = x * spread(wide)
    return mixed - wide * velocity(mixed, sigma * timesteps)


def dynamic_shift(config: Mapping[str, Any], tokens: int) -> float:
    """Mu, the log of the shift, linear in the number of the image's tokens.

    Source: Esser et al. 2024, section 5.3.2, as diffusers' pipelines of flows have it; agrees with them exactly.
    """
    few, many = float(config.get("base_image_seq_len", 256)), float(config.get("max_image_seq_len", 4096))
    low, high = float(config.get("base_shift", 0.5)), float(config.get("max_shift", 1.15))
    return low + (high - low) * (tokens - few) / (many - few)


class FlowScheduler:
    """diffusers' Euler scheduler of flows, told x_0 at the timesteps of ``flow_schedule``.

    Args:
        config: of the scheduler, as its file has it; and what a pipeline says beside it: ``image_tokens``, on which a
            dynamic shift depends, and ``even_sigmas``, whether noise levels are 1, 1 - 1/steps, ... before the shift.
        steps: of the sampler.

    Raises:
        DiffevalError: for a dynamic shift without the number of tokens, and for noise of its own.
    """

    init_noise_sigma = 1.0

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        if config.get("stochastic_sampling"):
            raise DiffevalError(
                f"sampler: {SCHEDULER} with stochastic_sampling draws noise that could not belong to an image; switch "
                f"it off in scheduler_config.json"
            )
        more: dict[str, Any] = {}
        if config.get("use_dynamic_shifting"):
            if TOKENS not in config:
                raise DiffevalError(
                    f"sampler: {SCHEDULER} with use_dynamic_shifting shifts by the size of the images, which only a "
                    f"pipeline's folder says; give that"
                )
            more["mu"] = dynamic_shift(config, int(config[TOKENS]))
        if config.get(EVEN) and not config.get("use_flow_sigmas"):
            more["sigmas"] = np.linspace(1.0, 1.0 / steps, steps)
        known = {key: value for key, value in config.items() if not key.startswith("_") and key not in (TOKENS, EVEN)}
        self._inner = FlowMatchEulerDiscreteScheduler.from_config(known)
        self._inner.set_timesteps(steps, **more)
        self._total = int(self._inner.config.num_train_timesteps)
        self.timesteps = self._inner.timesteps - 1.0
        self.order = 1

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The variance-preserving x."""
        return sample / spread((timestep + 1.0) / self._total).to(sample.device)

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **options: Any
    ) -> tuple[torch.Tensor]:
        """One step from a predicted x_0; ``sample`` is the flow's own x."""
        sigma = float((timestep + 1.0) / self._total)
        velocity = (sample - model_output) / sigma
        return (self._inner.step(velocity, timestep + 1.0, sample, return_dict=False)[0],)
