"""Samplers: diffusers' schedulers, built from the checkpoint's own beta array, or refused by name.

A scheduler that cannot honour the noise schedule or the prediction type would sample another model than the one that
was trained, and say nothing: zero terminal SNR, for one, is dropped silently by some. So what was built is compared
with what was asked for, number by number.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
import numpy as np

from diffeval.diffusion.flow import NAME as FLOW_SCHEDULE
from diffeval.diffusion.flow import SCHEDULER as FLOW
from diffeval.diffusion.flow import FlowScheduler
from diffeval.diffusion.prediction import PredictionType
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean

# diffusers replaces alpha_bar_T = 0 by 2^-24 where it would divide by it; closer than this is "the same schedule".
ALPHA_BAR_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Sampler:
    """How images are drawn, in full: what the protocol records.

    Attributes:
        name: ours, e.g. ``dpm++``, or ``declared`` for the checkpoint's own.
        scheduler: class name in diffusers.
        config: its constructor's arguments, without betas and prediction type, which are the checkpoint's.
        step_options: arguments of its ``step``, such as ``eta``.
        default_steps: steps where the user gives none.
    """

    name: str
    scheduler: str
    config: Mapping[str, Any] = field(default_factory=dict)
    step_options: Mapping[str, Any] = field(default_factory=dict)
    default_steps: int = 50

    def recorded(self) -> dict[str, Any]:
        """The configuration as the protocol holds it."""
        return {"scheduler": self.scheduler, **self.config, **self.step_options}


# Ours, for checkpoints that declare none and for whoever asks by name. Clipping x_0 is only sound if the noise is
# re-derived from the clipped value: without that, DDIM loses its contrast under guidance.
SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("ddpm", "DDPMScheduler", default_steps=1000),
        Sampler("ddim", "DDIMScheduler", {}, {"eta": 0.0, "use_clipped_model_output": True}),
        # log(alpha/sigma) below -5.1 carries no signal, but the solver's order breaks down there on cosine schedules.
        Sampler("dpm++", "DPMSolverMultistepScheduler", {"lambda_min_clipped": -5.1}, default_steps=20),
        Sampler("euler", "EulerDiscreteScheduler"),
        Sampler("heun", "HeunDiscreteScheduler", default_steps=25),
        Sampler("pndm", "PNDMScheduler", {"skip_prk_steps": True}),
        Sampler("unipc", "UniPCMultistepScheduler", default_steps=20),
    )
}

# Pixel-space clipping is part of these two samplers' usual form; it is switched off where x_0 is not in [-1, 1].
CLIPPING = ("ddpm", "ddim")

# alpha_bar below which an epsilon prediction says nothing about x_0: its error is multiplied by 1/sqrt(alpha_bar),
# a hundredfold here, and a sampler that does not clip x_0 never recovers from that.
LEAST_SIGNAL = 1e-4
# What dynamic thresholding divides x_0 by at most: no bound that is ever met.
MOST_SCALE = 1e3


def named_sampler(
    name: str,
    schedule: NoiseSchedule,
    prediction: PredictionType,
    *,
    eta: float | None = None,
    karras: bool | None = None,
    threshold: float | None = None,
    bounded: bool = True,
) -> Sampler:
    """One of our samplers, fitted to a noise schedule, with its options.

    Timesteps are spaced "trailing", from the last one, where the initial noise belongs; but a sampler that does not
    clip and is given epsilon predictions on a schedule that ends with next to no signal starts one stride earlier
    ("leading").

    Args:
        name: e.g. ``ddim``.
        schedule: the checkpoint's.
        prediction: the checkpoint's.
        eta: share of the DDPM's noise that DDIM adds per step, 0 to 1.
        karras: Karras et al.'s noise levels, for dpm++, euler, heun and unipc.
        threshold: the quantile of |x_0| that dynamic thresholding scales to 1, where it is above 1; 0 to 1.
        bounded: whether x_0 lies in [-1, 1], so that it may be clipped to that.

    Raises:
        DiffevalError: for an unknown name, or an option that this sampler does not have.
    """
    if name not in SAMPLERS:
        raise DiffevalError(f"sampler: unknown sampler {name!r};{did_you_mean(name, SAMPLERS)}")
    sampler = SAMPLERS[name]
    config, options = dict(sampler.config), dict(sampler.step_options)
    clipped = name in CLIPPING and bounded
    if name in CLIPPING:
        config["clip_sample"] = clipped
    hopeless_end = prediction == "epsilon" and float(schedule.alpha_bar[-1]) < LEAST_SIGNAL
    config["timestep_spacing"] = "leading" if hopeless_end and not clipped else "trailing"
    if eta is not None:
        if "eta" not in options or not 0.0 <= eta <= 1.0:
            raise DiffevalError(f"sampler: {name} with eta={eta:g}; eta is an option of ddim, from 0 to 1")
        options["eta"] = eta
    if karras is not None:
        able = [key for key, one in SAMPLERS.items() if _accepts(one, "use_karras_sigmas")]
        if name not in able:
            raise DiffevalError(f"sampler: {name} has no Karras noise levels; use one of {', '.join(able)}")
        config["use_karras_sigmas"] = karras
    if threshold is not None:
        able = [key for key, one in SAMPLERS.items() if _accepts(one, "thresholding")]
        if name not in able or not 0.0 < threshold <= 1.0 or not bounded:
            raise DiffevalError(
                f"sampler: {name} with threshold={threshold:g}; dynamic thresholding is a quantile from 0 to 1, of "
                f"{', '.join(able)}, for models of pixels in [-1, 1]"
            )
        # diffusers caps the scale at 1 by default, which is plain clipping.
        config |= {"thresholding": True, "dynamic_thresholding_ratio": threshold, "sample_max_value": MOST_SCALE}
    return dataclasses.replace(sampler, config=config, step_options=options)


def _accepts(sampler: Sampler, argument: str) -> bool:
    return argument in inspect.signature(getattr(diffusers, sampler.scheduler)).parameters


def build_scheduler(sampler: Sampler, schedule: NoiseSchedule, prediction: PredictionType, steps: int) -> Any:
    """The diffusers scheduler, ready for ``steps`` steps, verified to honour schedule and prediction type.

    Raises:
        DiffevalError: if it cannot, or if the number of steps is impossible for it.
    """
    check_steps(sampler, schedule, steps)
    if sampler.scheduler == FLOW:
        if prediction != "sample" or schedule.name != FLOW_SCHEDULE:
            raise DiffevalError(f"sampler: {sampler.scheduler} samples flows, and this is a {schedule.name} schedule")
        return FlowScheduler(sampler.config, steps)
    kind = getattr(diffusers, sampler.scheduler, None)
    if kind is None:
        raise DiffevalError(f"sampler: diffusers {diffusers.__version__} has no {sampler.scheduler}; update diffusers")
    parameters = inspect.signature(kind).parameters
    if "trained_betas" not in parameters:
        raise DiffevalError(f"sampler: {sampler.scheduler} takes no beta array; choose one of {', '.join(SAMPLERS)}")
    config = {key: value for key, value in sampler.config.items() if key in parameters}
    for key, value in config.items():
        _check_type(sampler, key, value, parameters[key].default)
    if is_stochastic(sampler) and "generator" not in inspect.signature(kind.step).parameters:
        raise DiffevalError(
            f"sampler: {sampler.scheduler} takes no generator, so its noise could not belong to an image; "
            f"choose one of {', '.join(SAMPLERS)}"
        )
    if schedule.zero_terminal_snr:
        if "rescale_betas_zero_snr" not in parameters:
            raise DiffevalError(
                f"sampler: {sampler.name} ({sampler.scheduler}) cannot honour a schedule with zero terminal SNR; "
                f"use ddim, ddpm, dpm++, euler or unipc"
            )
        config["rescale_betas_zero_snr"] = True
    _check_prediction(sampler, prediction)
    try:
        scheduler = kind(
            num_train_timesteps=schedule.timesteps,
            trained_betas=list(schedule.betas),
            prediction_type=prediction,
            **config,
        )
        built = scheduler.alphas_cumprod.numpy()
    except Exception as error:  # of configurations diffusers checks next to nothing
        reason = " ".join(str(error).split())[:160]
        raise DiffevalError(f"sampler: {sampler.scheduler} refuses its configuration: {reason}") from error
    gap = float(np.abs(built - schedule.alpha_bar).max())
    if gap > ALPHA_BAR_TOLERANCE:
        raise DiffevalError(
            f"sampler: {sampler.name} ({sampler.scheduler}) built a noise schedule that differs from the checkpoint's "
            f"by {gap:.2g} in alpha_bar; choose another of {', '.join(SAMPLERS)}"
        )
    try:
        scheduler.set_timesteps(steps)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DiffevalError(f"sampler: {sampler.scheduler} does not take {steps} steps: {reason}") from error
    _check_timesteps(sampler, scheduler, steps)
    return scheduler


def _check_type(sampler: Sampler, key: str, value: Any, default: Any) -> None:
    """Refuses a value of another type than the default's: diffusers would find out at a step, or never."""
    wanted = str if isinstance(default, str) else (int, float) if isinstance(default, int | float) else object
    optional = default is None or isinstance(default, bool | str)
    if not isinstance(value, wanted) and not (value is None and optional):
        need = "a text" if wanted is str else "a number, true or false"
        raise DiffevalError(f"sampler: {sampler.scheduler} is configured with {key} {value!r}, needs {need}")


