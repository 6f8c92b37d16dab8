"""What a source of real images is, and how its name is written: ``NAME[:ARGUMENT][@SPLIT]``."""

import difflib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from diffeval.data.pixels import Images, InMemory, Labels, Pixels, Shape
from diffeval.data.triage import Triage
from diffeval.errors import DiffevalError
from diffeval.progress import Reporter, SilentReporter
from diffeval.registry import Registry, did_you_mean

__all__ = [
    "MOST_CLASSES",
    "SOURCES",
    "ImageSource",
    "Images",
    "OpenOptions",
    "Request",
    "Split",
    "open_source",
    "split_spec",
]

Split = Literal["train", "heldout", "test", "all"]
SPLITS: tuple[Split, ...] = get_args(Split)
OnBad = Literal["stop", "skip"]

# Decoded images up to this many bytes are kept in memory where they are read again and again.
MEMORY_LIMIT = 1 << 30
# Labels beyond this are no classes.
MOST_CLASSES = 1_000_000


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Real images in a fixed order.

    Attributes:
        name: as the user writes it, without the split, e.g. ``digits`` or ``folder:photos``.
        split: which part of it this is.
        pixels: reads the images by row.
        labels: int64 [n] class indices, or None.
        classes: class names, in the order of the indices; empty without labels.
        notes: what was recognised or assumed, one line each.
        triage: what a look at every image found.
    """

    name: str
    split: Split
    pixels: Pixels
    labels: Labels | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    triage: Triage = field(default_factory=Triage)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def spec(self) -> str:
        """The full name, split included."""
        return f"{self.name}@{self.split}"

    def sizes(self) -> Counter[Shape]:
        """How many images there are of each (C, H, W)."""
        shapes, counts = np.unique(self.pixels.shapes, axis=0, return_counts=True)
        return Counter({(int(c), int(h), int(w)): int(k) for (c, h, w), k in zip(shapes, counts, strict=True)})

    @property
    def shape(self) -> Shape:
        """(C, H, W) of every image.

        Raises:
            DiffevalError: if they are of different sizes; the message counts them.
        """
        sizes = self.sizes()
        if len(sizes) != 1:
            named = ", ".join(f"{count} of {h} x {w}" for (_, h, w), count in sizes.most_common(3))
            more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
            raise DiffevalError(
                f"data: {self.spec} holds images of different sizes ({named}{more}), and one size is needed here; "
                f"resize them first"
            )
        return next(iter(sizes))

    @property
    def images(self) -> Images:
        """All images at once, uint8 [n, C, H, W].

        Raises:
            DiffevalError: if they are of different sizes.
        """
        shape = self.shape
        return self.pixels.read(np.arange(len(self))) if len(self) else np.empty((0, *shape), dtype=np.uint8)

    def batches(self, size: int) -> Iterator[Images]:
        """The images in order, up to ``size`` at a time.

        A batch ends early where the next image has another shape, and the last one is as short as it must be.
        """
        for start, stop in self._stretches():
            for begin in range(start, stop, size):
                yield self.pixels.read(np.arange(begin, min(begin + size, stop)))

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Ranges of rows of one shape, in order."""
        shapes = self.pixels.shapes
        changes = np.flatnonzero((shapes[1:] != shapes[:-1]).any(axis=1)) + 1
        borders = [0, *changes.tolist(), len(self)]
        yield from itertools.pairwise(borders)

    def content_hash(self) -> str:
        """sha256 that changes when any image does: over shape and pixels, or over the names and bytes of files."""
        return self.pixels.content_hash()

    def in_memory(self, limit: int = MEMORY_LIMIT) -> "ImageSource":
        """The same source with all images decoded, where they are of one shape and take at most ``limit`` bytes."""
        bytes_needed = int(self.pixels.shapes.prod(axis=1).sum())
        if isinstance(self.pixels, InMemory) or bytes_needed > limit or len(self.sizes()) != 1:
            return self
        return replace(self, pixels=InMemory(self.images, self.content_hash()))


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How a source is opened.

    Attributes:
        download: fetch what is missing, where the source knows from where.
        on_bad: ``stop`` at images that cannot be used, or ``skip`` them and go on with the rest.
        offline: never use the network.
        reporter: hears of progress, notes and warnings.
    """

    download: bool = False
    on_bad: OnBad = "stop"
    offline: bool = False
    reporter: Reporter = field(default_factory=SilentReporter)


@dataclass(frozen=True, slots=True)
class Request:
    """What a source is asked for.

    Attributes:
        name: as the user writes it, argument included, without the split.
        argument: what follows the colon, e.g. a folder; None without one.
        split: the part that the user names; None where he leaves it out.
        default: the part to take then, where the source has parts.
        options: how to open it.
    """

    name: str
    argument: str | None
    split: Split | None
    default: Split
    options: OpenOptions

    @property
    def part(self) -> Split:
        """The named split, or the default."""
        return self.split or self.default


Opener = Callable[[Request], ImageSource]
SOURCES: Registry[Opener] = Registry("data source", "diffeval.data")


def split_spec(spec: str) -> tuple[str, Split | None]:
    """Parts ``NAME[:ARGUMENT][@SPLIT]`` at the last ``@`` if a split follows it; an argument may hold one itself.

    Raises:
        DiffevalError: if what follows looks like a misspelt split.
    """
    body, marker, tail = spec.rpartition("@")
    if not marker:
        return spec, None
    if tail in SPLITS:
        return body, tail
    _, colon, argument = spec.partition(":")
    near = bool(difflib.get_close_matches(tail, (*SPLITS, *_OTHER_WORDS), n=1, cutoff=0.6))
    if colon and (not near or Path(argument).exists()):
        return spec, None
    meant = " did you mean 'heldout'?" if tail in _OTHER_WORDS else did_you_mean(tail, SPLITS)
    raise DiffevalError(f"data: unknown split {tail!r} in {spec!r};{meant}")


# What others call the held-out part.
_OTHER_WORDS = ("val", "valid", "validation", "eval", "dev")


def absolute(name: str) -> str:
    """A source's name with its folder or file as an absolute path: the same from wherever it is read.

    Args:
        name: ``NAME[:ARGUMENT]``, without a split.
    """
    kind, colon, argument = name.partition(":")
    return f"{kind}:{Path(argument).expanduser().resolve()}" if colon else kind


def open_source(spec: str, default_split: Split = "train", options: OpenOptions | None = None) -> ImageSource:
    """Opens the source that ``spec`` names, and says what was found and assumed through the options' reporter.

    Args:
        spec: ``NAME[:ARGUMENT][@SPLIT]``.
        default_split: what a source that has parts gives where the spec names none.
        options: by default nothing is downloaded, and bad images stop the work.

    Raises:
        DiffevalError: unknown source or split, or whatever the source itself cannot read.
    """
    options = options or OpenOptions()
    if options.on_bad not in get_args(OnBad):
        raise DiffevalError(f"data: --on-bad is {options.on_bad!r}, must be stop or skip")
    body, split = split_spec(spec)
    name, colon, argument = body.partition(":")
    source = SOURCES[name](Request(body, argument if colon else None, split, default_split, options))
    for note in (*source.notes, *source.triage.notes()):
        options.reporter.note(f"{source.spec}: {note}")
    for warning in source.triage.warnings():
        options.reporter.warn(f"{source.spec}: {warning}")
    return source
