"""FID against the number of images, plain and debiased."""

from collections.abc import Iterator

from diffeval.report.figures.base import fid_against_n
from diffeval.report.rows import rows_of
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block

RULE = "Influence is what leaving the image out would take from plain FID, to first order. Look at these first."


@section("fid", "FID against the number of images", 50, "diffeval fid {checkpoint} --n 10000")
def fid(story: Story) -> list[Block]:
    """The curve of each evaluation with at least two counts, and the images that raise it most."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    if told.results is None or not told.is_evaluation:
        return
    figure = fid_against_n(told.results, f"fid-{told.place}")
    if figure is not None:
        yield figure
    yield from rows_of(told.results, "raises_fid", "Images that raise FID most", RULE)
