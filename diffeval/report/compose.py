"""A story to the page that tells it: banners, the sections that have data, and the names of those that have none."""

from collections.abc import Iterator

from diffeval.report.banners import CHANGED, banners
from diffeval.report.fill import filled
from diffeval.report.names import listed
from diffeval.report.sections import Section, in_order
from diffeval.report.story import Story
from diffeval.report.view import Block, Note, Page, SectionView


def compose(story: Story) -> Page:
    """The page of a story."""
    sections, missing = [], []
    for one in in_order():
        blocks = _drawn(one, story)
        if blocks:
            sections.append(SectionView(one.name, one.title, blocks))
        elif one.fill and (command := filled(one, story)):
            missing.append((one.title, command))
    return Page(
        title=listed(one.subject for one in story.runs),
        lines=tuple(f"{one.task}: {one.settings}" for one in story.runs),
        banners=banners(story),
        sections=tuple(sections),
        missing=tuple(missing),
        notices=tuple(notices(story)),
    )


def _drawn(one: Section, story: Story) -> tuple[Block, ...]:
    """The blocks of a section; one that cannot be drawn, of arrays that diffeval does not write, says that."""
    try:
        return tuple(one.draw(story))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        said = f"What the runs hold for it is not as diffeval writes it ({type(error).__name__}: {error})."
        return (Note(" ".join(said.split()), "This section could not be drawn.", "warn"),)


def notices(story: Story) -> Iterator[str]:
    """What a reader must know before the first number: runs that are not finished, not whole, or not as written."""
    for one in story.runs:
        if one.state.status != "done":
            yield f"{one.name} is {one.state.status}: what follows is what there is so far."
        elif one.results is None and one.task != "train":
            yield f"{one.name} has lost its results: results.json is gone. Its first images are all that is left."
        if one.changed:
            yield f"{one.name} was {CHANGED}, and is compared with nothing: {one.changed}."
        for file in one.damaged:
            yield f"{one.name}: {file} is damaged, and what it holds is not shown; run its command again with --fresh."
