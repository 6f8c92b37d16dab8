"""``cifar10:DIR`` and ``cifar100:DIR``: the published pickles, read by an unpickler that can make arrays only."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from diffeval.data.arrays import parts_source
from diffeval.data.fetch import dataset_folder, fetch, torchvision_download
from diffeval.data.pixels import Images, Labels
from diffeval.data.source import SOURCES, ImageSource, Request
from diffeval.errors import DiffevalError

# All that a pickled array is made from. Nothing else is looked up, so nothing can be called.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
_PIXELS = (3, 32, 32)

CLASSES_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a variant keeps what: its folder, the files in it, and the keys in the files."""

    title: str
    torchvision: str
    folder: str
    train: tuple[str, ...]
    test: str
    labels: str
    meta: str
    names: str


_CIFAR10 = _Layout(
    "CIFAR-10",
    "CIFAR10",
    "cifar-10-batches-py",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test_batch",
    "labels",
    "batches.meta",
    "label_names",
)
_CIFAR100 = _Layout(
    "CIFAR-100", "CIFAR100", "cifar-100-python", ("train",), "test", "fine_labels", "meta", "fine_label_names"
)


class _ArraysOnly(pickle.Unpickler):
    """Refuses whatever is not needed for dictionaries, lists, strings, numbers and arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is never run here")
        return super().find_class(module, name)


def read_pickle(who: str, path: Path) -> dict[str, Any]:
    """A pickled dictionary of arrays, lists and strings; Python 2's strings are read as latin-1.

    Raises:
        DiffevalError: if it is missing, damaged, or asks for anything else.
    """
    try:
        with path.open("rb") as file:
            content = _unpickled(file)
    except DiffevalError:
        raise
    except Exception as error:  # damaged pickles raise almost anything
        raise DiffevalError(f"{who}: cannot read {path}: {' '.join(str(error).split())}; fetch it again") from error
    if not isinstance(content, dict):
        raise DiffevalError(f"{who}: {path} holds a {type(content).__name__}, not a dictionary; fetch it again")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}


def _unpickled(file: IO[bytes]) -> Any:
    return _ArraysOnly(file, encoding="latin-1").load()


def _read(who: str, path: Path, key: str) -> tuple[Images, Labels]:
    """Images and labels of one file; rows are red, green and blue planes of 32 x 32."""
    content = read_pickle(who, path)
    pixels, labels = content.get("data"), content.get(key)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise DiffevalError(f"{who}: {path} holds no uint8 rows of 3072 under 'data'; fetch it again")
    if not isinstance(labels, Sequence) or len(labels) != len(pixels) or not all(type(x) is int for x in labels):
        raise DiffevalError(f"{who}: {path} does not hold one label for each image under {key!r}; fetch it again")
    return pixels.reshape(-1, *_PIXELS), np.array(labels, dtype=np.int64)


def _open(request: Request, layout: _Layout) -> ImageSource:
    above, download = dataset_folder(request), torchvision_download(layout.torchvision)
    folder = _found(above, layout)
    if folder is None:
        fetch(request, layout.title, above, download, f"{layout.folder}/ with its pickles")
        folder = _found(above, layout)
    if folder is None:
        raise DiffevalError(f"{request.name}: {layout.folder} is still not in {above} after the download")
    place = folder

    def read(part: str) -> tuple[Images, Labels]:
        files = layout.train if part == "train" else (layout.test,)
        pairs = [_read(request.name, place / name, layout.labels) for name in files]
        return np.concatenate([images for images, _ in pairs]), np.concatenate([labels for _, labels in pairs])

    return parts_source(request, read, _class_names(request, folder, layout))


def _found(above: Path, layout: _Layout) -> Path | None:
    places = (above / layout.folder, above)
    return next((place for place in places if (place / layout.train[0]).is_file()), None)


def _class_names(request: Request, folder: Path, layout: _Layout) -> tuple[str, ...]:
    if layout is _CIFAR10:
        return CLASSES_10
    names = read_pickle(request.name, folder / layout.meta).get(layout.names)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DiffevalError(f"{request.name}: {folder / layout.meta} holds no {layout.names}; fetch it again")
    return tuple(names)


@SOURCES.register("cifar10")
def cifar10(request: Request) -> ImageSource:
    """Opens CIFAR-10: 50,000 and 10,000 RGB 32 x 32 photographs of ten classes.

    Raises:
        DiffevalError: if the files are missing or damaged.
    """
    return _open(request, _CIFAR10)


@SOURCES.register("cifar100")
def cifar100(request: Request) -> ImageSource:
    """Opens CIFAR-100: 50,000 and 10,000 RGB 32 x 32 photographs of a hundred classes.

    Raises:
        DiffevalError: if the files are missing or damaged.
    """
    return _open(request, _CIFAR100)
