"""What the runs cost: seconds by stage, and forward passes of checks."""

from collections.abc import Iterator, Sequence

from diffeval.report.figures.cost import seconds_by_stage
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Rows


@section("cost", "Cost", 140)
def cost(story: Story) -> list[Block]:
    """All runs together, a bar for each; then what checks spent."""
    runs = [(one.name, one.results) for one in story.runs if one.results is not None]
    drawn = seconds_by_stage(runs, "cost-0")
    return [*((drawn,) if drawn else ()), *_passes(story.runs)]


def _passes(runs: Sequence[Told]) -> Iterator[Block]:
    """What checks spent, of all runs in one table."""
    spent = [
        (one.name, str(row["spent_on"]), f"{row['forward_passes']:,}", f"{row['seconds']:.1f} s")
        for one in runs
        if one.results is not None and one.results.checks
        for row in one.results.tables.get("cost", ())
    ]
    if not spent:
        return
    columns, first = ("run", "spent on", "forward passes", "time"), 0 if len(runs) > 1 else 1
    rows = tuple(row[first:] for row in spent)
    title, sentence = "Forward passes of checks", "A forward pass is one image through the network once."
    yield Rows(title, sentence, columns[first:], rows, folded=True)
