"""Scores by class."""

from collections.abc import Iterator

from diffeval.report.figures.classes import by_class
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Note

RULE = (
    "A broken class hides in a mean. The worst stands first; p is the probability of so bad a reading of a good "
    "class, corrected for having looked at all of them (Holm)."
)


@section("classes", "By class", 70, "diffeval eval {checkpoint} --n 10000")
def classes(story: Story) -> list[Block]:
    """Bars of each evaluation with classes."""
    found = story.by_run(_of_run)
    return [Note(RULE), *found] if found else []


def _of_run(told: Told) -> Iterator[Block]:
    if told.results is not None:
        yield from by_class(told.results, f"classes-{told.place}")
