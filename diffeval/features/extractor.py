"""What an extractor is, and which one a kind of data gets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffeval.data.source import Images, ImageSource
from diffeval.errors import DiffevalError
from diffeval.registry import Registry

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extractor makes of a batch.

    Attributes:
        features: float32 [n, d].
        logits: float32 [n, K] of its classifier, or None without one.
    """

    features: Features
    logits: Features | None


@dataclass(frozen=True, slots=True)
class Extractor:
    """Maps uint8 images [n, C, H, W] to features.

    Attributes:
        name: as ``--extractor`` takes it.
        id: name, layer and the hash of the weights: two numbers compare only where it is equal.
        dim: d.
        resize: how images reach its input size.
        classes: that its logits stand for; empty without a classifier.
        run: the function itself.
    """

    name: str
    id: str
    dim: int
    resize: str
    classes: tuple[str, ...]
    run: Callable[[Images], Extracted]


# Makes an extractor on a device; the path is the user's --weights, or None.
Factory = Callable[[torch.device, Path | None], Extractor]
EXTRACTORS: Registry[Factory] = Registry("extractor", "diffeval.features")


def default_extractor(source: ImageSource) -> str:
    """The extractor that the data calls for, whatever weights lie around.

    Raises:
        DiffevalError: if this version has none for such data.
    """
    if source.name == "digits":
        return "digits"
    raise DiffevalError(
        f"extractor: none is known for {source.spec} by default; name one with --extractor: {', '.join(EXTRACTORS)}"
    )


def extract_all(extractor: Extractor, source: ImageSource, batch: int = 512) -> Extracted:
    """Features and logits of a whole source, in order."""
    parts = [extractor.run(images) for images in source.batches(batch)]
    logits = [part.logits for part in parts if part.logits is not None]
    return Extracted(
        np.concatenate([part.features for part in parts]),
        np.concatenate(logits) if logits else None,
    )
