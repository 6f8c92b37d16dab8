"""A sweep on the page: curves, the front, the same seeds at every point, and what was concluded by which rule."""

from diffeval.report.facts import protocol_table, provenance_table
from diffeval.report.images import captions_of, tiles
from diffeval.report.lists import lists
from diffeval.report.sweep_figures import against_text, cost_front, curves, front
from diffeval.report.view import Gallery, RunView, Tile
from diffeval.report.words import settings_line
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import Results

# Seeds in the matrix.
SEEDS = 8


def sweep_view(run: RunDirectory, state: RunState, results: Results, index: int) -> RunView:
    """What is shown of a sweep."""
    figures = (
        curves(results, f"curves-{index}"),
        against_text(results, f"text-{index}"),
        front(results, f"front-{index}"),
        cost_front(results, f"cost-{index}"),
    )
    matrix, names = _matrix(run, state.seed)
    return RunView(
        title=f"{results.provenance.checkpoint}: {results.protocol.task}",
        settings=settings_line(results),
        status=state.status,
        figures=tuple(figure for figure in figures if figure is not None),
        galleries=(Gallery("Samples", "One seed and class in a row.", matrix, len(names), names),) if matrix else (),
        lists=lists(results),
        tables=(protocol_table(results), provenance_table(results)),
        warnings=results.warnings,
        command=" ".join(results.provenance.command),
    )


def _matrix(run: RunDirectory, seed: int) -> tuple[tuple[Tile, ...], tuple[str, ...]]:
    """Images by seed and point, row after row, and the names of the points."""
    arrays = run.arrays("matrix")
    if arrays is None:
        return (), ()
    labels = arrays["labels"].tolist() if "labels" in arrays else None
    captions = captions_of(min(SEEDS, arrays["images"].shape[1]), labels, seed)
    columns = [tiles(images[:SEEDS], captions) for images in arrays["images"]]
    return tuple(tile for row in zip(*columns, strict=True) for tile in row), tuple(map(str, arrays["points"]))
