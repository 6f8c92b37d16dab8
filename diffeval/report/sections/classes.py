"""Scores by class."""

from collections.abc import Iterator

from diffeval.report.rows import rows_of
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block

RULE = (
    "A broken class hides in a mean. The worst stands first; p is the probability of so bad a reading of a good "
    "class, corrected for having looked at all of them (Holm)."
)


@section("classes", "By class", 70, "diffeval eval {checkpoint} --n 10000")
def classes(story: Story) -> list[Block]:
    """The table of classes of each evaluation."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    if told.results is not None:
        yield from rows_of(told.results, "per_class", "By class", RULE)
