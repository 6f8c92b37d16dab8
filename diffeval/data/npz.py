"""``npz:FILE``: images in an array, as ADM's sample files hold them, uint8 or float, NHWC or NCHW."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from diffeval.data.arrays import array_source
from diffeval.data.npz_reader import Header, NpzFile
from diffeval.data.pixels import Images, InMemory, Labels, Rows, Shape
from diffeval.data.source import MOST_CLASSES, SOURCES, ImageSource, Request
from diffeval.data.splits import undivided
from diffeval.data.triage import Finding, found
from diffeval.errors import DiffevalError

IMAGES, LABELS = ("arr_0", "images", "x"), ("arr_1", "labels", "y")
# Arrays up to this many bytes, as uint8, are read into memory at once.
IN_MEMORY = 4 << 30
# Reading more than this takes long enough to be said.
SLOW = 1 << 28
# Float images leave their range by this much without losing half a grey level.
TOLERANCE = 1e-3

Layout = Literal["NHWC", "NCHW", "NHW"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """How the numbers of an array are images.

    Attributes:
        layout: order of the axes.
        scale: levels per unit.
        offset: added before scaling.
        words: what a line says of it; empty for uint8 NHWC, which needs no words.
    """

    layout: Layout
    scale: float = 1.0
    offset: float = 0.0
    words: str = ""

    def levels(self, values: npt.NDArray[np.generic]) -> Images:
        """uint8 [k, C, H, W]."""
        if values.dtype != np.uint8:
            numbers: npt.NDArray[np.floating] = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
            values = np.clip(np.rint((numbers + self.offset) * self.scale), 0, 255).astype(np.uint8)
        if self.layout == "NHW":
            values = values[:, None]
        elif self.layout == "NHWC":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype=np.uint8)

    def shape(self, header: Header) -> Shape:
        """(C, H, W) of every image."""
        _, *rest = header.shape
        if self.layout == "NHW":
            return 1, rest[0], rest[1]
        if self.layout == "NHWC":
            return rest[2], rest[0], rest[1]
        return rest[0], rest[1], rest[2]


class NpzPixels:
    """Pixels of an array that stays on disk.

    Args:
        file: that holds it.
        header: of the array.
        meaning: of its numbers.
        rows: of the array, in order.
    """

    def __init__(self, file: NpzFile, header: Header, meaning: Meaning, rows: npt.NDArray[np.intp]) -> None:
        self._file, self._header, self._meaning, self.numbers = file, header, meaning, rows
        self._content: str | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def shapes(self) -> npt.NDArray[np.int64]:
        """See ``Pixels``."""
        return np.broadcast_to(np.array(self._meaning.shape(self._header), dtype=np.int64), (len(self), 3))

    def read(self, rows: Rows) -> Images:
        """See ``Pixels``. Rows that follow one another are read at once."""
        wanted = self.numbers[np.asarray(rows, dtype=np.int64)]
        stretches = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1)
        parts = [self._file.rows(self._header, int(part[0]), int(part[-1]) + 1) for part in stretches]
        return self._meaning.levels(np.concatenate(parts))

    def content_hash(self) -> str:
        """The hash of ``InMemory`` over the same images, taken piece by piece."""
        if self._content is None:
            digest = hashlib.sha256(repr((len(self), *self._meaning.shape(self._header))).encode())
            for first in range(0, len(self), 256):
                digest.update(self.read(range(first, min(first + 256, len(self)))).data)
            self._content = digest.hexdigest()
        return self._content

    def name(self, row: int) -> str:
        """The row in the file."""
        return f"row {self.numbers[row]}"


@SOURCES.register("npz")
def npz(request: Request) -> ImageSource:
    """Opens images, and labels if there are any, in an ``.npz`` file.

    Raises:
        DiffevalError: if there are no images in it, or it cannot be told what their numbers mean.
    """
    if not request.argument:
        raise DiffevalError(f"{request.name}: needs a path, e.g. npz:samples.npz")
    file = NpzFile(request.name, Path(request.argument).expanduser())
    header = _image_array(file)
    layout = _layout(file, header)
    if header.row_bytes * header.shape[0] > SLOW:
        request.options.reporter.note(f"{request.name}: reading {header.shape[0]} images")
    meaning, bad = _meaning(file, header, layout)
    labels = _labels(file, header)
    split = request.split or "all"
    rows, notes = undivided(request, split, header.shape[0], labels)
    good, findings = _without_bad(request, rows, bad)
    pixels = NpzPixels(file, header, meaning, good)
    held = InMemory(_whole(pixels, file, header, meaning)) if _size(pixels) <= IN_MEMORY else pixels
    classes = () if labels is None else tuple(str(number) for number in range(int(labels.max()) + 1))
    said = (f"{header.name} holds {meaning.words}",) if meaning.words else ()
    return array_source(
        request,
        split,
        held,
        None if labels is None else labels[good],
        classes,
        notes=(*said, *notes),
        numbers=good,
        findings=findings,
        looked_at=len(rows),
    )


def _size(pixels: NpzPixels) -> int:
    return int(pixels.shapes.prod(axis=1).sum())


def _whole(pixels: NpzPixels, file: NpzFile, header: Header, meaning: Meaning) -> Images:
    """All chosen images; in order through the whole array, so that the archive's checksum is seen."""
    images = np.empty((len(pixels), *meaning.shape(header)), dtype=np.uint8)
    chosen, done = pixels.numbers, 0
    for first, values in file.pieces(header):
        inside = chosen[(chosen >= first) & (chosen < first + len(values))] - first
        images[done : done + len(inside)] = meaning.levels(values[inside])
        done += len(inside)
    return images


