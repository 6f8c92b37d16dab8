"""``svhn:DIR``: street view house numbers, cropped, from the published Matlab files."""

from pathlib import Path

import numpy as np

from diffeval.data.arrays import parts_source
from diffeval.data.fetch import dataset_folder, fetch, torchvision_download
from diffeval.data.pixels import Images, Labels
from diffeval.data.source import SOURCES, ImageSource, Request
from diffeval.errors import DiffevalError

DIGITS = tuple(str(digit) for digit in range(10))


@SOURCES.register("svhn")
def svhn(request: Request) -> ImageSource:
    """Opens SVHN: 73,257 and 26,032 RGB 32 x 32 photographs of digits; each part is fetched when it is needed.

    Raises:
        DiffevalError: if the files are missing or damaged.
    """
    folder = dataset_folder(request)

    def read(part: str) -> tuple[Images, Labels]:
        path = folder / f"{part}_32x32.mat"
        if not path.is_file():
            fetch(request, "SVHN", folder, torchvision_download("SVHN", split=part), path.name)
        return _read(request.name, path)

    return parts_source(request, read, DIGITS)


def _read(who: str, path: Path) -> tuple[Images, Labels]:
    """Images lie along the last axis; the digit 0 is labelled 10."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=("X", "y"))
        pixels, labels = content["X"], content["y"].reshape(-1)
    except Exception as error:  # damaged Matlab files raise almost anything
        raise DiffevalError(f"{who}: cannot read {path}: {' '.join(str(error).split())}; fetch it again") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[2] != 3 or pixels.shape[3] != len(labels):
        text = f"{pixels.dtype} {'x'.join(map(str, pixels.shape))}"
        raise DiffevalError(f"{who}: {path} holds {text} and {len(labels)} labels, needs uint8 32x32x3xN and N labels")
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels.astype(np.int64) % 10
