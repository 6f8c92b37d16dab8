"""What a metric knows of the prompts that images were to follow."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prompted:
    """Images and prompts in one space, and which belongs to which.

    Attributes:
        images: [n, e], the judge's features, of any length.
        texts: [P, e], the same of the prompts.
        rows: int64 [n], the prompt of each image.
        concepts: int64 [P]; prompts with the same number ask for the same.
        ids: of the prompts.
        prompts: as the judge reads them.
        groups: of the prompts; empty where they have none.
        cut: bool [P], whether a prompt was longer than what the judge reads.
        judge: name of what made the features.
        template: that the prompts were put in.
        missing: prompts whose image could not be used.
    """

    images: Array
    texts: Array
    rows: Rows
    concepts: Rows
    ids: tuple[str, ...]
    prompts: tuple[str, ...]
    groups: tuple[str, ...]
    cut: npt.NDArray[np.bool_]
    judge: str
    template: str = "{}"
    missing: int = 0

    def at(self, rows: slice | Rows) -> "Prompted":
        """Some of the images; what is missing belongs to all of them."""
        images = self.images[rows]
        missing = self.missing if len(images) == len(self.images) else 0
        return replace(self, images=images, rows=self.rows[rows], missing=missing)


def unit(features: Array) -> Array:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    rows: Array = features / np.where(lengths > 0, lengths, 1.0)
    return rows
