"""The noise schedule that a declaration means: a name, an array, a file of either, or EDM's grid of noise levels."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffeval.checkpoints.declaration import Declaration, Edm
from diffeval.checkpoints.scheduler_config import read_scheduler, scheduler_file
from diffeval.diffusion.schedule import NoiseSchedule, check_timesteps, from_alpha_bar, from_betas, named_schedule
from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular

TIMESTEPS = 1000
# Of Karras et al. 2022, eq. 5.
RHO = 7.0


def declared_schedule(declaration: Declaration, edm: Edm | None) -> tuple[NoiseSchedule, tuple[str, ...]]:
    """The schedule, and what had to be assumed.

    Raises:
        DiffevalError: if none is declared, more than one, or it is no schedule.
    """
    names = ("schedule", "alpha_bar", "betas")
    given = [name for name in names if getattr(declaration, name) is not None]
    if len(given) > 1:
        raise DiffevalError(f"checkpoint: {' and '.join(given)} are declared; one of them tells the noise schedule")
    timesteps = declaration.timesteps or TIMESTEPS
    if declaration.alpha_bar is not None:
        return _of_length(from_alpha_bar(declaration.alpha_bar), declaration), ()
    if declaration.betas is not None:
        return _of_length(from_betas(declaration.betas), declaration), ()
    if isinstance(declaration.schedule, NoiseSchedule):
        return declaration.schedule, ()
    if declaration.schedule is not None:
        return _from_text(declaration.schedule, declaration)
    if edm is None:
        raise DiffevalError(
            "checkpoint: the noise schedule is declared nowhere; give --schedule, e.g. linear with --timesteps 1000"
        )
    return from_alpha_bar(1.0 / (1.0 + karras_grid(edm.sigma_min, edm.sigma_max, timesteps) ** 2), "karras"), ()


def karras_grid(sigma_min: float, sigma_max: float, count: int) -> npt.NDArray[np.float64]:
    """Noise levels from the least to the largest, float64 [count].

    Source: Karras et al. 2022, eq. 5, with rho = 7.
    """
    check_timesteps(count)
    ends = np.array([sigma_min, sigma_max]) ** (1.0 / RHO)
    grid: npt.NDArray[np.float64] = np.linspace(ends[0], ends[1], count) ** RHO
    return grid


def _of_length(schedule: NoiseSchedule, declaration: Declaration) -> NoiseSchedule:
    if declaration.timesteps not in (None, schedule.timesteps):
        raise DiffevalError(
            f"checkpoint: {declaration.timesteps} timesteps are declared, and an array of {schedule.timesteps}; "
            f"leave timesteps out"
        )
    return schedule


def _from_text(text: str, declaration: Declaration) -> tuple[NoiseSchedule, tuple[str, ...]]:
    """A name, an ``.npy`` file with alpha-bar, or a scheduler's configuration."""
    path = Path(text)
    from_file: NoiseSchedule | None = None
    if path.suffix == ".npy":
        from_file = from_alpha_bar(_read_array(path))
    elif scheduler_file(path) is not None:
        from_file = read_scheduler(path).schedule
    if from_file is not None:
        if declaration.zero_snr:
            raise DiffevalError(f"checkpoint: zero terminal SNR is asked for, but {text} tells the schedule in full")
        return from_file, ()
    schedule = named_schedule(text, declaration.timesteps or TIMESTEPS, zero_snr=declaration.zero_snr)
    said = f"the number of timesteps is not declared: {TIMESTEPS} is assumed (--timesteps)"
    return schedule, () if declaration.timesteps is not None else (said,)


def _read_array(path: Path) -> Any:
    try:
        array = np.load(regular(path), allow_pickle=False, mmap_mode="r")
    except Exception as error:  # numpy names no base for what damaged headers raise
        reason = " ".join(str(error).split())[:200]
        raise DiffevalError(f"checkpoint: cannot read the noise schedule in {path}: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise DiffevalError(f"checkpoint: {path} is an archive, needs one array of alpha-bar, as np.save writes it")
    if array.dtype.kind != "f":
        raise DiffevalError(f"checkpoint: {path} holds {array.dtype}, needs alpha-bar as floating-point numbers")
    return array
