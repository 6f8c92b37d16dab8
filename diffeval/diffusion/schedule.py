"""Noise schedules: the beta array that a model was trained with, and the curves that follow from it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDPMScheduler

from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean

ScheduleName = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
SCHEDULE_NAMES: tuple[ScheduleName, ...] = get_args(ScheduleName)
# Timesteps beyond this are a slip: float32 could not tell their noise levels apart.
MOST_TIMESTEPS = 100_000


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """A discrete variance-preserving noise schedule, x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps.

    Attributes:
        name: diffusers' name, or ``custom`` for an array without one.
        betas: beta at each timestep, in (0, 1], float32 values as the samplers take them.
    """

    name: str
    betas: tuple[float, ...]

    @property
    def timesteps(self) -> int:
        """T, the number of training timesteps."""
        return len(self.betas)

    @property
    def alpha_bar(self) -> npt.NDArray[np.float32]:
        """Signal power at each timestep, float32 [T] in [0, 1], decreasing: the cumulative product of 1 - beta."""
        return torch.cumprod(1.0 - torch.tensor(self.betas, dtype=torch.float32), dim=0).numpy()

    @property
    def log_snr(self) -> npt.NDArray[np.float64]:
        """lambda(t) = log(alpha_bar / (1 - alpha_bar)); minus infinity where no signal is left."""
        alpha_bar = self.alpha_bar.astype(np.float64)
        with np.errstate(divide="ignore"):
            return np.log(alpha_bar) - np.log1p(-alpha_bar)

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether the last timestep is pure noise."""
        return bool(self.alpha_bar[-1] == 0.0)

    def sha256(self) -> str:
        """Over the beta array in float32."""
        return hashlib.sha256(np.asarray(self.betas, dtype=np.float32).tobytes()).hexdigest()


def check_timesteps(timesteps: int) -> None:
    """Refuses a number of timesteps that no schedule has; before anything of that length is made.

    Raises:
        DiffevalError: for fewer than two, or more than any model is trained with.
    """
    if timesteps < 2:
        raise DiffevalError(f"noise schedule: {timesteps} timesteps, needs at least 2; raise --timesteps")
    if timesteps > MOST_TIMESTEPS:
        raise DiffevalError(f"noise schedule: {timesteps} timesteps, at most {MOST_TIMESTEPS:,}; lower --timesteps")


def from_betas(betas: Sequence[float], name: str = "custom") -> NoiseSchedule:
    """A noise schedule from a beta array.

    Raises:
        DiffevalError: if a beta lies outside (0, 1], or 1 stands anywhere but at the end.
    """
    array = np.asarray(betas, dtype=np.float32)
    if array.ndim != 1 or len(array) < 2:
        raise DiffevalError(f"noise schedule: betas have shape {array.shape}, a schedule needs a row of at least 2")
    bad = ~((array > 0) & (array <= 1)) | ((array == 1) & (np.arange(len(array)) < len(array) - 1))
    if bad.any():
        at = int(np.argmax(bad))
        raise DiffevalError(
            f"noise schedule: beta[{at}] = {array[at]:g}, must be in (0, 1), or 1 at the last timestep"
        )
    return NoiseSchedule(name, tuple(float(beta) for beta in array))


def from_alpha_bar(alpha_bar: Sequence[float] | npt.NDArray[np.floating], name: str = "custom") -> NoiseSchedule:
    """A noise schedule from its signal power at each timestep.

    The betas are float32, as the samplers take them; each makes good the rounding of those before it, so that the
    product stays within one rounding (6e-8, relative) of what was asked for, however long the schedule.

    Args:
        alpha_bar: [T], strictly decreasing, in (0, 1); the last may be 0.
        name: to remember it by.

    Raises:
        DiffevalError: for an array that is not such, with the first bad index.
    """
    array = np.asarray(alpha_bar, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise DiffevalError(f"noise schedule: alpha_bar has shape {array.shape}, a schedule needs a row of at least 2")
    check_timesteps(len(array))
    last = np.arange(len(array)) == len(array) - 1
    outside = ~((array > 0) & (array < 1)) & ~((array == 0) & last)
    if outside.any():
        at = int(np.argmax(outside))
        raise DiffevalError(
            f"noise schedule: alpha_bar[{at}] = {array[at]:g}, must be in (0, 1), or 0 at the last timestep"
        )
    rising = np.diff(array) >= 0
    if rising.any():
        at = int(np.argmax(rising)) + 1
        raise DiffevalError(
            f"noise schedule: alpha_bar[{at}] = {array[at]:g} is not below alpha_bar[{at - 1}] = {array[at - 1]:g}; "
            f"it must fall from the first timestep to the last"
        )
    betas, product = [], 1.0
    for at, wanted in enumerate(array):
        beta = np.float32(1.0 - wanted / product)
        factor = np.float32(1.0) - beta
        if not (beta > 0 and factor < 1):
            near = "the one before" if at else "1"
            raise DiffevalError(
                f"noise schedule: alpha_bar[{at}] = {array[at]:.9g} lies too near {near} for float32, in which "
                f"samplers work; use fewer timesteps, or more noise at the first"
            )
        betas.append(float(beta))
        product *= float(factor)
    return from_betas(betas, name)


def named_schedule(name: str, timesteps: int = 1000, *, zero_snr: bool = False) -> NoiseSchedule:
    """One of diffusers' schedules with its default end points, rescaled to zero terminal SNR if asked.

    Raises:
        DiffevalError: for an unknown name or fewer than two timesteps.
    """
    if name not in SCHEDULE_NAMES:
        raise DiffevalError(f"noise schedule: unknown schedule {name!r};{did_you_mean(name, SCHEDULE_NAMES)}")
    check_timesteps(timesteps)
    scheduler = DDPMScheduler(
        num_train_timesteps=timesteps,
        beta_schedule=name,
        rescale_betas_zero_snr=zero_snr,
    )
    return from_betas(scheduler.betas.tolist(), name)