def _image_array(file: NpzFile) -> Header:
    for name in IMAGES:
        if name in file.headers:
            return file.headers[name]
    headers = list(file.headers.values())
    if len(headers) == 1:
        return headers[0]
    names = ", ".join(file.headers) or "nothing"
    if {"mu", "sigma"} <= set(file.headers):
        raise DiffevalError(f"{file.who}: holds statistics ({names}) and no images; use stats:{file.path}")
    raise DiffevalError(f"{file.who}: holds {names}; call the images {', '.join(IMAGES)}")


def _layout(file: NpzFile, header: Header) -> Layout:
    shape = header.shape
    text = "x".join(map(str, shape)) or "a single number"
    if len(shape) in (3, 4) and 0 in shape:
        raise DiffevalError(f"{file.who}: {header.name} is empty ({text})")
    if len(shape) == 3:
        return "NHW"
    if len(shape) == 4 and shape[3] in (1, 3):
        return "NHWC"
    if len(shape) == 4 and shape[1] in (1, 3):
        return "NCHW"
    four = "; 4 channels are not dropped in silence, put them on a background" if 4 in shape[1:4:2] else ""
    raise DiffevalError(f"{file.who}: {header.name} is {text}, needs NHWC, NCHW or NHW with 1 or 3 channels{four}")


def _meaning(file: NpzFile, header: Header, layout: Layout) -> tuple[Meaning, npt.NDArray[np.intp]]:
    """What the numbers mean, by their type and range, and the rows that hold NaN or infinity."""
    kind = header.dtype
    if kind == np.uint8:
        return Meaning(layout, words="" if layout == "NHWC" else f"uint8 {layout}"), np.empty(0, dtype=np.intp)
    if kind.kind not in "fiu":
        raise DiffevalError(f"{file.who}: {header.name} is {kind}, needs uint8 or float")
    low, high, bad = np.inf, -np.inf, []
    for first, values in file.pieces(header):
        flat = values.reshape(len(values), -1)
        finite = np.isfinite(flat).all(axis=1)
        bad.append(np.flatnonzero(~finite) + first)
        if finite.any():
            low, high = min(low, float(flat[finite].min())), max(high, float(flat[finite].max()))
    return _by_range(file, header, layout, low, high), np.concatenate(bad)


def _by_range(file: NpzFile, header: Header, layout: Layout, low: float, high: float) -> Meaning:
    if low > high:
        raise DiffevalError(f"{file.who}: {header.name} holds NaN or infinity in every image")
    found_range = f"values from {low + 0.0:.4g} to {high + 0.0:.4g}"
    words = f"{header.dtype} {layout}, {found_range}, read as"
    if header.dtype.kind == "f" and low >= -TOLERANCE and high <= 1 + TOLERANCE:
        return Meaning(layout, 255.0, 0.0, f"{words} [0, 1]")
    if header.dtype.kind == "f" and low >= -1 - TOLERANCE and high <= 1 + TOLERANCE:
        return Meaning(layout, 127.5, 1.0, f"{words} [-1, 1]")
    if low >= 0 and high <= 255:
        return Meaning(layout, 1.0, 0.0, f"{words} [0, 255]")
    raise DiffevalError(
        f"{file.who}: {header.name} is {header.dtype} with {found_range}; needs [0, 1], [-1, 1] or [0, 255]"
    )


def _labels(file: NpzFile, images: Header) -> Labels | None:
    header = next((file.headers[name] for name in LABELS if name in file.headers), None)
    if header is None or header is images:
        return None
    n, text = images.shape[0], "x".join(map(str, header.shape))
    if header.shape not in ((n,), (n, 1)) or header.dtype.kind not in "iu":
        raise DiffevalError(
            f"{file.who}: {header.name} is {header.dtype} {text}, needs one integer for each of the "
            f"{n} images; leave it out or mend it"
        )
    labels = file.whole(header).reshape(n).astype(np.int64)
    if not 0 <= labels.min() <= labels.max() < MOST_CLASSES:
        raise DiffevalError(
            f"{file.who}: {header.name} goes from {labels.min()} to {labels.max()}; classes are counted from 0"
        )
    return labels


def _without_bad(
    request: Request, rows: npt.NDArray[np.intp], bad: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], tuple[Finding, ...]]:
    """The rows without those that hold NaN or infinity; stops at them unless they may be skipped."""
    names = [f"image {row}" for row in np.intersect1d(rows, bad)]
    good = np.setdiff1d(rows, bad)
    if names and request.options.on_bad == "stop":
        line = found("hold NaN or infinity", names)[0].line(len(rows))
        raise DiffevalError(f"{request.name}: {line}; mend or remove them, or leave them out with --on-bad skip")
    return good, found(f"hold NaN or infinity and were left out, {len(good)} remain", names)
