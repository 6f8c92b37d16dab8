"""``stl10:DIR``: the labelled images of STL-10, from the published binary files."""

from pathlib import Path

import numpy as np

from diffeval.data.arrays import parts_source
from diffeval.data.fetch import dataset_folder, fetch, torchvision_download
from diffeval.data.pixels import Images, Labels
from diffeval.data.source import SOURCES, ImageSource, Request
from diffeval.errors import DiffevalError

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_FOLDER = "stl10_binary"
_SHAPE = (3, 96, 96)


@SOURCES.register("stl10")
def stl10(request: Request) -> ImageSource:
    """Opens STL-10: 5,000 and 8,000 RGB 96 x 96 photographs of ten classes.

    Raises:
        DiffevalError: if the files are missing or damaged.
    """
    above = dataset_folder(request)
    folder = _found(above)
    if folder is None:
        fetch(request, "STL-10", above, torchvision_download("STL10"), f"{_FOLDER}/ with train_X.bin and its like")
        folder = above / _FOLDER
    place = folder
    return parts_source(request, lambda part: _read(request.name, place, part), CLASSES)


def _found(above: Path) -> Path | None:
    return next((place for place in (above / _FOLDER, above) if (place / "train_X.bin").is_file()), None)


def _read(who: str, folder: Path, part: str) -> tuple[Images, Labels]:
    """Planes are stored column by column, and classes are counted from 1."""
    try:
        pixels = np.fromfile(folder / f"{part}_X.bin", dtype=np.uint8)
        labels = np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8)
    except OSError as error:
        raise DiffevalError(f"{who}: cannot read {part} in {folder}: {error}; fetch it again") from error
    if len(pixels) != len(labels) * int(np.prod(_SHAPE)):
        raise DiffevalError(
            f"{who}: {part}_X.bin in {folder} holds {len(pixels)} bytes, {len(labels)} labels need "
            f"{len(labels) * int(np.prod(_SHAPE))}; fetch it again"
        )
    return np.ascontiguousarray(pixels.reshape(-1, *_SHAPE).swapaxes(2, 3)), labels.astype(np.int64) - 1
