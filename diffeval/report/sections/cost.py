"""What the runs cost: seconds by stage, and forward passes of checks."""

from collections.abc import Iterator

from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Facts


@section("cost", "Cost", 140)
def cost(story: Story) -> list[Block]:
    """Of each run."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    results = told.results
    if results is None:
        return
    seconds = results.provenance.seconds
    if seconds:
        rows = tuple((stage, f"{spent:.1f} s") for stage, spent in seconds.items())
        yield Facts("Seconds by stage", f"Wall time on {results.provenance.device}.", rows)
    spent = tuple(
        (str(row["spent_on"]), f"{row['forward_passes']:,} forward passes, {row['seconds']:.1f} s")
        for row in (results.tables.get("cost", ()) if results.checks else ())
    )
    if spent:
        yield Facts("Forward passes", "A forward pass is one image through the network once.", spent)
