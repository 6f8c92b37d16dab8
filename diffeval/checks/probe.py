"""The risk probe: how well a network predicts noise at every noise level, told every timestep, read as every type.

Real images are noised to log-SNR lambda, x = alpha x_0 + sigma eps, and the network is told timestep t. Of its output
f only inner products are kept, <f, f>, <f, x> and <f, eps> of every image: the noise prediction p f + q x of any
prediction type has its squared error in them, so that one pass answers for all types. The same images and the same
noise serve at every level, timestep and type; differences between them are then hardly noisy.

Why it tells what a network was trained for: each target is a fixed linear combination of eps and x_t, so the network
that minimises its own squared error gives, rightly converted, the smallest error of noise that any function of x_t
has. The type and the timestep it was trained with are those where its risk is smallest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.sampling import full_precision
from diffeval.metrics.metric import Array

# Keys the noise; another one than any run is likely to sample with.
SEED = 0x5EED
# Timesteps that networks are trained with, at most.
LONGEST = 4000
# Images times timesteps that go through the network at once.
BATCH = 512


@dataclass(frozen=True, slots=True)
class Reading:
    """Inner products at one noise level, each a mean over the elements of an image.

    Attributes:
        log_snr: lambda.
        times: timesteps that the network was told, ascending, [J]; fractions where that was tried.
        ff: of its output with itself, [J, n].
        fx: with x, [J, n].
        fe: with the noise, [J, n].
        xx: of x with itself, [n].
        xe: of x with the noise, [n].
        ee: of the noise with itself, [n].
    """

    log_snr: float
    times: tuple[float, ...]
    ff: Array
    fx: Array
    fe: Array
    xx: Array
    xe: Array
    ee: Array

    @property
    def signal(self) -> float:
        """Alpha, of a variance-preserving x."""
        return float(np.sqrt(1.0 / (1.0 + np.exp(-self.log_snr))))

    @property
    def noise(self) -> float:
        """Sigma."""
        return float(np.sqrt(1.0 / (1.0 + np.exp(self.log_snr))))

    def risk(self, p: float, q: float) -> Array:
        """Mean squared error of p f + q x as a prediction of the noise, by timestep and image, [J, n]."""
        found: Array = (
            p**2 * self.ff
            + 2 * p * q * self.fx
            - 2 * p * self.fe
            + (q**2 * self.xx - 2 * q * self.xe + self.ee)[None, :]
        )
        return found

    def to_arrays(self) -> dict[str, Array]:
        """What ``from_arrays`` takes."""
        names = ("ff", "fx", "fe", "xx", "xe", "ee")
        return {"times": np.array(self.times), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_arrays(cls, log_snr: float, arrays: Mapping[str, Array]) -> "Reading":
        """As it was kept."""
        held = dict(arrays)
        return cls(log_snr, tuple(map(float, held.pop("times"))), **held)

    def at(self, time: float) -> int:
        """Row of a timestep, or of the one nearest to it."""
        return int(np.argmin(np.abs(np.array(self.times) - time)))

    def joined(self, other: "Reading") -> "Reading":
        """With the timesteps of another reading of the same images at the same level, each once, ascending."""
        times, rows = np.unique(np.array([*self.times, *other.times]), return_index=True)
        ff, fx, fe = (
            np.concatenate(pair)[rows] for pair in ((self.ff, other.ff), (self.fx, other.fx), (self.fe, other.fe))
        )
        return Reading(self.log_snr, tuple(map(float, times)), ff, fx, fe, self.xx, self.xe, self.ee)


@dataclass(frozen=True, slots=True)
class Probe:
    """A network, and the images it is probed with.

    Attributes:
        denoiser: f(x, t, condition) on ``device``.
        x0: real images as it takes them, float32 [n, C, H, W] on the CPU.
        condition: what it is told of them, int64 [n]; None without.
        device: where the network is.
        most_time: the largest timestep that it can be told, where it holds a table of them; None without end.
        advance: told of every image that went through it.
    """

    denoiser: Denoiser
    x0: torch.Tensor
    condition: torch.Tensor | None
    device: torch.device
    most_time: int | None = None
    advance: Callable[[int], None] = lambda count: None

    @torch.inference_mode()
    def read(self, log_snr: float, times: Sequence[float]) -> Reading:
        """Inner products at one noise level and the given timesteps."""
        n = len(self.x0)
        noise = initial_noise(SEED, range(n), tuple(self.x0.shape[1:]))
        x = self.noised(log_snr, noise)
        whole = all(float(t).is_integer() for t in times)
        told = torch.tensor(list(times), dtype=torch.int64 if whole else torch.float32)
        rows = np.repeat(np.arange(len(told)), n)
        columns = np.tile(np.arange(n), len(told))
        found = np.empty((3, len(rows)))
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            images = torch.from_numpy(columns[part])
            t = told[torch.from_numpy(rows[part])]
            output = self.output(x[images], t, None if self.condition is None else self.condition[images])
            for place, other in enumerate((output, x[images], noise[images])):
                found[place, part] = _mean_product(output, other)
            self.advance(len(images))
        ff, fx, fe = found.reshape(3, len(told), n)
        return Reading(
            log_snr,
            tuple(map(float, times)),
            ff,
            fx,
            fe,
            _mean_product(x, x),
            _mean_product(x, noise),
            _mean_product(noise, noise),
        )

    def noised(self, log_snr: float, noise: torch.Tensor) -> torch.Tensor:
        """The images at a noise level, variance-preserving."""
        level = torch.tensor(log_snr, dtype=torch.float64)
        return (torch.sigmoid(level).sqrt() * self.x0 + torch.sigmoid(-level).sqrt() * noise).float()

    @torch.inference_mode()
    def output(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """What the network makes of a batch, float32 on the CPU."""
        told = None if condition is None else condition.to(self.device)
        with full_precision():
            return self.denoiser(x.to(self.device), t.to(self.device), told).float().cpu()


def _mean_product(one: torch.Tensor, other: torch.Tensor) -> Array:
    """Mean over the elements of each image of the product, float64 [n]."""
    product: Array = (one.double() * other.double()).flatten(1).mean(dim=1).numpy()
    return product


def time_grid(log_snr: Array, uniform: int = 17, level: int = 16) -> tuple[int, ...]:
    """Timesteps to tell: evenly spaced ones, and others evenly spaced in the declared lambda.

    Args:
        log_snr: declared, [T].
        uniform: of the first kind.
        level: of the second.
    """
    last = len(log_snr) - 1
    even = np.linspace(0, last, min(uniform, last + 1))
    curve = np.clip(log_snr, -12.0, 12.0)
    by_level = np.interp(np.linspace(curve[-1], curve[0], level), curve[::-1], np.arange(last, -1, -1))
    return tuple(int(t) for t in np.unique(np.round(np.concatenate([even, by_level])).astype(int)))


def beyond_grid(first: int, last: int, most: int | None, per_octave: int = 6) -> tuple[int, ...]:
    """Timesteps from ``first`` to ``last``, evenly in their logarithm; none that cannot be told."""
    count = max(2, int(per_octave * np.log2(last / first)))
    times = np.unique(np.geomspace(first, last, count).round().astype(int))
    return tuple(int(t) for t in times if most is None or t <= most)


def below_grid(count: int = 32) -> tuple[float, ...]:
    """Fractions of the first timestep: what a network wants that was trained with t / T."""
    return tuple(float(t) for t in np.linspace(0.0, 1.0, count + 2)[1:-1])


def refined_grid(reading: Reading, row: int, count: int = 9) -> tuple[float, ...]:
    """Timesteps between the neighbours of a row of a reading."""
    times = reading.times
    low, high = times[max(row - 1, 0)], times[min(row + 1, len(times) - 1)]
    between = np.linspace(low, high, count)
    return tuple(float(t) for t in np.unique(between.round() if low.is_integer() and high.is_integer() else between))
