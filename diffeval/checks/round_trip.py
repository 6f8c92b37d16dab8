"""What an autoencoder makes of real images on the way there and back: numbers, without a verdict."""

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter

from diffeval.checkpoints.diffusers_network import quiet_diffusers
from diffeval.checkpoints.latents import Latents
from diffeval.metrics.metric import Array

Pixels = npt.NDArray[np.float64]
# Of Wang et al. 2004: the window's deviation, where it ends, and the constants that keep quotients finite.
SIGMA, TRUNCATE, C1, C2 = 1.5, 3.5, 0.01**2, 0.03**2
BATCH = 32
# sRGB to XYZ, and the white that both mean (D65).
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = TO_XYZ.sum(axis=1)
# Gammas that reconstructions are held against.
GAMMAS = np.linspace(0.7, 1.4, 141)


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Real images, and what became of them.

    Attributes:
        real: [n, C, H, W] from 0 to 1.
        back: after one trip, clipped to 0 to 1.
        latents: float64 [n, c, h, w], as the network has them.
    """

    real: Pixels
    back: Pixels
    latents: Array


def trip(latents: Latents, pixels: torch.Tensor) -> tuple[Pixels, Array]:
    """Pixels [n, C, H, W] from -1 to 1 after a trip, from 0 to 1 and clipped; and their latents."""
    found, between = [], []
    for part in torch.split(pixels, BATCH):
        x0 = latents.encode(part)
        between.append(x0.double().cpu().numpy())
        found.append((latents.decode(x0) / 2.0 + 0.5).clamp(0.0, 1.0).double().cpu().numpy())
    return np.concatenate(found), np.concatenate(between)


def psnr(real: Pixels, back: Pixels) -> Array:
    """Of each image, in dB, of pixels from 0 to 1; 100 where nothing is lost."""
    errors = ((real - back) ** 2).reshape(len(real), -1).mean(axis=1)
    found: Array = -10.0 * np.log10(np.maximum(errors, 1e-10))
    return found


def ssim(real: Pixels, back: Pixels) -> Array:
    """Structural similarity of each image, with a Gaussian window, mean over pixels and channels; 1 for equals.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, with the window and constants of the authors' code.
    """

    def blurred(x: Pixels) -> Pixels:
        made: Pixels = gaussian_filter(x, (0, 0, SIGMA, SIGMA), truncate=TRUNCATE)
        return made

    means = blurred(real), blurred(back)
    variances = blurred(real**2) - means[0] ** 2, blurred(back**2) - means[1] ** 2
    together = blurred(real * back) - means[0] * means[1]
    above = (2 * means[0] * means[1] + C1) * (2 * together + C2)
    below = (means[0] ** 2 + means[1] ** 2 + C1) * (variances[0] + variances[1] + C2)
    found: Array = (above / below).reshape(len(real), -1).mean(axis=1)
    return found


def delta_e(real: Pixels, back: Pixels) -> float:
    """Mean distance of colours in CIELAB (1976), RGB only: 1 is what an eye just sees side by side."""
    return float(np.sqrt(((_lab(real) - _lab(back)) ** 2).sum(axis=1)).mean())


def _lab(rgb: Pixels) -> Pixels:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.einsum("ij,njhw->inhw", TO_XYZ / WHITE[:, None], linear)
    fx, fy, fz = (np.where(one > 216 / 24389, np.cbrt(one), (24389 / 27 * one + 16) / 116) for one in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=1)


def gamma(real: Pixels, back: Pixels) -> float:
    """The exponent that brings real pixels nearest to those that came back; 1 where tones are kept."""
    sample = np.linspace(0, real.size - 1, min(real.size, 200_000)).astype(np.int64)
    x, y = real.ravel()[sample], back.ravel()[sample]
    errors = [float(((x**one - y) ** 2).mean()) for one in GAMMAS]
    return float(GAMMAS[int(np.argmin(errors))])


def non_finite(latents: Latents, pixels: torch.Tensor, cast: torch.dtype) -> float | str:
    """Share of images whose trip in another precision ends in NaN or infinity; or why that cannot be tried here."""
    with quiet_diffusers():
        vae = copy.deepcopy(latents.vae).to(cast)
    try:
        with torch.inference_mode():
            found = vae.encode(pixels.to(cast))  # type: ignore[operator]
            z = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
            back = vae.decode(z).sample  # type: ignore[operator]
    except (RuntimeError, TypeError) as error:  # not every device has every operation in half precision
        return " ".join(str(error).split())[:80]
    return float((~torch.isfinite(back).flatten(1).all(dim=1)).float().mean())
