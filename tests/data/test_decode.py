import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from diffeval.data.decode import BadImageError, decode

RGB = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
GREY = RGB[..., 0]
COLOUR, PLAIN = Image.fromarray(RGB), Image.fromarray(GREY)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, raw: bytes) -> bytes:
    """A PNG made by hand: Pillow writes neither 16-bit colour nor a header that promises too much."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", encoded(COLOUR, "PNG")),
        ("a.PNG", encoded(COLOUR.convert("RGBA"), "PNG")),
        ("a.webp", encoded(COLOUR, "WEBP", lossless=True)),
        ("a.bmp", encoded(COLOUR, "BMP")),
        ("a.tif", encoded(COLOUR, "TIFF")),
        ("a.tiff", encoded(COLOUR, "TIFF", compression="tiff_lzw")),
        ("a.gif", encoded(COLOUR, "GIF")),
        ("a.ppm", encoded(COLOUR, "PPM")),
        ("a.npy", array(RGB)),
    ],
)
def test_lossless_colour_comes_back_bit_for_bit(name: str, data: bytes) -> None:
    decoded = decode(name, data)
    assert np.array_equal(decoded.pixels, RGB.transpose(2, 0, 1))
    assert not decoded.marks


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", encoded(PLAIN, "PNG")),
        ("a.png", encoded(PLAIN.convert("LA"), "PNG")),
        ("a.bmp", encoded(PLAIN, "BMP")),
        ("a.tif", encoded(PLAIN, "TIFF")),
        ("a.pgm", encoded(PLAIN, "PPM")),
        ("a.npy", array(GREY)),
        ("a.npy", array(GREY[:, :, None])),
    ],
)
def test_lossless_grey_stays_grey(name: str, data: bytes) -> None:
    assert np.array_equal(decode(name, data).pixels, GREY[None])


def test_a_palette_becomes_the_colours_it_stands_for() -> None:
    palette = COLOUR.quantize(64)
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode("a.png", encoded(palette, "PNG")).pixels, expected)


@pytest.mark.parametrize(
    ("name", "data", "marks"),
    [
        ("a.jpg", encoded(COLOUR, "JPEG"), {"lossy"}),
        ("a.jpg", encoded(COLOUR.convert("CMYK"), "JPEG"), {"lossy", "cmyk"}),
        ("a.jpg", encoded(COLOUR, "MPO", save_all=True, append_images=[COLOUR]), {"lossy"}),
        ("a.png", encoded(COLOUR, "JPEG"), {"lossy", "misnamed"}),
        ("a.webp", encoded(COLOUR, "WEBP"), {"lossy"}),
        ("a.tif", encoded(COLOUR, "TIFF", compression="jpeg"), {"lossy"}),
    ],
)
def test_what_is_worth_saying_is_marked(name: str, data: bytes, marks: set[str]) -> None:
    assert decode(name, data).marks == marks


def test_an_exif_orientation_is_marked_and_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode("a.png", encoded(COLOUR.resize((8, 4)), "PNG", exif=exif))
    assert decoded.marks == {"oriented"}
    assert decoded.pixels.shape == (3, 4, 8)


def _transparent() -> Image.Image:
    image = COLOUR.convert("RGBA")
    image.putpixel((0, 0), (1, 2, 3, 254))
    return image


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.png", b"", "empty file"),
        ("a.png", b"no image, only text", "not an image"),
        ("a.png", encoded(COLOUR, "PNG")[:300], "truncated"),
        ("a.png", encoded(COLOUR, "PNG")[:20], "truncated"),
        ("a.jpg", encoded(COLOUR.resize((99, 99)), "JPEG")[:2000], "truncated"),
        ("a.bmp", encoded(COLOUR, "BMP")[:300], "truncated"),
        ("a.png", encoded(_transparent(), "PNG"), "transparent"),
        ("a.png", encoded(COLOUR.quantize(64), "PNG", transparency=0), "transparent"),
        ("a.png", encoded(Image.fromarray(GREY.astype(np.uint16)), "PNG"), "16 bits"),
        ("a.png", png(2, 2, 16, 2, bytes(26)), "16 bits"),
        ("a.png", png(2, 2, 16, 6, bytes(34)), "16 bits"),
        ("a.pgm", b"P5 2 2 65535\n" + bytes(8), "16 bits"),
        ("a.ppm", b"P6 2 2 65535\n" + bytes(24), "16 bits"),
        ("a.tif", encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "colour mode F"),
        ("a.gif", encoded(COLOUR, "GIF", save_all=True, append_images=[COLOUR.rotate(90)]), "2 frames"),
        ("a.png", encoded(COLOUR, "PNG", save_all=True, append_images=[COLOUR.rotate(90)]), "2 frames"),
        ("a.tif", encoded(COLOUR, "TIFF", save_all=True, append_images=[COLOUR]), "2 frames"),
        ("a.png", png(30000, 30000, 8, 2, b""), "30000 x 30000 pixels, more than the 100 megapixels"),
        ("a.npy", array(GREY / 255), "array of float64, needs uint8"),
        ("a.npy", array(RGB.transpose(2, 0, 1)), "array of shape 3x16x16"),
    ],
)
def test_what_cannot_be_used_says_why(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason):
        decode(name, data)


def test_an_array_of_objects_is_never_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BadImageError, match="allow_pickle=False"):
        decode("a.npy", buffer.getvalue())
