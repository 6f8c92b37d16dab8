"""What the runs cost: seconds by stage, and forward passes of checks."""

from collections.abc import Iterator

from diffeval.report.figures.cost import seconds_by_stage
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Facts


@section("cost", "Cost", 140)
def cost(story: Story) -> list[Block]:
    """All runs together, a bar for each; then what checks spent."""
    runs = [(one.name, one.results) for one in story.runs if one.results is not None]
    drawn = seconds_by_stage(runs, "cost-0")
    return [*((drawn,) if drawn else ()), *story.by_run(_of_run)]


def _of_run(told: Told) -> Iterator[Block]:
    results = told.results
    if results is None or not results.checks:
        return
    spent = tuple(
        (str(row["spent_on"]), f"{row['forward_passes']:,} forward passes, {row['seconds']:.1f} s")
        for row in results.tables.get("cost", ())
    )
    if spent:
        yield Facts("Forward passes", "A forward pass is one image through the network once.", spent)
