"""Images as they lie in the page: exact pixels where they are small, compressed thumbnails where they are not."""

import base64
import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from diffeval.export import picture
from diffeval.report.view import Tile

# Up to this size compression would be mistaken for the model's own artefacts.
LOSSLESS_UP_TO = 32
# What an image is shown at, in pixels of the page: the largest whole multiple of its own size up to this. Sixteen
# small ones stand in a row; those that would not be enlarged are doubled.
SHOWN_SMALL, SHOWN_LARGE = 58, 128
# Thumbnails that are there without scripts, and images that are carried whole.
PLAIN, ORIGINALS = 64, 16
WEBP = "data:image/webp;base64,"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A tile as the template needs it.

    Attributes:
        id: of its thumbnail; equal pixels have equal ids.
        uri: the thumbnail, where it is there without scripts; else empty.
        width: pixels of the page.
        height: pixels of the page.
        size: the image's own, e.g. ``256 × 256``.
        pixelated: whether the thumbnail is the image itself.
    """

    id: str
    uri: str
    width: int
    height: int
    size: str
    pixelated: bool


@dataclass(slots=True)
class Encoder:
    """Encodes images, each once, however often the page is laid out again."""

    _keys: dict[int, tuple[Tile, str]] = field(default_factory=dict)
    _encoded: dict[tuple[str, int], tuple[str, tuple[int, int]]] = field(default_factory=dict)

    def key(self, tile: Tile) -> str:
        """What equal pixels have in common."""
        if id(tile) not in self._keys:
            pixels = np.ascontiguousarray(tile.pixels)
            digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
            self._keys[id(tile)] = (tile, digest)  # the tile stays alive, so that its id stays its own
        return self._keys[id(tile)][1]

    def thumbnail(self, tile: Tile, side: int) -> tuple[str, tuple[int, int]]:
        """Base64 of a WebP of at most ``side`` pixels, and its width and height; small images stay exact."""
        key = (self.key(tile), side)
        if key not in self._encoded:
            image = picture(tile.pixels)
            exact = is_small(tile)
            if not exact:
                image.thumbnail((side, side), Image.Resampling.LANCZOS)
            options: dict[str, Any] = {"lossless": True} if exact else {"quality": 75}
            self._encoded[key] = (_webp(image, **options), image.size)
        return self._encoded[key]

    def original(self, tile: Tile) -> str:
        """Base64 of a lossless WebP of all pixels."""
        key = (self.key(tile), 0)
        if key not in self._encoded:
            self._encoded[key] = (_webp(picture(tile.pixels), lossless=True), (0, 0))
        return self._encoded[key][0]


class TooLargeError(Exception):
    """The images of a layout are more than fits; there is no need to go on with it."""


class Pictures:
    """The images of one layout of a page, as they are asked for from top to bottom.

    Args:
        encoder: shared by all layouts.
        side: pixels of a thumbnail, at most.
        originals: chosen images that are carried whole, at most.
        limit: bytes of all of them, at most.
    """

    def __init__(
        self, encoder: Encoder, side: int = SHOWN_LARGE, originals: int = ORIGINALS, limit: float = math.inf
    ) -> None:
        self._encoder, self._side, self._originals, self._limit = encoder, side, originals, limit
        self._ids: dict[str, str] = {}
        self._later: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self.bytes = 0

    def drawn(self, tile: Tile) -> Drawn:
        """The thumbnail of a tile; the first ones of a page can be seen without scripts.

        Raises:
            TooLargeError: if the images so far are more than the limit.
        """
        text, (width, height) = self._encoder.thumbnail(tile, self._side)
        key = self._encoder.key(tile)
        known = key in self._ids
        name = self._ids.setdefault(key, str(len(self._ids)))
        uri = ""
        if not known:
            if len(self._ids) <= PLAIN:
                uri = WEBP + text
                self.bytes += len(uri)
            else:
                self._later[name] = text
                self.bytes += len(text)
        small = is_small(tile)
        if tile.chosen and not small and name not in self._whole and len(self._whole) < self._originals:
            self._whole[name] = self._encoder.original(tile)
            self.bytes += len(self._whole[name])
        if self.bytes > self._limit:
            raise TooLargeError
        times = self._times(tile, width, height)
        rows, columns = tile.pixels.shape[-2:]
        return Drawn(name, uri, width * times, height * times, f"{columns} × {rows}", small)

    def width(self, tile: Tile) -> int:
        """Pixels of the page that a tile takes."""
        width, height = self._encoder.thumbnail(tile, self._side)[1]
        return width * self._times(tile, width, height)

    def _times(self, tile: Tile, width: int, height: int) -> int:
        side = max(width, height, 1)
        return max(2, SHOWN_SMALL // side) if is_small(tile) else max(1, self._side // side)

    @property
    def held(self) -> Markup:
        """Thumbnails that scripts attach, and originals, both by id, as JSON; base64 needs no escapes."""
        return Markup(json.dumps({"thumbnails": self._later, "originals": self._whole}, separators=(",", ":")))


def is_small(tile: Tile) -> bool:
    """Whether the image is its own thumbnail."""
    return max(map(int, tile.pixels.shape[-2:])) <= LOSSLESS_UP_TO


def tiles(images: npt.NDArray[np.uint8], captions: Sequence[str], *, command: str = "") -> tuple[Tile, ...]:
    """Tiles of uint8 images [n, C, H, W], grey or RGB, in order."""
    return tuple(Tile(pixels, caption, command) for pixels, caption in zip(images, captions, strict=True))


def captions_of(count: int, labels: Sequence[int] | None, seed: int | None) -> list[str]:
    """What the first images of a run are; without a seed where they were not sampled."""
    begun = "image" if seed is None else f"seed {seed}, image"
    return [f"{begun} {index}" + ("" if labels is None else f", class {labels[index]}") for index in range(count)]


def _webp(image: Image.Image, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", **options)
    return base64.b64encode(buffer.getvalue()).decode()
