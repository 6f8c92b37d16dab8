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

from diffeval.diffusion.schedule import NoiseSchedule, from_alpha_bar
from diffeval.errors import DiffevalError

SCHEDULER, NAME = "FlowMatchEulerDiscreteScheduler", "flow"
# velocity(x, time): time is sigma times T, as these networks take it.
Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def flow_schedule(timesteps: int = 1000) -> NoiseSchedule:
    """Alpha-bar of a flow at sigma = 1/T, 2/T, ... 1; the last one is pure noise."""
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


class FlowScheduler:
    """diffusers' Euler scheduler of flows, told x_0 at the timesteps of ``flow_schedule``.

    Args:
        config: of the scheduler, as its file has it.
        steps: of the sampler.

    Raises:
        DiffevalError: for a shift that depends on the size of the images, which a pipeline computes by itself.
    """

    init_noise_sigma = 1.0

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        if config.get("use_dynamic_shifting"):
            raise DiffevalError(f"sampler: {SCHEDULER} with use_dynamic_shifting is not sampled by this version")
        known = {key: value for key, value in config.items() if not key.startswith("_")}
        self._inner = FlowMatchEulerDiscreteScheduler.from_config(known)
        self._inner.set_timesteps(steps)
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
