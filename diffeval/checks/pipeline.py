"""The sampler as it really runs, without the network: every step of it, from an image whose noise is known.

In the network's place stands a predictor that knows the one image there is. With it every sampler, of whatever order,
holds at each timestep that image at the noise level that the schedule has there, and ends with the image itself. One
that strides along another grid than it computes with, scales what it shows the network wrongly, or stops at another
noise level than zero, does not.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from diffeval.diffusion.prediction import PredictionType
from diffeval.diffusion.samplers import Sampler, build_scheduler, is_stochastic
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import NoiseSchedule

# Elements of the made-up image and noise, and what the image is made of: well within what a sampler may clip to.
ELEMENTS, INSIDE = 1 << 16, 0.9
# Timesteps at which a scheduler's own noising is looked at.
NOISED = 8
# Levels within which a measured one is trusted, of a sampler without noise of its own and of one with.
READABLE, READABLE_IN_NOISE = 8.0, 3.0


@dataclass(frozen=True, slots=True)
class SamplerFault:
    """Something that the sampler does otherwise than the schedule says.

    Attributes:
        status: how bad it is.
        summary: what, with the number and its limit.
        fix: what to change.
        values: the numbers.
    """

    status: Literal["warn", "fail"]
    summary: str
    fix: str
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a number stops being well.

    Attributes:
        gap: distance of a noise level from the schedule's, in nats.
        left: noise that is left at the end, in units of x, that warns and that fails.
        start: log of what the network sees at first over noise of variance 1.
    """

    gap: float = 0.3
    left: tuple[float, float] = (0.05, 0.15)
    start: float = 0.2


@dataclass(frozen=True, slots=True)
class Walked:
    """What a sampler did.

    Attributes:
        gaps: nats by which the level held at a timestep is above the schedule's, where both can be read.
        left: root mean square of what it ends with, less the image.
        start: log of the root mean square of what the network sees of the initial noise.
        noised: the gaps of what the scheduler makes of the image where it noises it itself.
    """

    gaps: Mapping[float, float]
    left: float
    start: float
    noised: Mapping[float, float]


def pipeline_faults(generator: Generator, limits: Limits | None = None) -> tuple[SamplerFault, ...]:
    """What is wrong with the sampler that images are drawn with, the network apart."""

    def make() -> Any:
        return build_scheduler(generator.sampler, generator.schedule, generator.prediction, generator.steps)

    return walk_faults(
        make, generator.sampler, generator.schedule, generator.prediction, limits or Limits()
    )  # fmt: skip


def walk_faults(
    make: Callable[[], Any],
    sampler: Sampler,
    schedule: NoiseSchedule,
    prediction: PredictionType,
    limits: Limits,
) -> tuple[SamplerFault, ...]:
    """What is wrong with a scheduler of diffusers.

    Args:
        make: the scheduler, its timesteps set.
        sampler: as it is called.
        schedule: that the network was trained with.
        prediction: what it predicts.
        limits: see there.
    """
    if prediction == "epsilon" and schedule.zero_terminal_snr:
        return ()  # no image can be known from such noise; terminal-snr says so
    readable = READABLE_IN_NOISE if is_stochastic(sampler) else READABLE
    walked = walk(make, schedule, prediction, sampler.step_options, readable)
    return tuple(_faults(walked, sampler.scheduler, limits))


def walk(
    make: Callable[[], Any],
    schedule: NoiseSchedule,
    prediction: PredictionType,
    options: Mapping[str, Any],
    readable: float = READABLE_IN_NOISE,
) -> Walked:
    """Samples the one image; reads levels up to so many nats."""
    scheduler = make()
    random = torch.Generator().manual_seed(0)
    image = INSIDE * (2.0 * torch.randint(0, 2, (1, 1, 1, ELEMENTS), generator=random) - 1.0)
    noise = torch.randn(1, 1, 1, ELEMENTS, generator=random)
    noise = noise - _share(noise, image) * image
    if "generator" in inspect.signature(scheduler.step).parameters:
        options = {"generator": random, **options}
    times = scheduler.timesteps
    start = scheduler.scale_model_input(noise * scheduler.init_noise_sigma, times[0])
    scale = float(start.norm() / noise.norm())
    alpha, sigma = _strengths(schedule, float(times[0]))
    # With the image in it, as a network was shown it: what a start from mere noise costs is terminal-snr's.
    x = (alpha * image + sigma * noise) * scheduler.init_noise_sigma / scale
    gaps = {}
    for t in times:
        seen = scheduler.scale_model_input(x, t)
        measured, wanted = _level(seen, image), _declared(schedule, float(t))
        if abs(wanted) < readable:
            gaps[float(t)] = measured - wanted
        output = _exact(prediction, seen, image, *_strengths(schedule, float(t)))
        x = scheduler.step(output, t, x, **options, return_dict=False)[0]
    left = float((x - image).square().mean().sqrt())
    return Walked(gaps, left, float(np.log(max(scale, 1e-12))), _noised(make, schedule, image, noise))


