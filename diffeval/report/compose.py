"""A story to the page that tells it: banners, the sections that have data, and the names of those that have none."""

import shlex

from diffeval.gate.terminal import WORD
from diffeval.report.sections import Section, in_order
from diffeval.report.story import Story
from diffeval.report.view import Banner, Page, SectionView


def compose(story: Story) -> Page:
    """The page of a story."""
    sections, missing = [], []
    for one in in_order():
        blocks = tuple(one.draw(story))
        if blocks:
            sections.append(SectionView(one.name, one.title, blocks))
        elif one.fill:
            missing.append((one.title, _filled(one, story)))
    notices = tuple(
        f"{one.name} is {one.state.status}: what follows is what there is so far."
        for one in story.runs
        if one.state.status != "done"
    )
    return Page(
        title=", ".join(dict.fromkeys(one.subject for one in story.runs)),
        lines=tuple(f"{one.task}: {one.settings}" for one in story.runs),
        banners=_banners(story),
        sections=tuple(sections),
        missing=tuple(missing),
        notices=notices,
    )


def _filled(one: Section, story: Story) -> str:
    """The command that would fill a section, for the page's first checkpoint and run."""
    first = story.runs[0]
    return one.fill.format(checkpoint=shlex.quote(first.subject), run=shlex.quote(str(first.run.path)))


def _banners(story: Story) -> tuple[Banner, ...]:
    """What was decided of each checkpoint; where nothing was, what is known."""
    if story.verdicts:
        return tuple(
            Banner(verdict.status, WORD[verdict.status], verdict.sentence, name) for name, verdict in story.verdicts
        )
    checks = [check for one in story.runs if one.results is not None for check in one.results.checks]
    failed = [check for check in checks if check.status == "fail"]
    if failed:
        named = ", ".join(dict.fromkeys(check.name for check in failed))
        return (Banner("fail", "CHECK FAILED", f"No gate was given, and a health check fails: {named}."),)
    said = "No gate was given, so that nothing was decided: the numbers are for you to judge."
    return (Banner("none", "NO GATE", said),)
