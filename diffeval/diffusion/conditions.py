"""Which class or prompt image i shows: a function of i alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Names the rule in the protocol; a change of the rule needs a new name.
LABEL_RULE, PROMPT_RULE = "balanced-blocks/1", "prompts-in-turn/1"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Which prompt each image has: a row of the checkpoint's table of texts.

    Attributes:
        rows: of each class; without classes of all prompts, in one.
        nulls: the row that stands for no condition, of each prompt: its negative prompt.
        seeds: of each prompt; None where the run's seed keys the noise.
        content: sha256 over the prompts.
    """

    rows: tuple[tuple[int, ...], ...]
    nulls: tuple[int, ...]
    seeds: tuple[int | None, ...]
    content: str

    @property
    def rule(self) -> str:
        """For the protocol."""
        return f"{PROMPT_RULE}/{self.content[:16]}"

    def of(self, indices: Sequence[int]) -> npt.NDArray[np.int64]:
        """The prompt of each image: classes as ``balanced_labels`` has them, and the prompts of a class in turn."""
        classes = len(self.rows)
        passes = [index // classes for index in indices]
        labels = labels_of(indices, classes).tolist() if classes > 1 else [0] * len(indices)
        chosen = [self.rows[label][turn % len(self.rows[label])] for label, turn in zip(labels, passes, strict=True)]
        return np.array(chosen, dtype=np.int64)

    def keys(self, seed: int, indices: Sequence[int]) -> list[tuple[int, int]]:
        """What keys the noise of each image: seed and index. A prompt's own seed counts its passes from 0."""
        found = []
        for index, row in zip(indices, self.of(indices).tolist(), strict=True):
            own = self.seeds[row]
            each = len(self.rows) * len(next(rows for rows in self.rows if row in rows))
            found.append((seed, index) if own is None else (own, index // each))
        return found


def balanced_labels(start: int, stop: int, classes: int) -> npt.NDArray[np.int64]:
    """Labels of images ``start`` to ``stop`` - 1, int64 in [0, classes).

    Every block of ``classes`` consecutive images holds each class once, in an order that is fixed for the block. So
    classes are balanced in every prefix to within one image, whatever the seed, the batch or the number of devices.
    """
    blocks = range(start // classes, -(-stop // classes))
    rows = [np.random.Generator(np.random.Philox(key=[block, classes])).permutation(classes) for block in blocks]
    if not rows:
        return np.empty(0, dtype=np.int64)
    offset = (start // classes) * classes
    return np.concatenate(rows)[start - offset : stop - offset].astype(np.int64)


def labels_of(indices: Sequence[int], classes: int) -> npt.NDArray[np.int64]:
    """Labels of any images, int64 [len(indices)]; see ``balanced_labels``."""
    if isinstance(indices, range) and indices.step == 1:
        return balanced_labels(indices.start, indices.stop, classes)
    blocks = {block: balanced_labels(block * classes, (block + 1) * classes, classes)
              for block in {index // classes for index in indices}}  # fmt: skip
    return np.array([blocks[index // classes][index % classes] for index in indices], dtype=np.int64)