def _check_timesteps(sampler: Sampler, scheduler: Any, steps: int) -> None:
    """Refuses timesteps that begin with the same one twice: multistep solvers then lose count of their steps.

    Karras' noise levels, rounded to whole timesteps, come to that on schedules that end with next to no signal.
    """
    times = [float(t) for t in scheduler.timesteps]
    if sampler.scheduler in _COUNTING and len(times) > 1 and times[0] == times[1]:
        raise DiffevalError(
            f"sampler: {sampler.name} with {steps} steps begins with timestep {times[0]:g} twice on this noise "
            f"schedule, and loses count; use fewer steps, or leave Karras' noise levels (--no-karras)"
        )


# Solvers that find the first step by its timestep, and take the second of two alike.
_COUNTING = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler")


def check_steps(sampler: Sampler, schedule: NoiseSchedule, steps: int) -> None:
    """Refuses a number of steps that the scheduler would get wrong.

    DDIM in diffusers strides by T // steps whatever its timesteps are, so with evenly spaced timesteps a number that
    does not divide T would leave noise in the images.
    """
    if not 1 <= steps <= schedule.timesteps:
        raise DiffevalError(f"sampler: {steps} steps, must be from 1 to the {schedule.timesteps} training timesteps")
    if sampler.scheduler != "DDIMScheduler" or sampler.config.get("timestep_spacing") != "trailing":
        return
    if schedule.timesteps % steps:
        divisors = [count for count in range(1, schedule.timesteps + 1) if schedule.timesteps % count == 0]
        near = sorted(sorted(divisors, key=lambda count: abs(count - steps))[:3])
        raise DiffevalError(
            f"sampler: ddim with {steps} steps, but {steps} does not divide the {schedule.timesteps} training "
            f"timesteps and its stride would be off; use {', '.join(map(str, near))} steps, or dpm++"
        )


def _check_prediction(sampler: Sampler, prediction: PredictionType) -> None:
    """Schedulers name the prediction types they know only in their documentation; these are the exceptions."""
    if sampler.scheduler == "PNDMScheduler" and prediction == "sample":
        raise DiffevalError(
            f"sampler: pndm cannot sample a model that predicts {prediction!r}; use ddim, ddpm, dpm++ or euler"
        )


# Schedulers whose ``step`` draws no noise as they are called here; every other one is given a generator per image.
_DETERMINISTIC = {
    FLOW,
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
}


def is_stochastic(sampler: Sampler) -> bool:
    """Whether it draws noise at its steps."""
    if sampler.scheduler == "DDIMScheduler":
        return float(sampler.step_options.get("eta", 0.0)) > 0
    if str(sampler.config.get("algorithm_type", "")).startswith("sde"):
        return True
    return sampler.scheduler not in _DETERMINISTIC
