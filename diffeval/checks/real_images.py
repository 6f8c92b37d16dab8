"""Real images as a network takes them."""

from dataclasses import dataclass

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import ImageSource
from diffeval.errors import DiffevalError
from diffeval.features.reference import held_out_source
from diffeval.progress import Reporter

# More images than this tell nothing more about a distribution's moments, and would not fit everywhere.
MOST = 4096
# That an autoencoder encodes at once.
ENCODED = 32


@dataclass(frozen=True, slots=True)
class ModelImages:
    """Real images in the network's own range.

    Attributes:
        x0: float32 [n, C, H, W].
        labels: int64 [n], or None.
        spec: where they are from.
    """

    x0: torch.Tensor
    labels: torch.Tensor | None
    spec: str

    def __len__(self) -> int:
        return len(self.x0)

    def first(self, count: int) -> "ModelImages":
        """The first of them; they come in a random order."""
        return ModelImages(self.x0[:count], None if self.labels is None else self.labels[:count], self.spec)


def model_images(source: ImageSource, checkpoint: Checkpoint) -> ModelImages:
    """Up to ``MOST`` images of a source, in an order that is drawn once and for all.

    Raises:
        DiffevalError: if they are not what the network takes, or fewer than two.
    """
    if source.shape != checkpoint.image_shape:
        theirs, ours = ("x".join(map(str, shape)) for shape in (source.shape, checkpoint.image_shape))
        raise DiffevalError(f"check: {source.spec} holds {theirs} images, {checkpoint.name} takes {ours}; give --ref")
    if len(source) < 2:
        raise DiffevalError(f"check: {source.spec} holds {len(source)} image, moments need at least 2; give --ref")
    order = np.random.Generator(np.random.Philox(key=0)).permutation(len(source))[:MOST]
    low, high = checkpoint.value_range
    pixels = torch.from_numpy(source.pixels.read(order)).float() / 255.0
    labels = None
    if checkpoint.classes and source.labels is not None and len(source.classes) == len(checkpoint.classes):
        labels = torch.from_numpy(source.labels[order])
    x0 = low + (high - low) * pixels
    if checkpoint.latents is not None:
        x0 = torch.cat([checkpoint.latents.encode(part) for part in torch.split(x0, ENCODED)])
    return ModelImages(x0, labels, source.spec)


def held_out_images(source: ImageSource, checkpoint: Checkpoint, reporter: Reporter) -> ModelImages | None:
    """Those of the part of the data that is held out from ``source``; None without such."""
    held_out = held_out_source(source, reporter)
    return None if held_out is None else model_images(held_out, checkpoint)
