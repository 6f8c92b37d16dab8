"""The digits model, and one whose answers are known: every pixel is N(0, S^2)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint, identity, load
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource, open_source
from diffeval.diffusion.samplers import named_sampler
from diffeval.diffusion.schedule import NoiseSchedule, named_schedule

S = 0.25


@pytest.fixture(scope="session")
def digits() -> Checkpoint:
    return load("digits")


@pytest.fixture(scope="session")
def digit_images() -> ImageSource:
    return open_source("digits")


@pytest.fixture(scope="session")
def gaussian() -> Callable[..., Checkpoint]:
    """Makes a checkpoint that predicts exactly, on any noise schedule."""

    def make(schedule: NoiseSchedule | None = None, sampler: str = "ddim", steps: int = 100) -> Checkpoint:
        schedule = schedule or named_schedule("linear")
        alpha_bar = torch.tensor(schedule.alpha_bar)

        def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
            a = alpha_bar[t.long()].reshape(-1, 1, 1, 1)
            return (1 - a).sqrt() * x / (a * S**2 + 1 - a)

        return Checkpoint(
            name="gaussian", path=Path("gaussian"), sha256="0" * 64, network=torch.nn.Identity(), denoiser=denoise,
            raw=None, schedule=schedule, prediction="epsilon", shape=(1, 8, 8), value_range=(-1.0, 1.0), classes=(),
            null_class=None, decode=identity, sampler=named_sampler(sampler, schedule, "epsilon", bounded=False),
            steps=steps, reference=None,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def gaussian_images() -> ImageSource:
    """4,096 images of the very distribution, rounded to levels; none is clipped within four deviations."""
    x = S * np.random.Generator(np.random.Philox(0)).standard_normal((4096, 1, 8, 8))
    levels = np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.uint8)
    return ImageSource("made-up", "all", InMemory(levels))
