"""Numbers of images on their way: second moment, spread over seeds, and detail."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.checks.real_images import ModelImages
from diffeval.metrics.metric import Array


@dataclass(frozen=True, slots=True)
class RealMoments:
    """Of real images: mean of x^2, its standard error, and variance within classes; None where they are all alike."""

    second: float
    error: float
    spread: float | None


def real_moments(real: ModelImages | None) -> RealMoments | None:
    """Of all that there are; None without."""
    if real is None:
        return None
    x: Array = real.x0.double().cpu().numpy()
    squares = (x.reshape(len(x), -1) ** 2).mean(axis=1)
    spread = spread_of(x, None if real.labels is None else real.labels.numpy()) or None
    return RealMoments(float(squares.mean()), float(squares.std(ddof=1) / np.sqrt(len(x))), spread)


def moment_ratio(x: Array, alpha_bar: float, real: RealMoments) -> tuple[float | None, float | None]:
    """Mean of x^2 over that of the forward process, and its standard error over seeds and real images."""
    squares = (x.reshape(len(x), -1) ** 2).mean(axis=1)
    if not np.isfinite(squares).all():
        return None, None
    expected = alpha_bar * real.second + 1.0 - alpha_bar
    ratio = float(squares.mean() / expected)
    of_mine = squares.std(ddof=1) / np.sqrt(len(squares)) / expected
    return ratio, float(np.hypot(of_mine, ratio * alpha_bar * real.error / expected))


def spread_of(x: Array, labels: npt.NDArray[np.int64] | None) -> float | None:
    """Variance over images of one class, mean over pixels and classes; over all where there are no classes.

    None where no class has two images.
    """
    labels = np.zeros(len(x), dtype=np.int64) if labels is None else labels
    total, freedom = 0.0, 0
    for label in np.unique(labels):
        rows = x[labels == label]
        total += float(((rows - rows.mean(axis=0)) ** 2).sum())
        freedom += len(rows) - 1
    return total / freedom / float(x[0].size) if freedom else None


def detail_of(x: Array) -> float:
    """Energy per pixel at frequencies of a quarter cycle per pixel and above."""
    frequencies = [np.abs(np.fft.fftfreq(side)) for side in x.shape[-2:]]
    high = np.maximum(frequencies[0][:, None], frequencies[1][None]) >= 0.25
    power = np.abs(np.fft.fft2(x)) ** 2 / high.size**2
    return float(power[..., high].sum(axis=-1).mean())
