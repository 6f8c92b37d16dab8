"""The map of features of each evaluation."""

from collections.abc import Iterator

from diffeval.report.figures.features import feature_map
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block


@section("features", "Map of features", 75, "diffeval eval {checkpoint} --n 10000")
def features(story: Story) -> list[Block]:
    """Real, generated, and the difference, by run."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    drawn = feature_map(told.run, f"features-{told.place}") if told.is_evaluation else None
    if drawn is not None:
        yield drawn
