"""The Wiener floor: how well the noise in images can be predicted by a function that is affine in x."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf_shrinkage

from diffeval.checks.probe import SEED, Probe
from diffeval.diffusion.noise import initial_noise
from diffeval.metrics.metric import Array

# Images per dimension from which on a covariance is taken as it is.
ENOUGH = 5


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and covariance of images: V diag(values) V^T, and ``rest`` in every direction that V does not hold.

    Attributes:
        mean: [d].
        values: eigenvalues, [k].
        vectors: V, [d, k].
        rest: variance in the other directions.
    """

    mean: Array
    values: Array
    vectors: Array
    rest: float


def moments_of(images: torch.Tensor) -> Moments:
    """Of images [n, C, H, W], shrunk towards equal variances by Ledoit and Wolf's rule where n is small."""
    x = images.flatten(1).double().numpy()
    n, d = x.shape
    mean = x.mean(axis=0)
    _, singular, vectors = np.linalg.svd(x - mean, full_matrices=False)
    values = singular**2 / (n - 1)
    share = float(ledoit_wolf_shrinkage(x)) if n < ENOUGH * d else 0.0
    rest = share * float(values.sum()) / d
    return Moments(mean, (1 - share) * values + rest, vectors.T, rest)


def affine_risk(moments: Moments, probe: Probe, log_snr: float) -> Array:
    """Mean squared error of the best affine prediction of the noise, on a probe's images and noise, [n].

    E[eps | x] = sigma (alpha^2 C + sigma^2)^-1 (x - alpha m) for normal images; the best affine function for all.
    """
    alpha, sigma = np.sqrt(1 / (1 + np.exp(-log_snr))), np.sqrt(1 / (1 + np.exp(log_snr)))
    noise = initial_noise(SEED, range(len(probe.x0)), tuple(probe.x0.shape[1:]))
    x = probe.noised(log_snr, noise).flatten(1).double().numpy() - alpha * moments.mean
    inside = x @ moments.vectors
    rest = alpha**2 * moments.rest + sigma**2
    gains = 1 / (alpha**2 * moments.values + sigma**2) - 1 / rest
    predicted = sigma * (x / rest + (inside * gains) @ moments.vectors.T)
    found: Array = ((predicted - noise.flatten(1).double().numpy()) ** 2).mean(axis=1)
    return found
