"""Score cards: every score at its largest count, with its interval and what real images read."""

from collections.abc import Iterator

from diffeval.report.rows import rows_of
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Card, Cards, Note
from diffeval.runs.records import Results, Score
from diffeval.runs.words import WINDOWS, first_score, floor_sentence, interval_text, number, score_title

HINT = "A low number does not prove that single images are right, and a mean hides a broken class."
SIDES = "Either side counts: a score that is too good is as suspicious as one that is too bad."


@section("scores", "Scores", 20, "diffeval eval {checkpoint} --n 10000")
def scores(story: Story) -> list[Block]:
    """Cards of each evaluation."""
    return story.by_run(_of_run)


def _of_run(told: Told) -> Iterator[Block]:
    results = told.results
    if results is None or not told.is_evaluation:
        return
    yield Cards(tuple(_card(results, title) for title in titles(results)))
    if any(score.name.startswith("fid") for score in results.scores):
        yield Note(HINT, "FID is a hint, not a verdict: look at the grid.", "hint")
    floor = floor_sentence(results)
    if floor is not None:
        yield Note(f"{floor[0].upper()}{floor[1:]}.")
    yield from rows_of(results, WINDOWS, "Windows of the published protocol", SIDES)


def titles(results: Results) -> list[str]:
    """Of the scores, in the order of the results, the first one first."""
    return sorted(dict.fromkeys(map(score_title, results.scores)), key=lambda title: title != first_score(results))


def _card(results: Results, title: str) -> Card:
    score = max((one for one in results.scores if score_title(one) == title), key=lambda one: one.n)
    if score.value is None:
        return Card(title, "–", "", (f"not computed: {score.error}",))
    return Card(title, number(score.value), "biased" if score.params.get("biased") else "", tuple(_detail(score)))


def _detail(score: Score) -> Iterator[str]:
    yield f"n={score.n:,}"
    if score.ci95 is not None:
        yield f"95% interval {interval_text(score.ci95)}"
    elif score.std_error is not None:
        yield f"standard error {number(score.std_error)}"
    if score.null is not None:
        yield f"real images {number(score.null.value)} (n={score.null.n})"
    yield "higher is better" if score.higher_is_better else "lower is better"
