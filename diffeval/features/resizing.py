"""Resizing protocols: uint8 images of any size to what a network takes.

The protocol moves FID more than many a change of the model does, so it is part of every extractor's id.

Every function takes uint8 [n, C, H, W], grey or RGB, and returns float32 [n, 3, size, size] in [0, 255] (bicubic: a
little beyond) on a device; grey is repeated to RGB.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from diffeval.data.source import Images
from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean

Resize = Callable[[Images, int, torch.device], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Resizing:
    """A resizing protocol.

    Attributes:
        name: as ``--resize`` takes it; part of the extractor's id.
        described: filter, antialiasing and rounding, for the protocol.
        apply: the function.
    """

    name: str
    described: str
    apply: Resize

    @property
    def recorded(self) -> str:
        """What the protocol of a run says."""
        return f"{self.name}: {self.described}"


def pick_resizing(owner: str, name: str | None, known: Mapping[str, Resizing]) -> Resizing:
    """The protocol of that name, or the first of the known ones.

    Raises:
        DiffevalError: if the extractor has none of that name.
    """
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise DiffevalError(f"extractor: {owner} has no resizing {name!r};{did_you_mean(name, known)}")
    return known[name]


def to_rgb(owner: str, images: Images) -> Images:
    """Grey repeated to three channels; RGB as it is.

    Raises:
        DiffevalError: for another number of channels.
    """
    channels = images.shape[1]
    if channels == 1:
        return np.repeat(images, 3, axis=1)
    if channels != 3:
        raise DiffevalError(
            f"extractor: {owner} takes grey or RGB images, got {channels} channels; convert them first"
        )
    return images


def tensorflow_bilinear(images: Images, size: int, device: torch.device) -> torch.Tensor:
    """Bilinear as TensorFlow 1 did it, by torch-fidelity's own function: pixel i of the output lies at i H / size."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    pixels = torch.from_numpy(images).to(device).float()
    resized: torch.Tensor = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(size, size), align_corners=False)
    return resized


def torch_bilinear(images: Images, size: int, device: torch.device) -> torch.Tensor:
    """Bilinear between pixel centres, without antialiasing, as pytorch-fid does it."""
    pixels = torch.from_numpy(images).to(device).float()
    return F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False).clamp(0, 255)


def torch_bicubic(images: Images, size: int, device: torch.device) -> torch.Tensor:
    """Bicubic with antialiasing in floating point."""
    pixels = torch.from_numpy(images).to(device).float()
    return F.interpolate(pixels, size=(size, size), mode="bicubic", align_corners=False, antialias=True)


def pillow_float_bicubic(images: Images, size: int, device: torch.device) -> torch.Tensor:
    """Bicubic with antialiasing by Pillow on float32, channel by channel, as clean-fid does it."""

    def one(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        planes = [Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC) for plane in _floats(image)]
        return np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)

    return _each(one, images, device)


def _floats(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(image, dtype=np.float32)


def pillow_bicubic(images: Images, size: int, device: torch.device) -> torch.Tensor:
    """Bicubic with antialiasing by Pillow, rounded to uint8; other shapes than square are squeezed."""

    def one(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        return _planes(picture.resize((size, size), Image.Resampling.BICUBIC))

    return _each(one, images, device)


def pillow_crop(images: Images, size: int, device: torch.device) -> torch.Tensor:
    """The shorter side to ``size`` as in ``pillow_bicubic``, then the centre, as CLIP's own transform does it."""
    height, width = images.shape[2:]
    short = min(height, width)
    # torchvision's rounding: the longer side is cut to an integer, the crop's corner is rounded.
    to = (int(size * width / short), int(size * height / short))
    left, top = round((to[0] - size) / 2.0), round((to[1] - size) / 2.0)

    def one(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        resized = picture.resize(to, Image.Resampling.BICUBIC)
        return _planes(resized.crop((left, top, left + size, top + size)))

    return _each(one, images, device)


def _planes(picture: Image.Image) -> npt.NDArray[np.float32]:
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1)


def _each(
    one: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]], images: Images, device: torch.device
) -> torch.Tensor:
    """Pillow works on one image at a time, and lets go of the interpreter meanwhile."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        resized = np.stack(list(pool.map(one, images)))
    return torch.from_numpy(resized).to(device)
