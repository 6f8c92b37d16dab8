"""Brightness of images: what a start of sampling from pure noise makes of it, by a law and by experiment.

Brightness is the mean over the d elements of an image, with mean m and deviation s within a class. At a signal power
alpha^2, x_t holds of it a normal mode of mean alpha m sqrt(d) and variance alpha^2 s^2 d + sigma^2. Pure noise has
mean 0 and variance 1 there, and the probability flow maps the one to the other by a line:

    leak L = alpha s sqrt(d) / sigma,    shift = -alpha m sqrt(d) / sqrt(alpha^2 s^2 d + sigma^2) deviations,
    variance ratio = 1 / (alpha^2 s^2 d + sigma^2) = 1 / (sigma^2 (1 + L^2)).

A sampler that draws noise at its steps forgets more of its start: there it is the posterior of a normal mode.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from diffeval.checks.check import Subject
from diffeval.checks.real_images import ModelImages
from diffeval.diffusion.noise import initial_noise, step_generators
from diffeval.diffusion.samplers import build_scheduler, is_stochastic
from diffeval.diffusion.sampling import Generator, full_precision
from diffeval.metrics.metric import Array

# Calls of the network that images may cost; fewer images than LEAST show nothing.
CALLS, LEAST = 25_600, 32


@dataclass(frozen=True, slots=True)
class Brightness:
    """Mean over the elements of an image: its mean, and within a class its deviation; d elements."""

    mean: float
    deviation: float
    elements: int


@dataclass(frozen=True, slots=True)
class Leak:
    """What a start from pure noise makes of the brightness, as the module says."""

    strength: float
    shift: float
    variance_ratio: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The same by images that were drawn both ways: shift in deviations, log of the variance ratio, their errors."""

    n: int
    shift: float
    shift_error: float
    log_ratio: float
    log_ratio_error: float


def brightness(images: ModelImages) -> Brightness:
    """Of real images, in the network's range."""
    means, labels = _means(images.x0.flatten(1).double().numpy()), _labels(images)
    centres, within = _within(means, labels)
    return Brightness(float(np.mean(centres)), float(np.sqrt(np.mean(within**2))), images.x0[0].numel())


def leak_of(alpha_bar: float, known: Brightness, *, stochastic: bool = False) -> Leak:
    """The law of the module at a start with signal power ``alpha_bar``, below 1."""
    signal, noise = np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)
    spread, centre = known.deviation * np.sqrt(known.elements), known.mean * np.sqrt(known.elements)
    variance = alpha_bar * spread**2 + noise**2
    # How far the image follows its start: x_0 = centre + gain (z - alpha centre), in deviations of x_0.
    gain = signal * spread / variance if stochastic else 1.0 / np.sqrt(variance)
    left = noise**2 / variance if stochastic else 0.0
    return Leak(float(signal * spread / noise), float(-gain * signal * centre), float(gain**2 + left))


def measure(subject: Subject, real: ModelImages, start: float, unit: float, seeds: int) -> Measured | None:
    """Draws images both ways, without guidance, which alters brightness itself; None where that cannot be done."""
    generator = subject.generator
    n = min(seeds, 4 * subject.n, len(real), CALLS // (2 * generator.steps))
    labels = None if real.labels is None else real.labels[:n]
    if n < LEAST or tuple(real.x0.shape[1:]) != generator.shape or (labels is None) != (not generator.classes):
        return None
    subject.reporter.stage("terminal-snr", n, "images")
    pairs = list[Array]()
    for first in range(0, n, LEAST):
        indices = range(first, min(first + LEAST, n))
        part = ModelImages(real.x0[first : indices.stop], None if labels is None else labels[first : indices.stop], "")
        pairs.append(np.stack([_sampled(generator, part, indices, power) for power in (0.0, start)]))
        subject.reporter.advance(len(indices))
    noise, mixed = np.concatenate(pairs, axis=1)
    found = compare(noise, mixed, None if labels is None else labels.numpy())
    if found is None or unit == 0.0:
        return None
    return replace(found, shift=found.shift / unit, shift_error=found.shift_error / unit)


@torch.inference_mode()
def _sampled(generator: Generator, images: ModelImages, indices: range, power: float) -> Array:
    """Brightness of images sampled from noise with this power of real images in it, [n]."""
    scheduler = build_scheduler(generator.sampler, generator.schedule, generator.prediction, generator.steps)
    options = dict(generator.sampler.step_options)
    if is_stochastic(generator.sampler):
        options["generator"] = step_generators(generator.seed, indices)
    noise = initial_noise(generator.seed, indices, generator.shape)
    mixed = (np.sqrt(power) * images.x0 + np.sqrt(1 - power) * noise).to(generator.device)
    begun = noise.to(generator.device) * scheduler.init_noise_sigma
    # Some samplers hold x in another scale than the network sees it in.
    x = mixed * (begun.norm() / scheduler.scale_model_input(begun, scheduler.timesteps[0]).norm())
    condition = None if images.labels is None else images.labels.to(generator.device)
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t).float()
        with full_precision():
            output = generator.denoiser(seen, t.to(generator.device), condition).float()
        x = scheduler.step(output, t, x, **options, return_dict=False)[0]
    return _means(x.flatten(1).double().cpu().numpy())


def compare(noise: Array, mixed: Array, labels: npt.NDArray[np.int64] | None) -> Measured | None:
    """Brightness [n] of images drawn from noise against that of the same drawn from where training had them."""
    if not (np.isfinite(noise).all() and np.isfinite(mixed).all()):
        return None
    (_, off), (_, deviations) = _within(noise, labels), _within(mixed, labels)
    if not off.any() or not deviations.any():
        return None
    # Relative to its mean, each image's share in the log of the ratio; both ways have the same seeds and classes.
    shares = off**2 / np.mean(off**2) - deviations**2 / np.mean(deviations**2)
    return Measured(
        n=len(noise),
        shift=float(np.mean(noise - mixed)),
        shift_error=float((noise - mixed).std(ddof=1) / np.sqrt(len(noise))),
        log_ratio=float(np.log(np.mean(off**2) / np.mean(deviations**2))),
        log_ratio_error=float(shares.std(ddof=1) / np.sqrt(len(noise))),
    )


def _means(x: Array) -> Array:
    means: Array = x.mean(axis=1)
    return means


def _labels(images: ModelImages) -> npt.NDArray[np.int64] | None:
    return None if images.labels is None else images.labels.numpy()


def _within(means: Array, labels: npt.NDArray[np.int64] | None) -> tuple[Array, Array]:
    """Mean of each class, and each image's distance from its own class's, made as wide as if that were known."""
    labels = np.zeros(len(means), dtype=np.int64) if labels is None else labels
    kinds, rows, counts = np.unique(labels, return_inverse=True, return_counts=True)
    centres: Array = np.bincount(rows, weights=means) / counts
    off: Array = (means - centres[rows]) * np.sqrt(len(means) / max(len(means) - len(kinds), 1))
    return centres, off
