"""The space that a latent model works in: what its autoencoder makes of pixels, scaled and shifted."""

from dataclasses import dataclass
from typing import Any

import torch

from diffeval.diffusion.batching import is_out_of_memory
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError

# From this many pixels on, images are decoded one by one: a decoder's activations take gigabytes each.
SLICED = 512 * 512


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """An autoencoder with the scale and shift of its latents: x_0 = (z - shift - mean) scale / spread.

    Attributes:
        vae: diffusers' autoencoder, float32, in eval mode.
        scale: declared factor that brings latents to a standard deviation near 1.
        shift: declared mean that is taken off before.
        shape: (C, H, W) of the images.
        tiled: whether the autoencoder works in overlapping tiles.
        mean: of each channel, where the pipeline takes it off as well; empty for none.
        spread: of each channel, where the pipeline divides by it; empty for none.
    """

    vae: torch.nn.Module
    scale: float
    shift: float
    shape: tuple[int, int, int]
    tiled: bool = False
    mean: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    @torch.inference_mode()
    def decode(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels in about [-1, 1], float32 [b, C, H, W], of x_0 as the network has it; always in float32."""
        vae: Any = self.vae.to(x.device)
        with full_precision():
            parts = torch.split(x.float(), 1 if self.shape[1] * self.shape[2] >= SLICED else len(x))
            try:
                return torch.cat([vae.decode(self._unscaled(part)).sample for part in parts])
            except (RuntimeError, MemoryError) as error:
                if self.tiled or len(parts[0]) > 1 or not is_out_of_memory(error):
                    raise
                raise DiffevalError(
                    f"sampling: {x.device} has no room to decode one image of {self.shape[1]} x {self.shape[2]}; give "
                    f"--vae-tiling, which decodes it in parts"
                ) from error

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """x_0 of pixels in [-1, 1], the mode where the autoencoder gives a distribution."""
        vae: Any = self.vae.to(pixels.device)
        with full_precision():
            found = vae.encode(pixels.float())
            z = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
            mean, spread = self._moments(z)
            scaled: torch.Tensor = (z - self.shift - mean) * self.scale / spread
            return scaled

    def _unscaled(self, x: torch.Tensor) -> torch.Tensor:
        mean, spread = self._moments(x)
        return x * spread / self.scale + self.shift + mean

    def _moments(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and spread of each channel, [1, C, 1, 1]."""
        channels = like.shape[1]
        both = (self.mean or (0.0,) * channels, self.spread or (1.0,) * channels)
        mean, spread = (torch.tensor(one, device=like.device).view(1, -1, 1, 1) for one in both)
        return mean, spread
