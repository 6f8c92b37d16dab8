"""Sweeps: curves, fronts, the same seeds at every point, and what was concluded by which rule."""

from collections.abc import Iterator

from diffeval.report.figures.fronts import against_text, cost_front, front
from diffeval.report.figures.sweep import curves
from diffeval.report.images import captions_of, tiles
from diffeval.report.rows import rows_of
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Gallery

# Seeds in the matrix.
SEEDS = 8
FOLLOWS = (
    "Each by its rule; there is no best point as such. The errors do not tell the points of the 95% set apart: any of "
    "them may be the one. They come from leaving groups of seeds out of every point alike."
)
COST = "Network evaluations are those of one image; seconds are this machine's."


@section("sweep-cfg", "Guidance sweep", 90, "diffeval sweep-cfg {checkpoint}")
def sweep_cfg(story: Story) -> list[Block]:
    """Sweeps over the guidance scale."""
    return story.by_run(lambda told: _of_run(told) if told.task == "sweep-cfg" else ())


@section("sweep", "Steps and samplers", 95, "diffeval sweep {checkpoint} --over steps=5,10,20,50")
def sweep(story: Story) -> list[Block]:
    """Sweeps over any other setting."""
    return story.by_run(lambda told: _of_run(told) if told.is_sweep and told.task != "sweep-cfg" else ())


def _of_run(told: Told) -> Iterator[Block]:
    results, place = told.results, told.place
    if results is None:
        return
    drawn = (
        *curves(results, f"curves-{place}"),
        against_text(results, f"text-{place}"),
        front(results, f"front-{place}"),
        cost_front(results, f"quality-cost-{place}"),
    )
    yield from (figure for figure in drawn if figure is not None)
    yield from rows_of(results, "choices", "What follows", FOLLOWS, called={"likely": "95% set"})
    yield from rows_of(results, "pathologies", "What goes wrong, and where it starts")
    yield from rows_of(results, "cost", "What each point costs", COST)
    yield from _matrix(told)


def _matrix(told: Told) -> Iterator[Block]:
    """Images by seed and point, row after row."""
    arrays = told.run.arrays("matrix")
    if arrays is None:
        return
    labels = arrays["labels"].tolist() if "labels" in arrays else None
    captions = captions_of(min(SEEDS, arrays["images"].shape[1]), labels, told.state.seed)
    names = tuple(map(str, arrays["points"]))
    columns = [
        tiles(images[:SEEDS], [f"{caption}, {name}" for caption in captions])
        for images, name in zip(arrays["images"], names, strict=True)
    ]
    shown = tuple(tile for row in zip(*columns, strict=True) for tile in row)
    sentence = "One seed and class in a row, one point in a column."
    yield Gallery("The same seeds at every point", sentence, shown, len(names), names)
