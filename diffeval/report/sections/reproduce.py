"""How to make the same numbers again: the exact commands."""

import shlex

from diffeval.report.sections import section
from diffeval.report.story import Story
from diffeval.report.view import Block, Commands


@section("reproduce", "Reproduce", 150)
def reproduce(story: Story) -> list[Block]:
    """The command of each run."""
    typed = tuple(
        (one.name, shlex.join(one.results.provenance.command)) for one in story.runs if one.results is not None
    )
    return [Commands("Commands as they were typed", typed)] if typed else []
