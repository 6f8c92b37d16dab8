"""scikit-learn's 1,797 real handwritten digits, 8x8, 17 grey levels: 1,297 to train on and 500 held out."""

from functools import cache

import numpy as np
import numpy.typing as npt

from diffeval.data.pixels import Images, InMemory, Labels
from diffeval.data.source import SOURCES, ImageSource, Request
from diffeval.errors import DiffevalError

HELD_OUT = 500
CLASSES = tuple(str(digit) for digit in range(10))


@cache
def _load() -> tuple[Images, Labels, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """All images and labels, and the row numbers of the train and held-out parts (stratified by class)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    # The data set counts ink from 0 to 16; 255/16 spreads that over the range of uint8 without loss.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train, heldout = train_test_split(np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=0)
    return images, labels, np.sort(train), np.sort(heldout)


@SOURCES.register("digits")
def digits(request: Request) -> ImageSource:
    """Opens a split of the digits; they have no ``test`` split.

    Raises:
        DiffevalError: for the split ``test``, or with an argument.
    """
    if request.argument is not None:
        raise DiffevalError(f"digits: takes no argument, got {request.argument!r}; write digits or digits@heldout")
    split = request.part
    images, labels, train, heldout = _load()
    rows = {"train": train, "heldout": heldout, "all": np.arange(len(images))}.get(split)
    if rows is None:
        raise DiffevalError(f"digits: has no split {split!r}; use train, heldout or all")
    return ImageSource("digits", split, InMemory(images[rows]), labels[rows], CLASSES)
