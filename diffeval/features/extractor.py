"""What an extractor is, and which one a kind of data gets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffeval.data.pixels import Shape
from diffeval.data.source import Images, ImageSource
from diffeval.diffusion.batching import is_out_of_memory
from diffeval.errors import DiffevalError, StoppedError
from diffeval.features.appearance import appearance
from diffeval.progress import Reporter, SilentReporter
from diffeval.registry import Registry

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extractor makes of a batch.

    Attributes:
        features: float32 [n, d].
        logits: float32 [n, K] of its classifier, or None without one.
        appearance: of the images themselves, see ``features.appearance``; None where nobody asked.
    """

    features: Features
    logits: Features | None
    appearance: Features | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """What an extractor that reads, too, makes of texts.

    Attributes:
        features: float32 [k, d], in the same space as those of images.
        cut: bool [k], whether a text was longer than what it reads, and lost its end.
    """

    features: Features
    cut: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Extractor:
    """Maps uint8 images [n, C, H, W] to features.

    Attributes:
        name: as ``--extractor`` takes it, with its variant where there are several.
        id: all that changes features: name, layer, resize, normalisation, hash of the weights, ``fast``. Two numbers
            compare only where it is equal.
        dim: d.
        resize: how images reach its input size, antialiasing and rounding included.
        classes: that its logits stand for; empty without a classifier.
        run: the function itself.
        layer: where in the network the features are read.
        normalisation: how pixels become the network's input.
        notes: what the user should hear, e.g. the held-out accuracy of an extractor that was fitted.
        exact: makes the same extractor in full precision; None for one that is.
        takes: (C, H, W) of the only images that it takes; None where it resizes any.
        texts: embeds texts into the space of its features, so that it can judge whether an image follows its prompt;
            None for one that only sees.
    """

    name: str
    id: str
    dim: int
    resize: str
    classes: tuple[str, ...]
    run: Callable[[Images], Extracted]
    layer: str = ""
    normalisation: str = ""
    notes: tuple[str, ...] = ()
    exact: Callable[[], "Extractor"] | None = None
    takes: Shape | None = None
    texts: Callable[[Sequence[str]], Texts] | None = None


@dataclass(frozen=True, slots=True)
class ExtractorRequest:
    """What an extractor is made from; one that cannot honour a field refuses it by name.

    Attributes:
        device: where its network runs.
        weights: the user's ``--weights``; None for the extractor's own.
        variant: what follows the colon in ``NAME:VARIANT``; None for the usual one.
        resize: name of a resizing protocol; None for the extractor's own.
        fast: bfloat16 and compiled: several times faster, slightly other numbers.
        offline: nothing is fetched from the network.
        reference: the real images, for an extractor that is fitted to them.
        wanted: id of the extractor that made the statistics of a reference; None where none says so.
        reporter: hears of downloads and training.
        before_fitting: called before a minute is spent on training, with the extractor as far as it is known by then
            (no weights: its id ends in ``UNFITTED``, and it cannot run); what it raises ends the work.
    """

    device: torch.device
    weights: Path | None = None
    variant: str | None = None
    resize: str | None = None
    fast: bool = False
    offline: bool = False
    reference: ImageSource | None = None
    wanted: str | None = None
    reporter: Reporter = field(default_factory=SilentReporter)
    before_fitting: Callable[[Extractor], None] = lambda draft: None


# End of the id of an extractor that has still to be trained.
UNFITTED = "unfitted"

Factory = Callable[[ExtractorRequest], Extractor]
EXTRACTORS: Registry[Factory] = Registry("extractor", "diffeval.features")


def default_extractor(source: ImageSource) -> str:
    """The extractor that the data calls for, whatever weights lie around."""
    if source.name == "digits":
        return "digits"
    # The first image tells the channels even where sizes are mixed.
    return "fitted" if next(source.batches(1)).shape[1] == 1 else "inception"


def refuse(
    request: ExtractorRequest, name: str, *, variant: bool = False, resize: bool = False, fast: bool = False
) -> None:
    """Refuses the marked fields of a request where the user gave them.

    Raises:
        DiffevalError: for the first that is set.
    """
    given = (
        (variant, request.variant is not None, f"has no variant {request.variant!r}; write {name} alone"),
        (resize, request.resize is not None, "has a resizing of its own; leave --resize out"),
        (fast, request.fast, "is fast as it is; leave --fast out"),
    )
    for marked, found, reason in given:
        if marked and found:
            raise DiffevalError(f"extractor: {name} {reason}")


def extract_all(
    extractor: Extractor, source: ImageSource, batch: int = 128, reporter: Reporter | None = None
) -> Extracted:
    """Features, logits and appearance of a whole source, in order; a reporter hears how far it is.

    Where memory does not suffice the batch is halved, and the reporter is warned.

    Raises:
        StoppedError: when the reporter asked to stop; nothing of it is kept.
        DiffevalError: if even a batch of one does not fit.
    """
    reporter = reporter or SilentReporter()
    reporter.stage(f"features of {source.spec}", len(source), "images")
    parts, looks, room = [], [], batch
    for images in source.batches(batch):
        if reporter.stop_requested:
            raise StoppedError(f"features of {source.spec}: stopped; run the same command to continue")
        position = 0
        while position < len(images):
            some = images[position : position + room]
            try:
                parts.append(extractor.run(some))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                room = _halved(len(some), extractor, reporter)
                continue
            position += len(some)
        looks.append(appearance(images))
        reporter.advance(len(images))
    logits = [part.logits for part in parts if part.logits is not None]
    return Extracted(
        np.concatenate([part.features for part in parts]),
        np.concatenate(logits) if logits else None,
        np.concatenate(looks),
    )


def _halved(batch: int, extractor: Extractor, reporter: Reporter) -> int:
    """Half of a batch that memory does not hold."""
    if batch == 1:
        raise DiffevalError(
            f"features: out of memory with a batch of one image in {extractor.name}; use a larger device, or --device "
            f"cpu"
        )
    reporter.warn(f"features: out of memory with a batch of {batch}; going on with {batch // 2}")
    return batch // 2
