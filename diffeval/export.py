"""Images of a run in the forms that other tools read."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from diffeval.runs.chunks import ChunkStore
from diffeval.runs.files import replace_arrays, replace_bytes, replace_text


def write_png(folder: Path, images: ChunkStore, n: int) -> Path:
    """Images 0 to n - 1 as ``png/00000000.png`` and on; classes in ``labels.csv`` and ``dataset.json`` beside them.

    Pictures of an earlier, larger export are removed, so that the folder holds exactly these n.
    """
    target = folder / "png"
    target.mkdir(exist_ok=True)
    for path in target.glob("*.png"):
        if not path.stem.isdigit() or int(path.stem) >= n:
            path.unlink()
    for start in range(0, n, images.size):
        chunk = images.gather_chunk("images", start, min(images.size, n - start))
        for offset, pixels in enumerate(chunk):
            path = target / f"{start + offset:08d}.png"
            buffer = io.BytesIO()
            picture(pixels).save(buffer, format="PNG")
            replace_bytes(path, buffer.getvalue())
    labels = _labels(images, n)
    if labels is not None:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("file", "label"))
        rows.writerows((f"{index:08d}.png", int(label)) for index, label in enumerate(labels))
        replace_text(target / "labels.csv", text.getvalue())
        # What StyleGAN and EDM read, and ``images:`` does, too.
        listed = [[f"{index:08d}.png", int(label)] for index, label in enumerate(labels)]
        replace_text(target / "dataset.json", json.dumps({"labels": listed}) + "\n")
    return target


def write_npz(folder: Path, images: ChunkStore, n: int) -> Path:
    """All images in one file as ADM's evaluator reads them: ``arr_0`` uint8 [n, H, W, C], ``arr_1`` labels."""
    target = folder / "samples.npz"
    pixels = images.gather("images", n).transpose(0, 2, 3, 1)
    labels = _labels(images, n)
    replace_arrays(target, {"arr_0": pixels, **({} if labels is None else {"arr_1": labels})})
    return target


def write_images(
    folder: Path, indices: Sequence[int], images: np.ndarray, labels: np.ndarray | None, form: str
) -> Path:
    """Single images, uint8 [n, C, H, W], named by their indices; those of other indices stay where they are.

    Args:
        folder: that ``png/`` or ``samples.npz`` lies in.
        indices: of the images.
        images: these.
        labels: their classes; None without.
        form: ``png`` or ``npz``.
    """
    if form == "npz":
        held = {"arr_0": images.transpose(0, 2, 3, 1), "indices": np.array(indices, dtype=np.int64)}
        replace_arrays(folder / "samples.npz", {**held, **({} if labels is None else {"arr_1": labels})})
        return folder / "samples.npz"
    for index, pixels in zip(indices, images, strict=True):
        buffer = io.BytesIO()
        picture(pixels).save(buffer, format="PNG")
        replace_bytes(folder / "png" / f"{index:08d}.png", buffer.getvalue())
    return folder / "png"


def picture(pixels: np.ndarray) -> Image.Image:
    """uint8 [C, H, W], grey or RGB, as a PIL image."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def _labels(images: ChunkStore, n: int) -> np.ndarray | None:
    first = images.read(0)
    return images.gather("labels", n) if first is not None and "labels" in first else None
