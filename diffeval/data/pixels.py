"""Where the pixels of a source lie: an object that reads rows, so that images need not all be in memory."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Rows = npt.NDArray[np.integer] | Sequence[int]
Shape = tuple[int, int, int]


class Pixels(Protocol):
    """Images that are read by row."""

    def __len__(self) -> int:
        """How many."""

    @property
    def shapes(self) -> npt.NDArray[np.int64]:
        """(C, H, W) of each image, int64 [n, 3]; known without decoding."""

    def read(self, rows: Rows) -> Images:
        """Images of the given rows, in that order, uint8 [k, C, H, W].

        Raises:
            DiffevalError: if they are of different shapes, or cannot be read any more.
        """

    def content_hash(self) -> str:
        """sha256 that changes when any image does."""

    def name(self, row: int) -> str:
        """How people find the image again: its file, or its row in a file of many."""


class InMemory:
    """Pixels of one array.

    Args:
        images: uint8 [n, C, H, W].
        content: the content hash, where the images were read from something that has one; by default it is taken
            over shape and pixels.
    """

    def __init__(self, images: Images, content: str | None = None) -> None:
        self._images = images
        self._content = content

    def __len__(self) -> int:
        return len(self._images)

    @property
    def shapes(self) -> npt.NDArray[np.int64]:
        """See ``Pixels``."""
        return np.broadcast_to(np.array(self._images.shape[1:], dtype=np.int64), (len(self), 3))

    def read(self, rows: Rows) -> Images:
        """See ``Pixels``."""
        return self._images[np.asarray(rows, dtype=np.int64)]

    def content_hash(self) -> str:
        """sha256 over shape and pixels, in order."""
        if self._content is None:
            digest = hashlib.sha256(repr(self._images.shape).encode())
            digest.update(np.ascontiguousarray(self._images).data)
            self._content = digest.hexdigest()
        return self._content

    def name(self, row: int) -> str:
        """The row."""
        return f"row {row}"
