"""Damaged image folders and zip archives: headers that lie, names that no terminal should see, paths that climb."""

import io
import json
import os
import struct
import warnings
import zipfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
from PIL import Image

from diffeval.data.source import OpenOptions, open_source
from diffeval.ready import open_images
from fuzzing.damage import broken, json_files
from fuzzing.outcome import Kind

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "NPY")
NAMES = (
    b"a.png", b"b.jpg", b"c.gif", b"d.npy", b"\xff\xfe.png", b"a\nb.png", b"\x1b[2Jc.png", b"<script>.png",
    b" .png", b"e" * 200 + b".png",
    b"\xe2\x80\xaeagnp.png", b"sub/a.png", b"sub/b.png", b"0/a.png", b"1/a.png", b"train/a.png", b"test/a.png",
    b"%s.png", b"-rf.png",
    b"a.PNG", b".hidden.png", b"a.png/b.png", b"x.txt", b"dataset.json",
)  # fmt: skip
CLIMBING = (
    "../a.png",
    "/a.png",
    "C:/a.png",
    "..\\a.png",
    "x/../../a.png",
    "....//a.png",
    "a.png",
    "x/a.png",
    "\udcff.png",
    "a\x00b.png",
    "",
)


@cache
def picture(form: str, mode: str = "RGB", size: tuple[int, int] = (8, 8), frames: int = 1) -> bytes:
    """A healthy picture."""
    random = np.random.Generator(np.random.Philox(0))
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    if form == "NPY":
        np.save(buffer, pixels)
        return buffer.getvalue()
    image = Image.fromarray(pixels).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 2**16, (size[1], size[0]), dtype=np.uint16))
    more: dict[str, Any] = (
        {"save_all": True, "append_images": [Image.fromarray(255 - pixels)] * (frames - 1)} if frames > 1 else {}
    )
    try:
        image.save(buffer, form, **more)
    except (OSError, KeyError, ValueError):  # a mode that the format has not
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, form)
    return buffer.getvalue()


@st.composite
def lying_png(draw: st.DrawFn) -> bytes:
    """A PNG whose header claims a size of its own, with a checksum that fits, over a few pixels."""
    sides = st.sampled_from((0, 1, 8, 5000, 10**5, 2**31 - 1, 2**32 - 1))
    head = struct.pack(
        ">LLBBBBB",
        draw(sides),
        draw(sides),
        draw(st.sampled_from((1, 8, 16, 77))),
        draw(st.integers(0, 7)),
        0,
        0,
        draw(st.integers(0, 2)),
    )
    data = zlib.compress(bytes(draw(st.sampled_from((10, 10**4, 10**6)))))
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    if draw(st.booleans()):
        text = zlib.compress(bytes(10**7))
        chunks.insert(
            1,
            draw(
                st.sampled_from(
                    (
                        (b"zTXt", b"a\x00\x00" + text),
                        (b"iCCP", b"a\x00\x00" + text),
                        (b"PLTE", b"\x00" * 7),
                        (b"acTL", b"\xff" * 8),
                    )
                )
            ),
        )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(held)) + kind + held + struct.pack(">L", zlib.crc32(kind + held))
        for kind, held in chunks
    )


@st.composite
def lying_others(draw: st.DrawFn) -> bytes:
    """Other formats with a size of their own in the header."""
    form = draw(st.sampled_from(("GIF", "BMP", "PPM", "NPY", "TIFF")))
    content, big = picture(form), draw(st.sampled_from((0, 65535, 100_000, 2**31 - 1)))
    if form == "GIF":
        return content[:6] + struct.pack("<HH", big % 65536, big % 65536) + content[10:]
    if form == "BMP":
        return content[:18] + struct.pack("<ll", big, draw(st.sampled_from((big, -1)))) + content[26:]
    if form == "PPM":
        return f"P6\n{big} {big}\n255\n".encode() + bytes(100)
    if form == "NPY":
        return content.replace(b"(8, 8, 3)", f"({big}, {big}, 3)".encode())
    return content.replace(struct.pack("<HHHH", 256, 3, 1, 8)[:4], struct.pack("<HH", 256, 3)).replace(
        struct.pack("<L", 8), struct.pack("<L", big)
    )


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """One file of a folder."""
    how = draw(st.sampled_from(("whole", "whole", "broken", "png", "other", "junk")))
    if how == "png":
        return draw(lying_png())
    if how == "other":
        return draw(lying_others())
    if how == "junk":
        return draw(
            st.sampled_from(
                (b"", b"\x00", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"\x93NUMPY", b"II*\x00")
            )
            | st.binary(max_size=40)
        )
    form, mode = (
        draw(st.sampled_from(FORMATS)),
        draw(st.sampled_from(("RGB", "L", "CMYK", "I;16", "RGBA", "P", "1", "F", "LAB"))),
    )
    size, frames = (
        draw(st.sampled_from(((8, 8), (8, 8), (8, 8), (1, 1), (9, 7), (300, 2)))),
        draw(st.sampled_from((1, 1, 1, 3))),
    )
    content = picture(form, mode, size, frames if form in ("GIF", "TIFF", "WEBP", "PNG") else 1)
    return draw(broken(content)) if how == "broken" else content


