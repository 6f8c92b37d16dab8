"""Arms of a comparison: the same images and the same noise at one noise level, one thing changed."""

import numpy as np

from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import SEED, Probe, Reading
from diffeval.checks.scan import DRAWS, Scan
from diffeval.diffusion.noise import initial_noise
from diffeval.metrics.metric import Array


def best_time(scan: Scan, level: float) -> float:
    """The timestep at which the network is best at a level, whatever schedule and prediction type are declared."""
    reading = scan.at(level)
    return reading.times[int(scan.risk(reading, scan.type)[:, 0].argmin())]


def arm(probe: Probe, scan: Scan, level: float, time: float | None = None) -> Array:
    """Risk of every image at a level, read as the type that the weights behave like, [n].

    Args:
        probe: the network, or another, and its images.
        scan: of the network itself.
        level: log-SNR.
        time: that the network is told; by default the one at which it is best.
    """
    reading = probe.read(level, [best_time(scan, level) if time is None else time])
    found: Array = reading.risk(*HYPOTHESES[scan.type].coefficients(reading.signal, reading.noise))[0]
    return found


def without_network(probe: Probe, reading: Reading, draws: Array) -> Array:
    """Risk of q x + c at the best q and, for each channel, the best c, by draw of images, [1 + DRAWS].

    The noise as a multiple of x and a constant needs no network. The constant matters: images have a mean grey, and
    weights at random under trained biases know that and nothing else. It is <e, e> - <x, e>^2 / <x, x>, all about
    their means by channel.

    Args:
        probe: of the images that were read.
        reading: at a noise level.
        draws: weights of the images, [1 + DRAWS, n].
    """
    noise = initial_noise(SEED, range(len(reading.xx)), tuple(probe.x0.shape[1:]))
    means = [one.double().mean(dim=(2, 3)).numpy() for one in (probe.noised(reading.log_snr, noise), noise)]
    x, e = (draws @ one for one in means)
    xx, xe, ee = (draws @ one for one in (reading.xx, reading.xe, reading.ee))
    xx, xe, ee = xx - (x * x).mean(axis=1), xe - (x * e).mean(axis=1), ee - (e * e).mean(axis=1)
    risk: Array = ee - xe**2 / xx
    return risk


def redraws(n: int, key: int = 1) -> Array:
    """Weights of n images: first all alike, then redrawn with replacement, [1 + DRAWS, n], rows of sum 1."""
    random = np.random.Generator(np.random.Philox(key=key))
    redrawn = random.multinomial(n, np.full(n, 1.0 / n), size=DRAWS) / n
    return np.concatenate([np.full((1, n), 1.0 / n), redrawn])


def interval(drawn: Array) -> tuple[float, float]:
    """The middle 95% of a statistic by draw, whose first is the estimate itself, [1 + DRAWS]."""
    low, high = np.quantile(drawn[1:], (0.025, 0.975))
    return float(low), float(high)


def valued(name: str, drawn: Array) -> dict[str, float]:
    """The estimate and its interval, as values of a finding."""
    low, high = interval(drawn)
    return {name: float(drawn[0]), f"{name}_low": low, f"{name}_high": high}
