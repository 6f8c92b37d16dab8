"""Samples: the uncurated grid first, then what was chosen, each by a rule that is stated."""

from collections.abc import Iterator
from typing import Any

from diffeval.report.again import drawing
from diffeval.report.chosen import Chosen, caption
from diffeval.report.images import LOSSLESS_UP_TO
from diffeval.report.images import tiles as plain_tiles
from diffeval.report.pairs import same_seeds
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Gallery, Note, Tile

# Columns of the grid of small images and of larger ones.
SMALL, LARGE = 16, 8
PICTURES = "sample_pictures"


@section("samples", "Samples", 40, "diffeval eval {checkpoint} --n 10000")
def samples(story: Story) -> list[Block]:
    """The first images of each evaluation, those that were chosen, and the same seeds of two runs."""
    return [*story.by_run(_of_run), *same_seeds(story)]


def _of_run(told: Told) -> Iterator[Block]:
    if told.results is None or told.is_sweep:
        return
    grid, chosen = told.run.arrays("grid"), told.run.arrays(PICTURES)
    try:
        if grid is not None:
            yield _grid(told, grid, chosen or {})
        if chosen is not None:
            yield from tuple(Chosen(told, chosen).galleries())
    except (KeyError, IndexError, ValueError, TypeError) as error:
        said = f"its pictures are not as diffeval writes them, and are left out: {error}."
        yield Note(said, strong=told.name, tone="warn")


def _grid(told: Told, grid: dict[str, Any], chosen: dict[str, Any]) -> Gallery:
    """The first images, in order."""
    images = grid["images"]
    count, columns = len(images), SMALL if max(images.shape[-2:]) <= LOSSLESS_UP_TO else LARGE
    if "grid_caption" in chosen and len(chosen["grid_caption"]) >= count:
        words = [str(one) for one in chosen["grid_caption"][:count]]
    else:
        words = [f"class {one}" for one in grid["labels"]] if "labels" in grid else [""] * count
    plain_tiles(images, words)  # which refuses arrays that are no images
    tiles = tuple(
        Tile(pixels, caption(told, index, words[index]), drawing(told, [index]), index < columns)
        for index, pixels in enumerate(images)
    )
    sampled = told.results is not None and told.results.protocol.sampler is not None
    sentence = (
        f"Images 0 to {count - 1} of seed {told.state.seed}, in order: nothing was chosen."
        if sampled
        else f"The first {count} images in the order in which they count, which is random: nothing was chosen."
    )
    return Gallery("Uncurated grid", sentence, tiles, columns)