def _noised(
    make: Callable[[], Any], schedule: NoiseSchedule, image: torch.Tensor, noise: torch.Tensor
) -> dict[float, float]:
    """Gaps of the scheduler's own ``add_noise``, which image-to-image pipelines and training loops call."""
    gaps: dict[float, float] = {}
    times = make().timesteps
    for t in times[:: max(1, len(times) // NOISED)]:
        scheduler = make()
        try:
            seen = scheduler.scale_model_input(scheduler.add_noise(image, noise, t.reshape(1)), t)
        except (AttributeError, IndexError, ValueError, TypeError):  # it has none, or none for its own timesteps
            continue
        wanted = _declared(schedule, float(t))
        if abs(wanted) < READABLE:
            gaps[float(t)] = _level(seen, image) - wanted
    return gaps


def _faults(walked: Walked, name: str, limits: Limits) -> Iterator[SamplerFault]:
    if not np.isfinite([walked.left, *walked.gaps.values()]).all():
        yield SamplerFault("fail", f"the sampler {name} makes NaN or infinity of exact predictions", _LOOK)
        return
    for gaps, does, called in (
        (walked.gaps, "shows the network", "pipeline_gap"),
        (walked.noised, "noises an image to", "noising_gap"),
    ):
        where = max(gaps, key=lambda t, gaps=gaps: abs(gaps[t]), default=0.0)  # type: ignore[misc]
        gap = abs(gaps.get(where, 0.0))
        if gap > limits.gap:
            yield SamplerFault(
                "fail",
                f"at t={where:g} the sampler {name} {does} a noise level {gap:.2f} nats off the schedule's (limit "
                f"{limits.gap:g})",
                f"its timesteps and noise levels do not belong together: {_LOOK}",
                {called: gap},
            )
    if abs(walked.start) > limits.start:
        yield SamplerFault(
            "fail",
            f"the sampler {name} starts from noise {np.exp(walked.start):.2f} times as strong as the network was "
            f"trained on",
            "multiply the initial noise by the scheduler's init_noise_sigma, and call scale_model_input",
            {"start": float(np.exp(walked.start))},
        )
    warn, fail = limits.left
    if walked.left > warn:
        failed = walked.left > fail
        yield SamplerFault(
            "fail" if failed else "warn",
            f"the sampler {name} ends with noise of {walked.left:.2g} left in images of -1 to 1 (limit "
            f"{fail if failed else warn:g})",
            "let it end at zero: final_sigmas_type='zero', a smaller sigma_min, set_alpha_to_one=True",
            {"noise_left": walked.left},
        )


_LOOK = "look at use_karras_sigmas, timestep_spacing, timestep_type and lambda_min_clipped in its configuration"


def _exact(
    prediction: PredictionType, seen: torch.Tensor, image: torch.Tensor, alpha: float, sigma: float
) -> torch.Tensor:
    """The prediction of one who knows the image."""
    if prediction == "sample":
        return image
    noise = (seen - alpha * image) / sigma
    return noise if prediction == "epsilon" else alpha * noise - sigma * image


def _level(seen: torch.Tensor, image: torch.Tensor) -> float:
    """Log-SNR of seen = a image + noise."""
    one, other = seen.double(), image.double()
    signal = float(_share(one, other))
    spread = float((one - signal * other).square().mean().sqrt())
    return float(2.0 * np.log(max(abs(signal), 1e-12) / max(spread, 1e-12)))


def _share(noise: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """How much of the image happens to be in the noise."""
    return (noise * image).sum() / image.square().sum()


def _declared(schedule: NoiseSchedule, t: float) -> float:
    return float(np.interp(t, np.arange(schedule.timesteps), np.clip(schedule.log_snr, -1e3, 1e3)))


def _strengths(schedule: NoiseSchedule, t: float) -> tuple[float, float]:
    """Alpha and sigma at a timestep, or between two."""
    odds = np.exp(_declared(schedule, t) / 2.0)
    return float(odds / np.sqrt(1.0 + odds**2)), float(1.0 / np.sqrt(1.0 + odds**2))
