"""Ready-made images in the place of a checkpoint: ``images:DIR``, ``images:FILE.npz``, ``images:FILE.zip``."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffeval.data.ahead import ReadAhead
from diffeval.data.pixels import Images, Labels
from diffeval.data.source import ImageSource, OpenOptions, open_source
from diffeval.diffusion.conditions import balanced_labels
from diffeval.errors import DiffevalError

PREFIX = "images:"
# Keys the order in which the images count, so that the first n of them stand for all.
_ORDER = 0x1A6E5


@dataclass(frozen=True, slots=True)
class ReadyImages:
    """Images that somebody else has made.

    Attributes:
        name: the folder's or file's own name.
        path: where they lie.
        sha256: over them.
        source: the images, with their triage.
        assumptions: what a reader must know of them.
        reference: unknown, as is what the images were made by.
        reference_hash: unknown.
        training_step: unknown.
    """

    name: str
    path: Path
    sha256: str
    source: ImageSource
    assumptions: tuple[str, ...] = ()
    reference: None = None
    reference_hash: None = None
    training_step: None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.source.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; empty without labels."""
        return self.source.classes


def open_images(spec: str, options: OpenOptions) -> ReadyImages:
    """Opens ``images:...``.

    Raises:
        DiffevalError: if there are none, or they cannot be used.
    """
    argument = spec.removeprefix(PREFIX)
    if not argument:
        raise DiffevalError(f"{spec} names nothing; write {PREFIX}DIR, {PREFIX}FILE.npz or {PREFIX}FILE.zip")
    path = Path(argument)
    kind = {".npz": "npz", ".zip": "zip"}.get(path.suffix.lower(), "folder")
    # What is noted of a reference does not matter here, and a warning belongs to the run.
    before = len(options.reporter.warnings)
    source = open_source(f"{kind}:{argument}", "all", options)
    warnings = tuple(options.reporter.warnings[before:])
    if not len(source):
        raise DiffevalError(f"images: {path} holds none that can be used")
    ready = ReadyImages(path.resolve().name, path, source.content_hash(), source, warnings)
    return replace(ready, name=ready.name.removesuffix(path.suffix) or ready.name) if ready.image_shape else ready


@dataclass(frozen=True, slots=True)
class Shown:
    """Shows ready-made images where a checkpoint would make them: image i is a row of theirs, in a fixed order.

    Attributes:
        source: the images.
        order: row of image i.
        classes: number of classes where every class has as many images, to within one; 0 otherwise.
        device: where features are made.
    """

    source: ImageSource
    order: npt.NDArray[np.int64]
    classes: int
    device: torch.device
    _ahead: ReadAhead = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Files are decoded while features are made of those before."""
        object.__setattr__(self, "_ahead", ReadAhead(self.source.pixels))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.source.shape

    @property
    def limit(self) -> int:
        """How many images there are."""
        return len(self.source)

    def images(self, indices: Sequence[int]) -> Images:
        """The images of these indices, uint8 [len(indices), C, H, W]."""
        if not isinstance(indices, range):
            return self.source.pixels.read(self.order[list(indices)])
        # Single images are looked up, whole batches come one after the other.
        next_ones = len(indices) if len(indices) > 1 else 0
        then = self.order[indices.stop : indices.stop + next_ones]
        return self._ahead.read(self.order[indices.start : indices.stop], then)

    def name(self, index: int) -> str:
        """The file, or row of a file, that image ``index`` is."""
        return self.source.pixels.name(int(self.order[index]))

    def labels(self, indices: Sequence[int]) -> Labels | None:
        """Their classes, where the images were drawn class by class; None where they were not, or have none.

        Where the numbers of images differ, the class was drawn with the image, and says nothing of the design.
        """
        if not self.classes or self.source.labels is None:
            return None
        return self.source.labels[self.order[list(indices)]]


def shown(ready: ReadyImages, device: torch.device) -> Shown:
    """Puts the images into the order that they count in.

    Files lie sorted by class, or by quality; so they are shuffled with a fixed seed, and where all classes have the
    same number of images every block holds each class once, as it does for a checkpoint.
    """
    source = ready.source
    rows = np.random.Generator(np.random.Philox(_ORDER)).permutation(len(source)).astype(np.int64)
    if source.labels is None:
        return Shown(source, rows, 0, device)
    counts = np.bincount(source.labels, minlength=len(source.classes))
    if len(counts) < 2 or counts.max() - counts.min() > 1 or counts.min() < 1:
        return Shown(source, rows, 0, device)
    return Shown(source, _by_blocks(rows, source.labels, counts), len(counts), device)


def _by_blocks(rows: npt.NDArray[np.int64], labels: Labels, counts: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Rows such that each block of K holds every class once; what is left of the larger classes comes last."""
    of_class = [rows[labels[rows] == index] for index in range(len(counts))]
    least = int(counts.min())
    wanted = balanced_labels(0, least * len(counts), len(counts))
    ordered = np.empty(len(rows), dtype=np.int64)
    for index, members in enumerate(of_class):
        ordered[: len(wanted)][wanted == index] = members[:least]
    ordered[len(wanted) :] = np.concatenate([members[least:] for members in of_class])
    return ordered