@st.composite
def folders(draw: st.DrawFn) -> list[tuple[bytes, bytes | str]]:
    """Files by their names; a text in the place of bytes is where a link leads."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    found: list[tuple[bytes, bytes | str]] = [(name, draw(pictures())) for name in names]
    if draw(st.integers(0, 2)) == 0:
        found.append(
            (b"link.png", draw(st.sampled_from(("link.png", "nowhere", "..", ".", "../outside.txt", "a.png"))))
        )
    if draw(st.integers(0, 2)) == 0:
        found.append(
            (
                draw(st.sampled_from((b"deep/a", b"loop", b"sub/up"))),
                draw(st.sampled_from(("..", ".", "../..", "loop"))),
            )
        )
    if draw(st.integers(0, 2)) == 0:
        labels = {"labels": [["a.png", 0], ["b.jpg", 1], ["sub/a.png", 0]]}
        found.append((b"dataset.json", draw(json_files(labels))))
    return found


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Zip files with names that climb, links, claimed sizes, and members twice."""
    buffer = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),
        zipfile.ZipFile(buffer, "w", draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))) as made,
    ):
        for _ in range(draw(st.integers(1, 4))):
            info = zipfile.ZipInfo(
                draw(
                    st.sampled_from(CLIMBING)
                    if draw(st.integers(0, 3)) == 0
                    else st.sampled_from(("a.png", "b.png", "0/a.png", "1/c.jpg"))
                )
                .encode("utf-8", "replace")
                .decode()
            )
            if draw(st.integers(0, 6)) == 0:
                info.external_attr = 0o120777 << 16
            info.compress_type = made.compression
            made.writestr(info, draw(pictures()))
        if draw(st.integers(0, 3)) == 0:
            made.writestr("dataset.json", draw(json_files({"labels": [["a.png", 0], ["b.png", 1]]})))
    content = bytearray(buffer.getvalue())
    for _ in range(draw(st.integers(0, 2))):
        at = content.rfind(b"PK\x01\x02")
        if at < 0:
            break
        place, value = draw(
            st.sampled_from(
                (
                    (8, b"\x01\x00"),
                    (10, b"\x63\x00"),
                    (24, b"\xff\xff\xff\x7f"),
                    (20, b"\x00\x00\x00\x00"),
                    (42, b"\xff\xff\xff\x7f"),
                    (46, b"../"),
                )
            )
        )
        content[at + place : at + place + len(value)] = value
    return draw(broken(bytes(content))) if draw(st.integers(0, 3)) == 0 else bytes(content)


def read_folder(folder: Path, files: list[tuple[bytes, bytes | str]]) -> None:
    """Opens the images as data and as ready-made ones, and reads them all."""
    for name, held in files:
        path = os.path.join(os.fsencode(folder), name)
        if os.path.lexists(path) or os.path.isfile(os.path.dirname(path)):
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(held, str):
            os.symlink(held, path)
        else:
            with open(path, "wb") as file:
                file.write(held)
    _read(f"folder:{folder}", f"images:{folder}")


def read_archive(folder: Path, content: bytes) -> None:
    """The same of an archive."""
    path = folder / "photos.zip"
    path.write_bytes(content)
    _read(f"zip:{path}", f"images:{path}")


def _read(spec: str, ready: str) -> None:
    options = OpenOptions(on_bad="skip")
    source = open_source(spec, options=options)
    source.content_hash()
    for number in range(len(source)):
        source.pixels.read([number])
        json.dumps(source.pixels.name(number))
    open_images(ready, options)


KINDS = (
    Kind("image folder", folders(), read_folder),
    Kind("zip of images", archives(), read_archive),
)
