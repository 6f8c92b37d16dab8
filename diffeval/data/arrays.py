"""Sources whose images are one array, in memory or not, and a look at each of them."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from diffeval.data.pixels import Images, InMemory, Labels, Pixels
from diffeval.data.source import ImageSource, Request, Split
from diffeval.data.triage import Finding, Triage, found, repeats
from diffeval.errors import DiffevalError
from diffeval.progress import Reporter

# Images that are looked at together.
_PIECE = 1024
# Bytes above which that takes long enough to be shown.
_SLOW = 1 << 28


def array_source(
    request: Request,
    split: Split,
    pixels: Pixels,
    labels: Labels | None,
    classes: Sequence[str],
    *,
    notes: Sequence[str] = (),
    numbers: npt.NDArray[np.integer] | None = None,
    findings: Sequence[Finding] = (),
    looked_at: int | None = None,
) -> ImageSource:
    """A source of an array, with constant images and exact copies counted.

    Args:
        request: what was asked for.
        split: which part the images are.
        pixels: the images, all of one shape.
        labels: int64 [n], or None.
        classes: class names.
        notes: what was recognised or assumed.
        numbers: where each image lies in the file, for its name in a line; by default its place here.
        findings: what was found before.
        looked_at: images that were looked at, those left out included; by default n.

    Raises:
        DiffevalError: if there are no images, or a label has no class.
    """
    if len(pixels) == 0:
        raise DiffevalError(f"{request.name}: holds no images")
    if labels is not None and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DiffevalError(
            f"{request.name}: labels go from {labels.min()} to {labels.max()}, and there are {len(classes)} classes, "
            f"counted from 0"
        )
    places = np.arange(len(pixels)) if numbers is None else numbers
    constant, copies = _look(pixels, request.options.reporter)
    triage = Triage(
        len(pixels) if looked_at is None else looked_at,
        (
            *findings,
            *found("are of a single colour", _numbered(places[constant])),
            *found("are exact copies of an earlier one", _numbered(places[copies])),
        ),
    )
    return ImageSource(request.name, split, pixels, labels, tuple(classes), tuple(notes), triage)


def parts_source(
    request: Request, read: Callable[[str], tuple[Images, Labels]], classes: Sequence[str]
) -> ImageSource:
    """A source that comes in two parts, train and test; the test part is what is held out.

    Args:
        request: what was asked for.
        read: gives images and labels of the part ``train`` or ``test``.
        classes: class names.

    Raises:
        DiffevalError: if the parts are of different sizes, or of no images.
    """
    wanted = {"train": ("train",), "test": ("test",), "heldout": ("test",), "all": ("train", "test")}[request.part]
    found_parts = [read(part) for part in wanted]
    if len({images.shape[1:] for images, _ in found_parts}) > 1:
        raise DiffevalError(f"{request.name}: the train and test images differ in size; they belong to different sets")
    images = np.concatenate([images for images, _ in found_parts])
    labels = np.concatenate([labels for _, labels in found_parts])
    return array_source(request, request.part, InMemory(images), labels, classes)


def _look(pixels: Pixels, reporter: Reporter) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which images are of one colour, and the rows of exact copies of others."""
    slow = int(pixels.shapes[0].prod()) * len(pixels) > _SLOW
    if slow:
        reporter.stage("looking at images", len(pixels), "images")
    constant, hashes = np.zeros(len(pixels), dtype=bool), []
    for first in range(0, len(pixels), _PIECE):
        images = np.ascontiguousarray(pixels.read(range(first, min(first + _PIECE, len(pixels)))))
        constant[first : first + len(images)] = (images == images[:, :, :1, :1]).all(axis=(1, 2, 3))
        hashes += [hashlib.sha256(image.data).digest() for image in images]
        if slow:
            reporter.advance(len(images))
    copies = repeats(hashes)
    return constant, copies[~constant[copies]]


def _numbered(places: npt.NDArray[np.integer]) -> list[str]:
    return [f"image {place}" for place in places.tolist()]
