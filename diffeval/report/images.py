"""Images as data URIs: exact pixels where they are small, compressed thumbnails where they are not."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffeval.export import picture
from diffeval.report.view import Tile

# Up to this size compression would be mistaken for the model's own artefacts.
LOSSLESS_UP_TO = 32
SHOWN_SMALL, SHOWN_LARGE = 64, 128


def tiles(images: npt.NDArray[np.uint8], captions: Sequence[str]) -> tuple[Tile, ...]:
    """Tiles of uint8 images [n, C, H, W], grey or RGB, in order."""
    return tuple(_tile(pixels, caption) for pixels, caption in zip(images, captions, strict=True))


def captions_of(count: int, labels: Sequence[int] | None, seed: int | None) -> list[str]:
    """What the first images of a run are; without a seed where they were not sampled."""
    begun = "image" if seed is None else f"seed {seed}, image"
    return [f"{begun} {index}" + ("" if labels is None else f", class {labels[index]}") for index in range(count)]


def _tile(pixels: npt.NDArray[np.uint8], caption: str) -> Tile:
    image = picture(pixels)
    if max(image.size) <= LOSSLESS_UP_TO:
        return Tile(_uri(image, "PNG"), caption, SHOWN_SMALL, True)
    image.thumbnail((SHOWN_LARGE, SHOWN_LARGE))
    return Tile(_uri(image, "WEBP", quality=75), caption, SHOWN_LARGE, False)


def _uri(image: Image.Image, form: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
