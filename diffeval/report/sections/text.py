"""Text: how well images follow their prompts, and the prompts that are followed least."""

from collections.abc import Iterator

from diffeval.report.figures.text import prompt_galleries, text_figures
from diffeval.report.rows import rows_of
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block

WORST = (
    "Errors are of the images of a prompt; other prompts are those that ask for something else. All of them lie in "
    "prompts.csv."
)
IMAGES = (
    "By how much less they fit their own prompt than the mean of the others. Where the prompt that fits best is the "
    "right one, the pair is wrong."
)


@section("text", "Text", 130, "diffeval clip {checkpoint} --prompts prompts.txt")
def text(story: Story) -> list[Block]:
    """CLIP scores of each evaluation with prompts."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    if told.results is None or told.is_sweep:
        return
    yield from text_figures(told.run, told.results, told.place)
    yield from prompt_galleries(told.run, told.results)
    yield from rows_of(told.results, "prompts", "Prompts that are followed least", WORST, folded=True)
    yield from rows_of(told.results, "follow_least", "Images that follow their prompt least", IMAGES, folded=True)
    errors = "Errors are clustered by prompt."
    yield from rows_of(told.results, "clip_groups", "By group of prompts", errors, folded=True)
