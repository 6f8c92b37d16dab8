"""Some images of each mode, real and generated, for the page: those that differ most are wanted most."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from diffeval.data.pixels import Shape
from diffeval.data.source import ImageSource
from diffeval.runs.records import Param

# The file in the run, without its suffix.
PICTURES = "mode_pictures"
# Modes of each kind that are shown, and images of each side.
MODES, IMAGES = 12, 6

Images = npt.NDArray[np.uint8]
Rows = Sequence[Mapping[str, Param]]
# Makes, or reads, images of any indices.
Draw = Callable[[Sequence[int]], Images]


def shown_modes(rows: Rows, kind: str) -> list[Mapping[str, Param]]:
    """What differs, in the order of the table, then the rest; at most ``MODES``."""
    mine = [row for row in rows if row["modes"] == kind]
    wrong = [row for row in mine if row["status"] != "ok" or row["collapsed"]]
    return [*wrong, *(row for row in mine if row not in wrong)][:MODES]


def mode_pictures(
    rows: Rows, terms: Mapping[str, npt.NDArray[np.generic]], draw: Draw, shape: Shape, reference: ImageSource
) -> dict[str, npt.NDArray[np.generic]]:
    """Images by kind of modes: uint8 [M, IMAGES, C, H, W] of each side, and how many of them there are, [M].

    Real ones begin with the one in the middle of the mode, and go on in the order of the reference; generated ones
    come in their own order: nothing is chosen.

    Args:
        rows: the table ``modes``.
        terms: mode of every image, as ``mode_coverage`` keeps them.
        draw: makes the generated images.
        shape: (C, H, W) of these.
        reference: the real ones.
    """
    shapes = {"generated": shape, "real": reference.shape}
    found: dict[str, npt.NDArray[np.generic]] = {}
    for kind in dict.fromkeys(str(row["modes"]) for row in rows):
        ours, theirs, medoids = (
            terms[f"mode_coverage.{kind}_{name}"] for name in ("generated", "reference", "medoids")
        )
        modes = [int(str(row["index"])) for row in shown_modes(rows, kind)]
        generated = [_first(ours, mode) for mode in modes]
        real = [_from_the_middle(theirs, mode, int(medoids[mode])) for mode in modes]
        found[f"{kind}_modes"] = np.array(modes)
        for name, places, read in (("generated", generated, draw), ("real", real, reference.pixels.read)):
            images, counts = _stacked(places, read, shapes[name])
            found |= {f"{kind}_{name}": images, f"{kind}_{name}_count": counts}
    return found


def _first(modes: npt.NDArray[np.generic], mode: int) -> list[int]:
    inside: list[int] = np.flatnonzero(modes == mode)[:IMAGES].tolist()
    return inside


def _from_the_middle(modes: npt.NDArray[np.generic], mode: int, medoid: int) -> list[int]:
    inside = np.flatnonzero(modes == mode).tolist()
    return [medoid, *(row for row in inside if row != medoid)][:IMAGES] if inside else []


def _stacked(places: Sequence[Sequence[int]], draw: Draw, shape: Shape) -> tuple[Images, Images]:
    """The images of each row of places, filled up with black, and how many there are."""
    images = np.zeros((len(places), IMAGES, *shape), dtype=np.uint8)
    flat = [place for inside in places for place in inside]
    drawn = iter(draw(flat) if flat else ())
    for row, inside in enumerate(places):
        for column in range(len(inside)):
            images[row, column] = next(drawn)
    return images, np.array([len(inside) for inside in places], dtype=np.uint8)
