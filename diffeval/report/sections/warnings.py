"""Everything that was degraded, skipped, truncated or assumed, in one list."""

from diffeval.report.sections import section
from diffeval.report.story import Story
from diffeval.report.view import Block, Note


@section("warnings", "Warnings", 160)
def warnings(story: Story) -> list[Block]:
    """Of all runs; of several runs each with its name."""
    found: list[Block] = []
    for one in story.runs:
        said = one.state.warnings if one.results is None else one.results.warnings
        found += [Note(text, one.name if len(story.runs) > 1 else "", "warn") for text in said]
    return found
