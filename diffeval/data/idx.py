"""``mnist:DIR`` and ``fashion-mnist:DIR``: pairs of IDX files, packed with gzip or not."""

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.data.arrays import array_source, parts_source
from diffeval.data.fetch import dataset_folder, fetch, torchvision_download
from diffeval.data.pixels import Images, InMemory, Labels
from diffeval.data.source import SOURCES, ImageSource, Request
from diffeval.data.splits import undivided
from diffeval.errors import DiffevalError

# File names begin so; the parts of the data that they hold.
PAIRS = {"train": "train", "t10k": "test"}
# The first four bytes: unsigned bytes, and the number of dimensions.
_UNSIGNED_BYTES = 0x08
# No IDX file of images comes near this; a header that asks for more is damaged.
_MOST_BYTES = 1 << 33

DIGITS = tuple(str(digit) for digit in range(10))
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes.

    Args:
        path: the file; gzip is told by its content.
        dimensions: how many it must have.

    Raises:
        DiffevalError: if it is another kind of file, damaged, or of another length than its header says.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            return _read(path, file.read, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise DiffevalError(f"data: cannot read {path}: {error}; fetch it again") from error


def _read(path: Path, read: Callable[[int], bytes], dimensions: int) -> npt.NDArray[np.uint8]:
    header = read(4 + 4 * dimensions)
    magic = bytes((0, 0, _UNSIGNED_BYTES, dimensions))
    if header[:4] != magic or len(header) < 4 + 4 * dimensions:
        raise DiffevalError(
            f"data: {path} begins with {header[:4].hex() or 'nothing'}, an IDX file with {magic.hex()}"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    promised = int(np.prod([int(extent) for extent in shape], dtype=object))
    if promised > _MOST_BYTES:
        raise DiffevalError(f"data: the header of {path} promises {promised} bytes; it is damaged, fetch it again")
    body = read(promised + 1)
    if len(body) != promised:
        relation = "more" if len(body) > promised else f"{len(body)}"
        raise DiffevalError(f"data: {path} promises {promised} bytes and holds {relation}; fetch it again")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _find(folder: Path, beginning: str, kind: str) -> Path | None:
    """An IDX file under one of the names that are in use: ``-idx3`` or ``.idx3``, packed or not."""
    names = [f"{beginning}-{kind}{mark}ubyte{end}" for mark in ("-idx{}-", ".idx{}-") for end in ("", ".gz")]
    for name in names:
        path = folder / name.format(3 if kind == "images" else 1)
        if path.is_file():
            return path
    return None


def _pairs(who: str, folder: Path, subfolder: str) -> dict[str, tuple[Path, Path]]:
    """The complete pairs, by part; also where torchvision puts them."""
    pairs: dict[str, tuple[Path, Path]] = {}
    for place in (folder, folder / "raw", folder / subfolder / "raw"):
        for beginning, part in PAIRS.items():
            images, labels = (_find(place, beginning, kind) for kind in ("images", "labels"))
            if images is not None and labels is not None:
                pairs.setdefault(part, (images, labels))
            elif images is not None or labels is not None:
                other = "labels" if labels is None else "images"
                raise DiffevalError(f"{who}: {images or labels} is there and its {other} are not; put them beside it")
    return pairs


def _read_pair(images_path: Path, labels_path: Path) -> tuple[Images, Labels]:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DiffevalError(
            f"data: {images_path} holds {len(images)} images and {labels_path.name} {len(labels)} labels; they belong "
            f"to different sets"
        )
    return images[:, None], labels.astype(np.int64)


def _open(request: Request, title: str, subfolder: str, classes: tuple[str, ...]) -> ImageSource:
    folder = dataset_folder(request)
    pairs = _pairs(request.name, folder, subfolder)
    if not pairs:
        files = "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz, or the same of t10k, or both pairs"
        fetch(request, title, folder, torchvision_download(subfolder), files)
        pairs = _pairs(request.name, folder, subfolder)
    if len(pairs) == 1:
        ((part, pair),) = pairs.items()
        images, labels = _read_pair(*pair)
        rows, notes = undivided(request, request.part, len(images), labels)
        notes = tuple(f"only the {part} files are here, so it {note}" for note in notes)
        return array_source(
            request, request.part, InMemory(images[rows]), labels[rows], classes, notes=notes, numbers=rows
        )
    return parts_source(request, lambda part: _read_pair(*pairs[part]), classes)


@SOURCES.register("mnist")
def mnist(request: Request) -> ImageSource:
    """Opens MNIST: 60,000 and 10,000 grey 28 x 28 handwritten digits.

    Raises:
        DiffevalError: if the files are missing or damaged.
    """
    return _open(request, "MNIST", "MNIST", DIGITS)


@SOURCES.register("fashion-mnist")
def fashion_mnist(request: Request) -> ImageSource:
    """Opens Fashion-MNIST: 60,000 and 10,000 grey 28 x 28 pictures of clothes.

    Raises:
        DiffevalError: if the files are missing or damaged.
    """
    return _open(request, "Fashion-MNIST", "FashionMNIST", CLOTHES)
