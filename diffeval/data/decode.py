"""One image file's bytes to pixels, and what about them is worth saying. Nothing is changed in silence."""

import io
import logging
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from diffeval.data.pixels import Images
from diffeval.errors import DiffevalError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".npy"})
MEGAPIXELS = 100
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_EXTENSIONS_OF = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm"),
}
_ORIENTATION = 0x0112
# Pillow logs what it dislikes about a file; without a handler Python would print that between our lines.
logging.getLogger("PIL").addHandler(logging.NullHandler())
_OPAQUE = 255

# What a decoded image may be marked with, and how a line says it of several.
LOSSY, ORIENTED, CMYK, MISNAMED = "lossy", "oriented", "cmyk", "misnamed"
MARKS = {
    LOSSY: "were stored with loss (JPEG, lossy WebP), which shifts scores",
    ORIENTED: "carry an EXIF orientation, which is not applied",
    CMYK: "are CMYK, converted to RGB",
    MISNAMED: "are of another format than their extension says",
}


class BadImageError(Exception):
    """An image that cannot be used; the text is the reason, in a few words."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image.

    Attributes:
        pixels: uint8 [C, H, W], C 1 or 3.
        marks: keys of ``MARKS``.
    """

    pixels: Images
    marks: frozenset[str] = frozenset()


def extension(name: str) -> str:
    """The extension of a file name, in lower case, with its dot; empty without one."""
    tail = name.rsplit("/", 1)[-1]
    return "." + tail.rsplit(".", 1)[1].lower() if "." in tail[1:] else ""


def decode(name: str, data: bytes) -> Decoded:
    """Decodes a file by its content; the name only tells arrays from images, and is compared with the format.

    Raises:
        BadImageError: if it is empty, no image, damaged, too large, animated, transparent, or of more than 8 bits.
    """
    if not data:
        raise BadImageError("empty file")
    if extension(name) == ".npy":
        return Decoded(_array(data))
    try:
        return _decoded(name, data)
    except (BadImageError, DiffevalError):
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged input
        raise BadImageError(_reason(error)) from error


def _decoded(name: str, data: bytes) -> Decoded:
    image = _open(data)
    width, height = image.size
    if width * height > MEGAPIXELS * 1_000_000:
        raise BadImageError(f"{width} x {height} pixels, more than the {MEGAPIXELS} megapixels that are read")
    if width * height == 0:
        raise BadImageError("no pixels")
    frames = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
    if frames > 1:
        raise BadImageError(f"{frames} frames, animated or of several pages; save them as single images")
    _require_eight_bits(image)
    marks = set(_marks(name, data, image))
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        # Another library in this process has told Pillow to fill up what is missing with grey.
        raise DiffevalError("data: Pillow's LOAD_TRUNCATED_IMAGES is on and would hide damage; set it to False")
    image.load()
    return Decoded(_pixels(image), frozenset(marks))


def _open(data: bytes) -> ImageFile.ImageFile:
    """Reads the header only.

    Not by ``Image.open``: its guard against huge images warns below our limit, and above it hides the size.
    """
    Image.init()
    problem = "not an image that is read here"
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(data[:16])
        if not accepted or isinstance(accepted, str):
            continue
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error, KeyError) as error:
            problem = f"damaged {name}: {error}"
    raise BadImageError(problem)


def _require_eight_bits(image: ImageFile.ImageFile) -> None:
    """Pillow itself cuts 16-bit colour to 8 bits without a word."""
    raw = " ".join(str(part) for tile in image.tile for part in _flat(tile[-1]))
    deep = re.search(r";16|\b16[BLN]\b", raw) is not None
    if image.format == "PPM":
        deep = deep or any(isinstance(part, int) and part > _OPAQUE for tile in image.tile for part in _flat(tile[-1]))
    if deep or image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        raise BadImageError("16 bits per channel; convert to 8 bits first")
    if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"):
        raise BadImageError(f"colour mode {image.mode}; convert to 8-bit grey or RGB first")


def _flat(value: Any) -> Iterable[Any]:
    return value if isinstance(value, tuple | list) else (value,)


def _marks(name: str, data: bytes, image: ImageFile.ImageFile) -> Iterable[str]:
    kind = "JPEG" if image.format == "MPO" else image.format or ""
    if kind == "JPEG" or image.info.get("compression") == "jpeg" or (kind == "WEBP" and _lossy_webp(data)):
        yield LOSSY
    # TIFF's own orientation belongs to the format, and Pillow applies it.
    if kind != "TIFF" and image.getexif().get(_ORIENTATION, 1) not in (0, 1):
        yield ORIENTED
    if image.mode == "CMYK":
        yield CMYK
    if extension(name) not in _EXTENSIONS_OF[kind]:
        yield MISNAMED


def _lossy_webp(data: bytes) -> bool:
    """Whether a WebP file has a ``VP8`` chunk; the lossless one is called ``VP8L``."""
    at = 12
    while at + 8 <= len(data):
        if data[at : at + 4] == b"VP8 ":
            return True
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return False


def _pixels(image: Image.Image) -> Images:
    """uint8 [C, H, W] of a loaded image; transparency must be without effect to be dropped."""
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (_OPAQUE, _OPAQUE):
            raise BadImageError("transparent; put it on a background first")
    array = np.asarray(image.convert("L" if grey else "RGB"))
    return np.ascontiguousarray(array[None] if grey else array.transpose(2, 0, 1))


def _array(data: bytes) -> Images:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:
        raise BadImageError(_reason(error)) from error
    if array.dtype != np.uint8:
        raise BadImageError(f"array of {array.dtype}, needs uint8")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.size == 0:
        raise BadImageError(f"array of shape {'x'.join(map(str, array.shape))}, needs HxW, HxWx1 or HxWx3")
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def _reason(error: Exception) -> str:
    """The error in a few words on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "truncated"
    return text if len(text) <= 80 else f"{text[:77]}..."
