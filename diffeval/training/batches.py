"""What optimiser step s sees: a function of (seed, s), so that a continued run draws what an unbroken one would."""

from dataclasses import dataclass

import numpy as np
import torch

from diffeval.data.source import ImageSource

# Uses of one seed, kept apart by the upper half of Philox' counter.
_ORDER, _STEP, _PROBE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch.

    Attributes:
        x0: float32 [b, C, H, W] in [-1, 1].
        noise: standard normal, like x0.
        t: int64 [b] timesteps.
        condition: int64 [b], the null class where it was dropped; None without classes.
    """

    x0: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    condition: torch.Tensor | None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        condition = None if self.condition is None else self.condition.to(device)
        return Batch(self.x0.to(device), self.noise.to(device), self.t.to(device), condition)


def _random(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, 0, purpose]))


@dataclass(frozen=True, slots=True)
class Batches:
    """Draws batches from a source.

    Attributes:
        source: the training images.
        seed: of the run.
        size: images per batch.
        timesteps: T.
        drop: probability of the null condition.
        conditional: whether classes are used.
    """

    source: ImageSource
    seed: int
    size: int
    timesteps: int
    drop: float
    conditional: bool

    def at(self, step: int) -> Batch:
        """The batch of optimiser step ``step`` (from 0). Every epoch shows every image once, in a new order."""
        positions = np.arange(step * self.size, (step + 1) * self.size)
        epochs, places = np.divmod(positions, len(self.source))
        rows = np.empty(self.size, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = _random(self.seed, _ORDER, int(epoch)).permutation(len(self.source))
            rows[epochs == epoch] = order[places[epochs == epoch]]
        random = _random(self.seed, _STEP, step)
        return self._batch(rows, random.integers(0, self.timesteps, self.size), random, self.drop)

    def probe(self, buckets: int, per_bucket: int) -> Batch:
        """A fixed batch whose timesteps fall into ``buckets`` equal ranges, ``per_bucket`` in each, in order."""
        random = _random(self.seed, _PROBE, 0)
        rows = random.integers(0, len(self.source), buckets * per_bucket)
        low = np.repeat(np.arange(buckets), per_bucket)
        t = ((low + random.random(len(low))) * self.timesteps / buckets).astype(np.int64)
        return self._batch(rows, t, random, 0.0)

    def _batch(self, rows: np.ndarray, t: np.ndarray, random: np.random.Generator, drop: float) -> Batch:
        x0 = torch.from_numpy(self.source.pixels.read(rows)).float() / 127.5 - 1.0
        noise = torch.from_numpy(random.standard_normal(tuple(x0.shape), dtype=np.float32))
        condition = None
        if self.conditional and self.source.labels is not None:
            null = len(self.source.classes)
            kept = random.random(len(rows)) >= drop
            condition = torch.from_numpy(np.where(kept, self.source.labels[rows], null))
        return Batch(x0, noise, torch.from_numpy(t), condition)
