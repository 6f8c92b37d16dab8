"""Precision and recall, density and coverage: of all runs of one protocol together."""

from collections.abc import Iterator

from diffeval.report.figures.fidelity import fidelity
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block
from diffeval.runs.protocol import fingerprint


@section("fidelity", "Fidelity and variety", 60, "diffeval eval {checkpoint} --n 10000")
def fidelity_and_variety(story: Story) -> list[Block]:
    """One figure for each protocol and number of images: these scores depend on both."""
    return list(_drawn(story))


def _drawn(story: Story) -> Iterator[Block]:
    held = {one.run.path.resolve() for one in story.baseline_runs}
    groups: dict[tuple[str, int], list[Told]] = {}
    for one in story.compared:
        assert one.results is not None, "an evaluation has results"
        key = fingerprint(one.results.protocol), one.results.provenance.n
        groups.setdefault(key, []).append(one)
    for place, runs in enumerate(groups.values()):
        known = [(one.name, one.results) for one in runs if one.results is not None]
        first = next((one for one in runs if one.run.path.resolve() in held), runs[0])
        drawn = fidelity(known, f"fidelity-{place}", first.name if len(runs) > 1 else "")
        if drawn is not None:
            yield drawn
