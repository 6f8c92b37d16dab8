"""A story to the page that tells it: banners, the sections that have data, and the names of those that have none."""

import shlex
from collections.abc import Iterator

from diffeval.report.banners import CHANGED, banners
from diffeval.report.names import listed
from diffeval.report.sections import Section, in_order
from diffeval.report.story import Story
from diffeval.report.view import Page, SectionView


def compose(story: Story) -> Page:
    """The page of a story."""
    sections, missing = [], []
    for one in in_order():
        blocks = tuple(one.draw(story))
        if blocks:
            sections.append(SectionView(one.name, one.title, blocks))
        elif one.fill:
            missing.append((one.title, _filled(one, story)))
    return Page(
        title=listed(one.subject for one in story.runs),
        lines=tuple(f"{one.task}: {one.settings}" for one in story.runs),
        banners=banners(story),
        sections=tuple(sections),
        missing=tuple(missing),
        notices=tuple(notices(story)),
    )


def _filled(one: Section, story: Story) -> str:
    """The command that would fill a section, for the page's first checkpoint and run."""
    first = next((run for run in story.runs if run.is_evaluation), story.runs[0])
    return one.fill.format(checkpoint=shlex.quote(first.spec), run=shlex.quote(str(first.run.path)))


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
