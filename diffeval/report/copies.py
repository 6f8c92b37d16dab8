"""The samples that are most like a training image, each beside it, with what was measured of the two."""

from collections.abc import Mapping
from typing import Any

from diffeval.report.again import drawing
from diffeval.report.chosen import caption
from diffeval.report.story import Told
from diffeval.report.view import Gallery, Tile
from diffeval.runs.words import shortened

NAME = "memorization"


def copies_gallery(told: Told, arrays: Mapping[str, Any]) -> Gallery | None:
    """Pairs as the check ``memorization`` keeps them; None where its table does not belong to them."""
    table = () if told.results is None else told.results.tables.get(f"{NAME}.pairs", ())
    if not table or len(table) != len(arrays["images"]):
        return None
    tiles: list[Tile] = []
    names: list[str] = []
    for row, (sample, training) in zip(table, arrays["images"], strict=True):
        index, ratio, apart = int(str(row["sample"])), float(str(row["ratio"])), float(str(row["grey_levels"]))
        called = f"training image {shortened(str(row['training_image']))}{', mirrored' if row['mirrored'] else ''}"
        measured = f"ratio {ratio:.2f} by {row['by']}, {apart:.1f} grey levels"
        tiles.append(Tile(sample, f"{caption(told, index)}, {measured}", drawing(told, [index]), bool(row["copy"])))
        tiles.append(Tile(training, f"{called}, {measured}", chosen=bool(row["copy"])))
        names.append(f"copy: {measured}" if row["copy"] else measured)
    copies = sum(bool(row["copy"]) for row in table)
    said = "is a copy" if copies == 1 else "are copies"
    title = f"Nearest training images: {copies} of these {len(table)} samples {said}"
    return Gallery(title, str(arrays["sentence"]), tuple(tiles), 2, ("sample", "nearest training image"), tuple(names))
