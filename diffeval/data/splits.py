"""Parts of data that comes without any: a seeded 9:1 split, the same on every machine."""

import numpy as np
import numpy.typing as npt

from diffeval.data.pixels import Labels
from diffeval.data.source import Request, Split
from diffeval.errors import DiffevalError

# One image in so many is held out.
HELD_OUT_ONE_IN = 10

RowNumbers = npt.NDArray[np.intp]


def nine_to_one(n: int, labels: Labels | None) -> tuple[RowNumbers, RowNumbers]:
    """Rows of the train and held-out parts, each in order; every class is divided alike.

    Args:
        n: images.
        labels: int64 [n], or None.
    """
    random = np.random.Generator(np.random.Philox(0))
    shuffled = random.permutation(n)
    if labels is not None:
        shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    held_out = np.arange(n) % HELD_OUT_ONE_IN == HELD_OUT_ONE_IN - 1
    return np.sort(shuffled[~held_out]), np.sort(shuffled[held_out])


def undivided(request: Request, split: Split, n: int, labels: Labels | None) -> tuple[RowNumbers, tuple[str, ...]]:
    """Rows of a split of data that has no parts of its own, and the note that says so.

    Args:
        request: for the error.
        split: what is wanted.
        n: images.
        labels: int64 [n], or None.

    Raises:
        DiffevalError: for ``test``, or with fewer images than can be split.
    """
    if split == "all":
        return np.arange(n), ()
    if split == "test":
        raise DiffevalError(
            f"{request.name}: has no test part of its own; use @train or @heldout, a seeded 9:1 split of all, or @all"
        )
    if n < HELD_OUT_ONE_IN:
        raise DiffevalError(
            f"{request.name}: {n} images are too few to be split 9:1, needs {HELD_OUT_ONE_IN}; use @all"
        )
    rows = dict(zip(("train", "heldout"), nine_to_one(n, labels), strict=True))[split]
    return rows, (f"has no parts of its own; this is a seeded 9:1 split, {len(rows)} of {n} images",)
