"""What a diffusers scheduler's configuration declares: noise schedule, prediction type, sampler."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers

from diffeval.diffusion.flow import SCHEDULER as FLOW
from diffeval.diffusion.flow import flow_schedule
from diffeval.diffusion.prediction import PREDICTION_TYPES, PredictionType
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import NoiseSchedule, check_timesteps, from_betas
from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular

FILE = "scheduler_config.json"

# Of the noise schedule and the prediction type, which are the checkpoint's, not the sampler's.
_SCHEDULE_KEYS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "rescale_betas_zero_snr")
_NOT_SAMPLER = {*_SCHEDULE_KEYS, "trained_betas", "prediction_type"}


@dataclass(frozen=True, slots=True)
class SamplingScheduler:
    """A scheduler as whoever samples makes it: its class, from a configuration that another class may have saved.

    Attributes:
        name: of the class that samples.
        config: the file's contents.
        file: where it lies.
    """

    name: str
    config: Mapping[str, Any]
    file: Path

    @property
    def id(self) -> str:
        """Class, and sha256 over the configuration, shortened."""
        text = json.dumps(self.config, sort_keys=True, default=str)
        return f"{self.name}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def build(self, **changes: Any) -> Any:
        """The scheduler, by diffusers' own ``from_config``, which leaves out what the class does not take."""
        return getattr(diffusers, self.name).from_config(dict(self.config), **changes)


@dataclass(frozen=True, slots=True)
class DeclaredScheduler:
    """What the scheduler's configuration says."""

    schedule: NoiseSchedule
    prediction: PredictionType
    sampler: Sampler
    sampled_by: SamplingScheduler


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DiffevalError: if the file holds none.
    """
    try:
        data = json.loads(regular(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DiffevalError(f"checkpoint: cannot read {path}: {error}; is this a diffusers folder?") from error
    if not isinstance(data, dict):
        raise DiffevalError(f"checkpoint: {path} holds no JSON object; is this a diffusers folder?")
    return data


def scheduler_file(path: Path) -> Path | None:
    """The configuration that a path means: the file itself, or the one in a folder; None if it is neither."""
    if path.is_file() and path.suffix == ".json":
        return path
    for inside in (path / FILE, path / "scheduler" / FILE):
        if inside.is_file():
            return inside
    return None


def read_sampling_scheduler(path: Path) -> SamplingScheduler:
    """The scheduler of a configuration.

    Raises:
        DiffevalError: if there is none, or diffusers has no such class.
    """
    file = scheduler_file(path)
    if file is None:
        raise DiffevalError(f"checkpoint: {path} is no {FILE}, nor a folder with one; give the sampler's own")
    config = read_json(file)
    name = str(config.get("_class_name", ""))
    if not hasattr(getattr(diffusers, name, None), "set_timesteps"):
        raise DiffevalError(
            f"checkpoint: {file} is of a {name or 'nameless class'}, which diffusers {diffusers.__version__} does not "
            f"know as a scheduler"
        )
    return SamplingScheduler(name, config, file)


def read_scheduler(path: Path, sampled_by: str | None = None) -> DeclaredScheduler:
    """Reads a configuration.

    Args:
        path: what ``scheduler_file`` takes.
        sampled_by: the scheduler class that the pipeline uses, if it is not the one that the file names.

    Raises:
        DiffevalError: if there is none, or it describes no schedule of betas.
    """
    file = scheduler_file(path)
    if file is None:
        raise DiffevalError(f"checkpoint: {path} holds no {FILE}")
    config = read_json(file)
    name = str(config.get("_class_name", ""))
    if (sampled_by or name) == FLOW:
        return _flow(config, file)
    kind = getattr(diffusers, name, None)
    parameters = inspect.signature(kind).parameters if isinstance(kind, type) else {}
    if "beta_schedule" not in parameters:
        raise DiffevalError(
            f"checkpoint: {file} is of a {name or 'nameless scheduler'}, which has no betas; this version reads noise "
            f"schedules of betas only; give --schedule in its place"
        )
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        raise DiffevalError(f"checkpoint: {file} says prediction_type {prediction!r}; known: {PREDICTION_TYPES}")
    defaults = {key: parameters[key].default for key in _SCHEDULE_KEYS if key in parameters}
    schedule = _schedule({**defaults, **config}, file)
    # diffusers, too, drops what the saving class had only by default when it builds another class.
    by_default = set(config.get("_use_default_values", ())) if sampled_by not in (None, name) else set()
    shown = {
        key: value
        for key, value in config.items()
        if not key.startswith("_") and key not in _NOT_SAMPLER and key not in by_default
    }
    used = sampled_by or name
    sampler = Sampler("declared", used, shown, default_steps=1000 if used == "DDPMScheduler" else 50)
    return DeclaredScheduler(schedule, prediction, sampler, SamplingScheduler(used, config, file))


def _flow(config: Mapping[str, Any], file: Path) -> DeclaredScheduler:
    """Of a flow, whose curve is always the same; the shift is the sampler's."""
    shown = {key: value for key, value in config.items() if not key.startswith("_")}
    sampler = Sampler("declared", FLOW, shown, default_steps=28)
    schedule = flow_schedule(_timesteps(config.get("num_train_timesteps", 1000), file))
    return DeclaredScheduler(schedule, "sample", sampler, SamplingScheduler(FLOW, config, file))


def _schedule(config: dict[str, Any], path: Path) -> NoiseSchedule:
    """The schedule as the configuration describes it, through diffusers' own arithmetic."""
    _timesteps(config.get("num_train_timesteps", 1000), path)
    try:
        keys = (*_SCHEDULE_KEYS, "trained_betas")
        scheduler = diffusers.DDPMScheduler(**{key: config[key] for key in keys if key in config})
        if not scheduler.betas.dim():
            raise ValueError("its betas are a single number")
    except Exception as error:  # diffusers looks at none of these, so that anything can go wrong
        raise DiffevalError(f"checkpoint: {path} describes no noise schedule: {str(error)[:120]}") from error
    name = "custom" if config.get("trained_betas") is not None else str(config.get("beta_schedule", "linear"))
    return from_betas(scheduler.betas.tolist(), name)


def _timesteps(value: object, path: Path) -> int:
    """T, before arrays of that length are made."""
    if type(value) is not int:
        raise DiffevalError(f"checkpoint: {path} says num_train_timesteps {value!r}, needs a whole number")
    check_timesteps(value)
    return value
