"""The sampler as it really runs: what it shows the network at each timestep, against the declared schedule."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from diffeval.diffusion.samplers import build_scheduler
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import NoiseSchedule

# Elements of the made-up image and noise, and the levels within which a measured one is trusted.
ELEMENTS, READABLE = 4096, 8.0


@dataclass(frozen=True, slots=True)
class PipelineFault:
    """Something that the sampler does otherwise than the schedule says."""

    summary: str
    fix: str
    values: Mapping[str, float] = field(default_factory=dict)


def pipeline_faults(generator: Generator, limit: float = 0.3) -> tuple[PipelineFault, ...]:
    """What is wrong with the sampler, the network apart.

    At some of its own timesteps the scheduler noises a made-up image and scales it for the network; the level that
    comes out must be the declared schedule's at that timestep.

    Args:
        generator: how the checkpoint is sampled.
        limit: distance of the levels, in nats.
    """
    scheduler = build_scheduler(generator.sampler, generator.schedule, generator.prediction, generator.steps)
    times = scheduler.timesteps
    random = torch.Generator().manual_seed(0)
    image, noise = (torch.randn(1, 1, 1, ELEMENTS, generator=random) for _ in range(2))
    worst, where = 0.0, 0.0
    for t in times[:: max(1, len(times) // 8)]:
        try:
            fresh = build_scheduler(generator.sampler, generator.schedule, generator.prediction, generator.steps)
            seen = fresh.scale_model_input(fresh.add_noise(image, noise, t.reshape(1)), t)
        except (AttributeError, IndexError, ValueError, TypeError):  # no add_noise that could be looked at
            continue
        measured, wanted = _level(seen, image, noise), _declared(generator.schedule, float(t))
        if abs(wanted) < READABLE and abs(measured - wanted) > abs(worst):
            worst, where = measured - wanted, float(t)
    if abs(worst) <= limit:
        return ()
    return (
        PipelineFault(
            f"at t={where:g} the sampler {generator.sampler.scheduler} shows the network a noise level "
            f"{abs(worst):.2f} nats off the declared schedule's (limit {limit:g})",
            "its timesteps and noise levels do not belong together: look at use_karras_sigmas, timestep_spacing and "
            "timestep_type in its configuration",
            {"pipeline_gap": abs(worst)},
        ),
    )


def _level(seen: torch.Tensor, image: torch.Tensor, noise: torch.Tensor) -> float:
    """Log-SNR of seen = a image + b noise, by least squares."""
    basis = torch.stack([image.flatten(), noise.flatten()], dim=1).double()
    signal, spread = torch.linalg.lstsq(basis, seen.flatten().double()[:, None]).solution[:, 0].tolist()
    return float(2.0 * np.log(max(abs(signal), 1e-12) / max(abs(spread), 1e-12)))


def _declared(schedule: NoiseSchedule, t: float) -> float:
    return float(np.interp(t, np.arange(schedule.timesteps), np.clip(schedule.log_snr, -1e3, 1e3)))
