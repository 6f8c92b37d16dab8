"""Noise that belongs to an image, not to a batch, a device or a process.

Image i of seed s draws from its own counter-based stream, Philox with the key (s, i). The initial noise x_T is made
of that stream alone, so it is bit-equal everywhere. Stochastic samplers take one torch generator per image, which is
how diffusers offers noise per image; each is seeded with a word of the image's own stream. torch keeps 32 bits of a
seed on the CPU, so among 50,000 images about 0.3 pairs share their step noise; they never share x_T.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

# Stream numbers, the upper half of Philox' counter, keep the two uses of one key apart.
_INITIAL, _STEPS = 0, 1
# Step noise is drawn for as many steps at once as fit into this many values, 64 MiB; and torch fills tensors by 16
# values at a time, so that one long draw is bit-equal to several short ones where these are multiples of that.
_BLOCK_VALUES, _FILLED = 1 << 24, 16


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


class StepNoise(TorchFunctionMode):
    """Noise for the steps of a batch, each image's from its own generator, drawn for many steps at once.

    Inside, a draw of ``torch.randn`` with ``generator`` is given the next step's noise, bit-equal to what that many
    calls with one generator per image would draw: diffusers' schedulers know no other way to be given noise. Each
    block goes to the device in one copy, and nothing waits for it.

    Args:
        generators: one for each image.
        shape: (C, H, W) of one.
        steps: that the sampler takes at most.
        device: where the images are.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], shape: tuple[int, ...], steps: int, device: torch.device
    ) -> None:
        super().__init__()
        self.generator = torch.Generator()  # stands for all of them, and is never drawn from
        self._own, self._shape, self._device = tuple(generators), tuple(shape), device
        values = len(self._own) * int(np.prod(shape))
        self._steps, self._block = steps, max(1, min(steps, _BLOCK_VALUES // max(values, 1)))
        self._waiting: list[torch.Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answers draws with ``generator``, and leaves all else as it is."""
        given = kwargs or {}
        if func is not torch.randn or given.get("generator") is not self.generator:
            return func(*args, **given)
        wanted = tuple(args[0] if args else given["size"])
        assert wanted == (len(self._own), *self._shape), f"a sampler draws {wanted}, the batch is {self._shape}"
        return self.draw().to(given.get("dtype") or torch.float32)

    def draw(self) -> torch.Tensor:
        """The next step's noise, float32 [b, C, H, W] on the device."""
        if not self._waiting:
            count = min(self._block, max(1, self._steps))
            block = torch.stack([_several(count, self._shape, one) for one in self._own], dim=1)
            if self._device.type == "cuda":
                block = block.pin_memory()
            self._waiting = list(block.to(self._device, non_blocking=True).unbind())[::-1]
            self._steps -= count
        return self._waiting.pop()


def _several(count: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """What ``count`` draws of ``shape`` give one after the other, [count, *shape]."""
    if int(np.prod(shape)) % _FILLED == 0:
        return torch.randn(count, *shape, generator=generator)
    return torch.stack([torch.randn(shape, generator=generator) for _ in range(count)])
