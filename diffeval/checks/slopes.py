"""Slopes of a network: of its loss in its weights, and of its output in time, by timestep."""

import copy

import numpy as np
import torch

from diffeval.checks.check import Subject
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import SEED
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.sampling import full_precision
from diffeval.metrics.metric import Array

TIMES, IMAGES = 16, 16
# Log-SNR beyond which an alpha or a sigma is not worth dividing by.
MOST = 12.0


def times_of(subject: Subject) -> tuple[int, ...]:
    """Timesteps, evenly over the schedule, at which image and noise are both there."""
    curve = subject.checkpoint.schedule.log_snr
    usable = np.flatnonzero(np.abs(curve) <= MOST)
    return tuple(int(t) for t in np.unique(usable[np.linspace(0, len(usable) - 1, TIMES).astype(int)]))


def gradient_norms(subject: Subject) -> Array | None:
    """Norm of the loss' gradient at each of ``times_of``, of a batch each, the same images and noise at all of them.

    The loss is that of the type the weights behave like, on a copy of the network. None where no copy can be called.
    """
    checkpoint = subject.checkpoint
    if checkpoint.adapter is None:
        return None
    network = copy.deepcopy(checkpoint.network).eval().requires_grad_(True)
    denoiser, device = checkpoint.adapter(network), subject.generator.device
    coefficients = HYPOTHESES[subject.scan.type].coefficients
    probe = subject.probe(images=subject.probe_images.first(IMAGES))
    noise = initial_noise(SEED, range(len(probe.x0)), tuple(probe.x0.shape[1:]))
    condition = None if probe.condition is None else probe.condition.to(device)
    norms = []
    for t in times_of(subject):
        level = float(checkpoint.schedule.log_snr[t])
        p, q = coefficients(float(np.sqrt(1 / (1 + np.exp(-level)))), float(np.sqrt(1 / (1 + np.exp(level)))))
        x = probe.noised(level, noise)
        network.zero_grad(set_to_none=True)
        with torch.enable_grad(), full_precision():
            output = denoiser(x.to(device), torch.full((len(x),), t, device=device), condition)
            # p f + q x predicts the noise, so the network's own target is (noise - q x) / p.
            loss = (output - ((noise - q * x) / p).to(device)).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
        squares = [float(one.grad.double().square().sum()) for one in network.parameters() if one.grad is not None]
        norms.append(float(np.sqrt(sum(squares))))
    return np.array(norms)


def slopes_in_time(subject: Subject) -> Array:
    """Relative change of the output from a timestep to the next, per nat of log-SNR, at each of ``times_of``."""
    schedule = subject.checkpoint.schedule
    probe = subject.probe(images=subject.probe_images.first(IMAGES))
    noise = initial_noise(SEED, range(len(probe.x0)), tuple(probe.x0.shape[1:]))
    slopes = []
    for t in times_of(subject):
        one, other = (t, t + 1) if t + 1 < schedule.timesteps else (t - 1, t)
        nats = min(float(schedule.log_snr[one] - schedule.log_snr[other]), MOST)
        x = probe.noised(float(schedule.log_snr[t]), noise)
        first, second = (probe.output(x, torch.full((len(x),), time), probe.condition) for time in (one, other))
        slopes.append(float((second - first).norm() / first.norm().clamp_min(1e-12)) / nats)
    return np.array(slopes)
