"""Samples: the uncurated grid first."""

from collections.abc import Iterator

from diffeval.report.images import captions_of, tiles
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Gallery


@section("samples", "Samples", 40, "diffeval eval {checkpoint} --n 10000")
def samples(story: Story) -> list[Block]:
    """The first images of each evaluation."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    arrays = told.run.arrays("grid")
    if arrays is None or told.results is None or told.is_sweep:
        return
    sampled = told.results.protocol.sampler is not None
    labels = arrays["labels"].tolist() if "labels" in arrays else None
    count = len(arrays["images"])
    captions = captions_of(count, labels, told.state.seed if sampled else None)
    sentence = (
        f"The first {count} images in the order in which they count, which is drawn at random: nothing was chosen."
    )
    if sampled:
        sentence = f"Images 0 to {count - 1} of seed {told.state.seed}, in order: nothing was chosen."
    yield Gallery("Uncurated grid", sentence, tiles(arrays["images"], captions), 16)
