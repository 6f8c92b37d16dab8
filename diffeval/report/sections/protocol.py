"""What defines the numbers: the protocol, the extractor, and where the numbers come from."""

from collections.abc import Iterator

from diffeval.report.facts import facts, protocol_table, provenance_table
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Facts


@section("protocol", "Protocol and provenance", 30)
def protocol(story: Story) -> list[Block]:
    """Facts of each run that measured something."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    if told.results is None:
        return
    yield protocol_table(told.results)
    for row in told.results.tables.get("extractor", ()):
        yield Facts("Extractor", "How images became features.", facts(dict(row)))
    yield provenance_table(told.results)
