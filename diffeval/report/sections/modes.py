"""Mode coverage: what is missing, thin or over-produced, and pictures of it."""

from collections.abc import Iterator

from diffeval.report.figures.modes import mode_figures, mode_galleries
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block


@section("modes", "Mode coverage", 80, "diffeval coverage {checkpoint} --n 5000")
def modes(story: Story) -> list[Block]:
    """Occupancy, confusion and pictures of each evaluation that counted modes."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    if told.results is not None:
        yield from mode_figures(told.results, told.place)
        yield from mode_galleries(told.run, told.results)
