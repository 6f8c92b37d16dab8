"""FID against the number of images, plain and debiased; of several runs of one protocol also side by side."""

from collections.abc import Iterator

from diffeval.report.figures.fid import fid_against_n, fid_side_by_side, kid_sentence
from diffeval.report.rows import rows_of
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Figure, Note
from diffeval.runs.protocol import fingerprint
from diffeval.runs.records import Results

RULE = "Influence is what leaving the image out would take from plain FID, to first order. Look at these first."


@section("fid", "FID against the number of images", 50, "diffeval fid {checkpoint} --n 10000")
def fid(story: Story) -> list[Block]:
    """All runs of one protocol together; then the curve of each, and the images that raise it most."""
    together = list(_together(story))
    # A single point of a run is seen where all of them stand side by side.
    return [*together, *story.by_run(lambda told: _of_run(told, alone=not together))]


def _together(story: Story) -> Iterator[Figure]:
    groups: dict[str, list[tuple[str, Results]]] = {}
    for one in story.compared:
        if one.results is not None:
            groups.setdefault(fingerprint(one.results.protocol), []).append((one.name, one.results))
    for place, runs in enumerate(groups.values()):
        drawn = fid_side_by_side(runs, f"fid-together-{place}")
        if drawn is not None:
            yield drawn


def _of_run(told: Told, *, alone: bool) -> Iterator[Block]:
    if told.results is None or not told.is_evaluation:
        return
    figure = fid_against_n(told.results, f"fid-{told.place}")
    several = sum(score.name == "fid_debiased" for score in told.results.scores) > 1
    if figure is not None and (alone or several):
        yield figure
    beside = kid_sentence(told.results)
    if beside is not None:
        yield Note(beside)
    yield from rows_of(told.results, "raises_fid", "Images that raise FID most", RULE, folded=True)
