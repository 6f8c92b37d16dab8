"""Images that somebody's own pipeline made of a checkpoint, with what they were made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.text import with_prompts
from diffeval.data.prompts import Prompt
from diffeval.errors import DiffevalError

# What a file may hold: kinds of numpy's dtype, dimensions, and the same in words.
SHAPES = {
    "images": ("u", 4, "pixels"),
    "noise": ("f", 4, "floats [c, h, w]"),
    "seeds": ("iu", 1, "one whole number"),
    "prompts": ("U", 1, "one text"),
    "negatives": ("U", 1, "one text"),
    "labels": ("iu", 1, "one whole number"),
}


@dataclass(frozen=True, slots=True)
class Made:
    """Images, and what they were made of.

    Attributes:
        path: of the file.
        images: uint8 [n, C, H, W].
        noise: that each began with, float32 [n, c, h, w]; None where seeds are given.
        seeds: of each, as torch's CPU generator takes them: diffusers' way; None where the noise is given.
        prompts: of each, with its negative prompt; empty without.
        labels: class of each, int64 [n]; None without.
    """

    path: Path
    images: npt.NDArray[np.uint8]
    noise: npt.NDArray[np.float32] | None
    seeds: npt.NDArray[np.int64] | None
    prompts: tuple[Prompt, ...]
    labels: npt.NDArray[np.int64] | None

    def first(self, n: int) -> "Made":
        """The first ``n`` images, or all."""
        return Made(
            self.path,
            self.images[:n],
            None if self.noise is None else self.noise[:n],
            None if self.seeds is None else self.seeds[:n],
            self.prompts[:n],
            None if self.labels is None else self.labels[:n],
        )

    @property
    def constant(self) -> int:
        """Images of a single colour, which nothing can be told from."""
        flat = self.images.reshape(len(self.images), self.images.shape[1], -1)
        return int((flat.min(axis=2) == flat.max(axis=2)).all(axis=1).sum())

    def require_classes(self, checkpoint: Checkpoint) -> None:
        """Refuses images without the classes that a checkpoint makes them of.

        Raises:
            DiffevalError: if labels are missing, or are none of its classes.
        """
        count = len(checkpoint.classes)
        if not count or self.prompts:
            return
        if self.labels is None:
            raise DiffevalError(f"made: {self.path} holds no labels, and {checkpoint.name} makes images by class")
        wrong = [int(label) for label in self.labels if not 0 <= label < count]
        if wrong:
            raise DiffevalError(f"made: {self.path} holds the label {wrong[0]}, {checkpoint.name} has {count} classes")

    def beginning(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """The noise, float32 [n, *shape].

        Raises:
            DiffevalError: if it is of another shape than the network's input.
        """
        if self.noise is None:
            assert self.seeds is not None, "one of the two is there"
            drawn = [torch.randn(1, *shape, generator=torch.Generator().manual_seed(int(s))) for s in self.seeds]
            return torch.cat(drawn)
        if self.noise.shape[1:] != shape:
            raise DiffevalError(
                f"made: noise in {self.path} is {list(self.noise.shape[1:])}, the network's input {list(shape)}"
            )
        return torch.from_numpy(self.noise)

    def asked_of(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint with these prompts, image i having prompt i; any other as it is.

        Raises:
            DiffevalError: if it takes text, and there is none.
        """
        if checkpoint.text is None:
            return checkpoint
        if not self.prompts:
            raise DiffevalError(f"made: {self.path} holds no prompts, and {checkpoint.name} makes images of text")
        return with_prompts(checkpoint, self.prompts)


def read_made(path: Path) -> Made:
    """Reads an npz: ``images`` uint8 [n, H, W, C] or [n, C, H, W], ``noise`` or ``seeds``, and conditions.

    Raises:
        DiffevalError: for anything that is missing, or does not fit.
    """
    held = _arrays(path)
    strange = [name for name in held if name not in SHAPES]
    if strange or "images" not in held:
        what = f"holds {strange[0]}" if strange else "has no images"
        raise DiffevalError(f"made: {path} {what}; it may hold {', '.join(SHAPES)}, and needs images")
    images = _images(held["images"], path)
    for name, array in held.items():
        kinds, dims, told = SHAPES[name]
        if array.dtype.kind not in kinds or array.ndim != dims or len(array) != len(images):
            raise DiffevalError(
                f"made: {name} in {path} is {array.dtype} {list(array.shape)}, needs {told} for each of {len(images)} "
                f"images"
            )
    if ("noise" in held) == ("seeds" in held):
        raise DiffevalError(f"made: {path} needs what the images began with: noise, or seeds of torch's CPU generator")
    noise, seeds, labels = held.get("noise"), held.get("seeds"), held.get("labels")
    if noise is not None and not np.isfinite(noise).all():
        raise DiffevalError(f"made: noise in {path} holds NaN or infinity")
    if seeds is not None and (seeds.astype(object) < 0).any():
        raise DiffevalError(f"made: seeds in {path} go below 0")
    return Made(
        path,
        images,
        None if noise is None else noise.astype(np.float32),
        None if seeds is None else seeds.astype(np.int64),
        _prompts(held, path),
        None if labels is None else labels.astype(np.int64),
    )


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DiffevalError(f"made: cannot read {path}: {reason}; give an npz of {', '.join(SHAPES)}") from error


def _images(array: npt.NDArray[Any], path: Path) -> npt.NDArray[np.uint8]:
    sided = array.ndim == 4 and (array.shape[3] in (1, 3) or array.shape[1] in (1, 3))
    if array.dtype != np.uint8 or not sided or not len(array):
        raise DiffevalError(
            f"made: images in {path} are {array.dtype} {list(array.shape)}, need uint8 [n, H, W, C] or [n, C, H, W], "
            f"grey or RGB"
        )
    return array.transpose(0, 3, 1, 2) if array.shape[3] in (1, 3) else array


def _prompts(held: dict[str, npt.NDArray[Any]], path: Path) -> tuple[Prompt, ...]:
    if "prompts" not in held:
        if "negatives" in held:
            raise DiffevalError(f"made: {path} holds negatives, and no prompts")
        return ()
    negatives = held.get("negatives", np.full(len(held["prompts"]), ""))
    return tuple(
        Prompt(str(row), str(text), negative=str(negative))
        for row, (text, negative) in enumerate(zip(held["prompts"], negatives, strict=True))
    )
