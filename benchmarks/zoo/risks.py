"""How well a network predicts the noise in held-out images, beside the best affine denoiser."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import ImageSource
from diffeval.diffusion.noise import initial_noise

LOG_SNRS = (4.0, 2.0, 0.0, -2.0, -4.0)
IMAGES = 256
# A noise level further from the wanted one than this is none of the schedule's.
NEAR = 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Images:
    """Images as a network sees them: float64 [n, d] in the declared value range, their shape, and labels."""

    x: Floats
    shape: tuple[int, ...]
    labels: npt.NDArray[np.int64] | None


def images_of(source: ImageSource, value_range: tuple[float, float], most: int | None = None) -> Images:
    """The first images of a source in a random, fixed order."""
    rows = np.random.Generator(np.random.Philox(0)).permutation(len(source))[:most]
    low, high = value_range
    pixels = source.pixels.read(rows).astype(np.float64)
    labels = None if source.labels is None else source.labels[rows]
    return Images((low + pixels / 255 * (high - low)).reshape(len(rows), -1), pixels.shape[1:], labels)


def timestep_at(checkpoint: Checkpoint, log_snr: float) -> int | None:
    """The timestep whose log-SNR is nearest, or None if that is far."""
    gaps = np.abs(checkpoint.schedule.log_snr - log_snr)
    return int(np.argmin(gaps)) if gaps.min() < NEAR else None


def noised(images: Images, alpha_bar: float) -> tuple[Floats, Floats]:
    """Images and noise mixed, and the noise, which is the same at every call."""
    noise = initial_noise(0, range(len(images.x)), images.shape).numpy().reshape(len(images.x), -1)
    return np.sqrt(alpha_bar) * images.x + np.sqrt(1 - alpha_bar) * noise, noise.astype(np.float64)


def risk(checkpoint: Checkpoint, images: Images, t: int) -> float:
    """Mean squared error of the predicted noise at the declared timestep ``t``, under the images' own classes."""
    alpha_bar = float(checkpoint.schedule.alpha_bar[t])
    x, noise = noised(images, alpha_bar)
    xt = torch.from_numpy(x).float().view(-1, *images.shape)
    condition = torch.from_numpy(images.labels) if checkpoint.classes and images.labels is not None else None
    with torch.inference_mode():
        output = checkpoint.denoiser(xt, torch.full((len(xt),), t), condition).numpy().reshape(len(x), -1)
    alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    predicted = {
        "epsilon": output,
        "sample": (x - alpha * output) / sigma,
        "v_prediction": alpha * output + sigma * x,
    }[checkpoint.prediction]
    return float(np.mean((predicted - noise) ** 2))


def affine_risk(train: Images, images: Images, alpha_bar: float) -> float:
    """The same of the best affine denoiser, by mean and covariance of the training images."""
    mean, covariance = train.x.mean(axis=0), np.cov(train.x, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    values = values.clip(min=0)
    alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    x, noise = noised(images, alpha_bar)
    centred = (x - alpha * mean) @ vectors
    predicted = (sigma / (alpha_bar * values + sigma**2) * centred) @ vectors.T
    return float(np.mean((predicted - noise) ** 2))


def risks(
    averaged: Checkpoint, raw: Checkpoint, trained_on: ImageSource, train: ImageSource, heldout: ImageSource
) -> dict[str, float | None]:
    """Risks by name, e.g. ``ema 0`` at log-SNR 0; None where the schedule has no such noise level.

    ``train`` names the averaged weights on images that they were trained on.
    """
    everything = images_of(train, averaged.value_range)
    seen, unseen = (images_of(source, averaged.value_range, IMAGES) for source in (trained_on, heldout))
    found: dict[str, float | None] = {}
    for log_snr in LOG_SNRS:
        t = timestep_at(averaged, log_snr)
        alpha_bar = None if t is None else float(averaged.schedule.alpha_bar[t])
        found[f"ema {log_snr:g}"] = None if t is None else risk(averaged, unseen, t)
        found[f"raw {log_snr:g}"] = None if t is None else risk(raw, unseen, t)
        found[f"train {log_snr:g}"] = None if t is None else risk(averaged, seen, t)
        found[f"affine {log_snr:g}"] = None if alpha_bar is None else affine_risk(everything, unseen, alpha_bar)
    return found
