"""Images as data URIs: exact pixels where they are small, compressed thumbnails where they are not."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffeval.export import picture
from diffeval.report.view import Tile

# Up to this size compression would be mistaken for the model's own artefacts.
LOSSLESS_UP_TO = 32
SHOWN_SMALL, SHOWN_LARGE = 64, 128


@dataclass(frozen=True, slots=True)
class Drawn:
    """A tile as the template needs it."""

    uri: str
    size: int
    pixelated: bool


class Pictures:
    """The images of a page, encoded as they are asked for."""

    def drawn(self, tile: Tile) -> Drawn:
        """The thumbnail of a tile."""
        image = picture(tile.pixels)
        if max(image.size) <= LOSSLESS_UP_TO:
            return Drawn(_uri(image, "WEBP", lossless=True), SHOWN_SMALL, True)
        image.thumbnail((SHOWN_LARGE, SHOWN_LARGE))
        return Drawn(_uri(image, "WEBP", quality=75), SHOWN_LARGE, False)


def tiles(images: npt.NDArray[np.uint8], captions: Sequence[str], *, command: str = "") -> tuple[Tile, ...]:
    """Tiles of uint8 images [n, C, H, W], grey or RGB, in order."""
    return tuple(Tile(pixels, caption, command) for pixels, caption in zip(images, captions, strict=True))


def captions_of(count: int, labels: Sequence[int] | None, seed: int | None) -> list[str]:
    """What the first images of a run are; without a seed where they were not sampled."""
    begun = "image" if seed is None else f"seed {seed}, image"
    return [f"{begun} {index}" + ("" if labels is None else f", class {labels[index]}") for index in range(count)]


def _uri(image: Image.Image, form: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
