"""What a source of real images is, and how its name is written: ``NAME[:ARGUMENT][@SPLIT]``."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from diffeval.errors import DiffevalError
from diffeval.registry import Registry, did_you_mean

Split = Literal["train", "heldout", "test", "all"]
SPLITS: tuple[Split, ...] = get_args(Split)

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Real images in a fixed order.

    Attributes:
        name: as the user writes it, without the split, e.g. ``digits``.
        split: which part of it this is.
        images: uint8 [n, C, H, W].
        labels: int64 [n] class indices, or None.
        classes: class names, in the order of the indices.
    """

    name: str
    split: Split
    images: Images
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def spec(self) -> str:
        """The full name, split included."""
        return f"{self.name}@{self.split}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def batches(self, size: int) -> Iterator[Images]:
        """The images in order, ``size`` at a time, the last batch as short as it must be."""
        for start in range(0, len(self), size):
            yield self.images[start : start + size]

    def content_hash(self) -> str:
        """sha256 over shape and pixels, in order."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).tobytes())
        return digest.hexdigest()


Opener = Callable[[str | None, Split], ImageSource]
SOURCES: Registry[Opener] = Registry("data source", "diffeval.data")


def open_source(spec: str, default_split: Split = "train") -> ImageSource:
    """Opens the source that ``spec`` names.

    Raises:
        DiffevalError: unknown source or split, or whatever the source itself cannot read.
    """
    body, marker, split_text = spec.partition("@")
    if marker and split_text not in SPLITS:
        raise DiffevalError(f"data: unknown split {split_text!r} in {spec!r};{did_you_mean(split_text, SPLITS)}")
    split: Split = split_text if marker else default_split  # type: ignore[assignment]  # checked above
    name, colon, argument = body.partition(":")
    return SOURCES[name](argument if colon else None, split)
