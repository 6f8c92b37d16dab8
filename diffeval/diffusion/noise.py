"""Noise that belongs to an image, not to a batch, a device or a process.

Image i of seed s draws from its own counter-based stream, Philox with the key (s, i). The initial noise x_T is made
of that stream alone, so it is bit-equal everywhere. Stochastic samplers take one torch generator per image, which is
how diffusers offers noise per image; each is seeded with a word of the image's own stream. torch keeps 32 bits of a
seed on the CPU, so among 50,000 images about 0.3 pairs share their step noise; they never share x_T.
"""

from collections.abc import Sequence

import numpy as np
import torch

# Stream numbers, the upper half of Philox' counter, keep the two uses of one key apart.
_INITIAL, _STEPS = 0, 1


def _stream(seed: int, index: int, purpose: int) -> np.random.Philox:
    return np.random.Philox(key=[seed, index], counter=[0, 0, 0, purpose])


def initial_noise(seed: int, indices: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """x_T of the given images: standard normal float32 [len(indices), *shape] on the CPU.

    Args:
        seed: of the run, 0 to 2^64 - 1.
        indices: image indices.
        shape: of one image, (C, H, W).
    """
    noise = np.empty((len(indices), *shape), dtype=np.float32)
    for row, index in zip(noise, indices, strict=True):
        np.random.Generator(_stream(seed, index, _INITIAL)).standard_normal(out=row, dtype=np.float32)
    return torch.from_numpy(noise)


def step_generators(seed: int, indices: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per image for the noise that a stochastic sampler adds at its steps."""
    seeds = (int(_stream(seed, index, _STEPS).random_raw()) & 0xFFFFFFFF for index in indices)
    return [torch.Generator().manual_seed(value) for value in seeds]
