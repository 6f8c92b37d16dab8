"""Everything that was degraded, skipped, truncated or assumed, in one list."""

from collections.abc import Iterator

from diffeval.report.banners import CHANGED
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Mark, Rows, Text
from diffeval.runs.words import score_title

NOT_COMPUTED, BIASED = "not computed", "biased"


@section("warnings", "Warnings", 160)
def warnings(story: Story) -> list[Block]:
    """Of all runs and of the gate; of several runs each with its name."""
    several = len(story.runs) > 1
    rows: list[tuple[Text, ...]] = []
    for one in story.runs:
        rows += [(mark, *([one.name] if several else []), text) for mark, text in dict.fromkeys(_of_run(one))]
    for judged in story.verdicts:
        said = {text for one in judged.runs if one.results is not None for text in one.results.warnings}
        notes = [note for note in judged.verdict.notes if note not in said]
        rows += [(Mark("warn", "gate"), *([judged.first.name] if several else []), note) for note in notes]
    if not rows:
        return []
    columns = ("", "run", "what a reader must know") if several else ("", "what a reader must know")
    return [Rows("What to know before trusting the numbers", "", columns, tuple(rows), tall=True)]


def _of_run(told: Told) -> Iterator[tuple[Mark, str]]:
    if told.state.status != "done":
        yield Mark("warn", told.state.status), "it is not finished: its numbers are of what there is so far"
    if told.changed:
        yield Mark("error", "changed"), f"{CHANGED}, and compared with nothing: {told.changed}"
    for file in told.damaged:
        yield Mark("error", "damaged"), f"{file} cannot be read, and what it holds is not shown"
    if told.results is None:
        for text in told.state.warnings:
            yield Mark("warn", "warning"), text
        return
    for text in told.results.warnings:
        yield Mark("warn", "warning"), text
    for score in told.results.scores:
        if score.value is None:
            yield Mark("warn", NOT_COMPUTED), f"{score_title(score)} at n={score.n:,}: {score.error}"
    largest = {score_title(one): one for one in sorted(told.results.scores, key=lambda one: one.n)}
    for title, score in largest.items():
        if score.params.get("biased"):
            yield Mark("warn", BIASED), f"{title} at n={score.n:,} reads too high by its own bias; see fid_debiased"
