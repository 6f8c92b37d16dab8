"""The scheduler that images are sampled with, as diffusers builds it, against the schedule of the training.

Configurations are not compared by name: "linear" in one code base is "scaled_linear" in another, and a class that is
built from another's configuration leaves out what it does not take, without a word. Both schedules are built, and
compared as curves lambda(t); and the scheduler is run (see ``pipeline``).
"""

import inspect
from collections.abc import Iterator
from typing import Any

import diffusers
import numpy as np

from diffeval.checkpoints.scheduler_config import SamplingScheduler
from diffeval.checks.pipeline import Limits, SamplerFault, walk_faults
from diffeval.diffusion.flow import NAME as FLOW
from diffeval.diffusion.prediction import PredictionType
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.metrics.metric import Array

# Timesteps between which curves are compared, as shares of all; and the level that counts as no signal at the end.
MIDDLE, NOTHING = (0.05, 0.95), -10.0
# Distances of the curves that warn and fail, and of their ends, in nats. The nearest two schedules that people take
# for each other, scaled_linear and linear between the same ends, are 0.73 apart; rounding stays below 0.02.
APART, ENDS = (0.05, 0.3), 1.0
# Half the log-SNR below which multistep solvers of DPM++ lose their order.
STEEP = -5.1


def sampling_faults(
    sampled_by: SamplingScheduler, schedule: NoiseSchedule, prediction: PredictionType, steps: int
) -> tuple[SamplerFault, ...]:
    """What is wrong with it, worst first.

    Args:
        sampled_by: the scheduler, from ``from_config``.
        schedule: that the network was trained with.
        prediction: what it predicts; that the sampler takes its output for that is ``prediction-type``'s to see.
        steps: to sample with.
    """
    name = sampled_by.name
    if name.startswith("FlowMatch"):
        if schedule.name == FLOW:
            return ()  # there is one flow, and its shift is the sampler's own
        return (
            SamplerFault("fail", f"{name} samples flows, which this network, declared {prediction}, is not", _REMEDY),
        )
    try:
        scheduler = sampled_by.build(prediction_type=prediction)
        scheduler.set_timesteps(min(steps, schedule.timesteps))
    except ImportError as error:
        return (_unseen(name, error),)
    except (NotImplementedError, TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        return (SamplerFault("fail", f"{name} cannot be built from {sampled_by.file}: {reason}", _REMEDY),)
    faults = [*_curve_faults(name, scheduler, schedule), *_dropped(sampled_by)]
    faults += _steep(name, scheduler, schedule)
    if not any(one.status == "fail" for one in faults):
        faults += _walk(sampled_by, schedule, prediction, steps)
    return tuple(sorted(faults, key=lambda one: one.status != "fail"))


_REMEDY = "sample with a scheduler made from the configuration that the network was trained with"


def _unseen(name: str, error: ImportError) -> SamplerFault:
    reason = " ".join(str(error).split())[:160]
    return SamplerFault("warn", f"{name} could not be looked at: {reason}", "install what it needs, and check again")


def curve_gap(mine: Array, other: Array) -> tuple[float, float]:
    """How far two schedules are apart in nats: root mean square over the middle timesteps of both, and at the last."""
    count = min(len(mine), len(other))
    part = slice(int(MIDDLE[0] * count), max(int(MIDDLE[1] * count), int(MIDDLE[0] * count) + 1))
    middle = float(np.sqrt(np.mean((mine[part] - other[part]) ** 2)))
    ends = [max(float(one[-1]), NOTHING) for one in (mine, other)]
    return middle, abs(ends[0] - ends[1])


def _curve_faults(name: str, scheduler: Any, schedule: NoiseSchedule) -> Iterator[SamplerFault]:
    alpha_bar = getattr(scheduler, "alphas_cumprod", None)
    if alpha_bar is None:
        return
    power = np.clip(np.asarray(alpha_bar, dtype=np.float64), 1e-30, 1.0 - 1e-9)
    told = np.log(power) - np.log1p(-power)
    middle, end = curve_gap(np.clip(schedule.log_snr, -69.0, None), told)
    values = {"declared_rms": middle, "declared_end": end}
    lengths = "" if len(told) == schedule.timesteps else f", with {len(told)} timesteps for {schedule.timesteps}"
    warn, fail = APART
    if middle >= warn:
        failed = middle >= fail
        yield SamplerFault(
            "fail" if failed else "warn",
            f"{name} samples along another noise schedule than the network's{lengths}: {middle:.2f} nats apart (limit "
            f"{fail if failed else warn:g})",
            "give the sampler num_train_timesteps, beta_schedule, beta_start and beta_end of the training",
            values,
        )
    elif end >= ENDS:
        yield SamplerFault(
            "fail",
            f"{name} ends its noise schedule {end:.1f} nats from where the network's ends (limit {ENDS:g})",
            "zero terminal SNR (rescale_betas_zero_snr) must hold in training and in sampling; use a scheduler that "
            "takes it, such as DDIMScheduler",
            values,
        )


def _dropped(sampled_by: SamplingScheduler) -> Iterator[SamplerFault]:
    """What the configuration sets, and the class that samples does not take."""
    taken = inspect.signature(getattr(diffusers, sampled_by.name)).parameters
    saver = getattr(diffusers, str(sampled_by.config.get("_class_name", "")), None)
    usual = inspect.signature(saver).parameters if isinstance(saver, type) else {}
    lost = {
        key: value
        for key, value in sampled_by.config.items()
        if not key.startswith("_") and key not in taken and key in usual and value != usual[key].default
    }
    if lost:
        named = ", ".join(f"{key}={value!r}" for key, value in lost.items())
        yield SamplerFault(
            "warn",
            f"{sampled_by.name} does not take {named}, which {sampled_by.file.name} sets: it is left out in silence",
            f"sample with {sampled_by.config['_class_name']}, or see that nothing depends on it",
        )


def _steep(name: str, scheduler: Any, schedule: NoiseSchedule) -> Iterator[SamplerFault]:
    if not name.startswith("DPMSolver") or scheduler.config.get("lambda_min_clipped", 0.0) > STEEP:
        return
    first = float(scheduler.timesteps[0])
    half = float(np.interp(first, np.arange(schedule.timesteps), np.clip(schedule.log_snr, -69.0, None))) / 2.0
    if half < STEEP:
        yield SamplerFault(
            "warn",
            f"{name} starts at log(alpha / sigma) = {half:.1f}, below {STEEP:g}, where its order breaks down",
            f"set lambda_min_clipped={STEEP:g}",
        )


def _walk(
    sampled_by: SamplingScheduler, schedule: NoiseSchedule, prediction: PredictionType, steps: int
) -> tuple[SamplerFault, ...]:
    def make() -> Any:
        scheduler = sampled_by.build(prediction_type=prediction)
        scheduler.set_timesteps(min(steps, schedule.timesteps))
        return scheduler

    sampler = Sampler("declared", sampled_by.name, dict(sampled_by.config))
    try:
        return walk_faults(make, sampler, schedule, prediction, Limits())
    except ImportError as error:
        return (_unseen(sampled_by.name, error),)
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        return (SamplerFault("fail", f"{sampled_by.name} stops with an error while it samples: {reason}", _REMEDY),)
