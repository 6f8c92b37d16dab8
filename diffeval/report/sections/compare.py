"""Checkpoints beside each other: every score by run, what is proven, and the checks that did not end alike."""

from collections.abc import Iterator, Sequence

from diffeval.compare.comparison import compare_sides
from diffeval.compare.protocols import DIFFER
from diffeval.compare.records import Compared, Comparison
from diffeval.errors import DiffevalError
from diffeval.gate.evidence import of_one_checkpoint
from diffeval.report.changes import apart, signed
from diffeval.report.figures.history import history
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.training_steps import Places, places_of
from diffeval.report.view import Block, Mark, Note, Rows, Text
from diffeval.runs.records import CheckResult, Null
from diffeval.runs.words import interval_text, number, score_title

NONE = "–"
LETTERS = (
    "Runs that share a small letter cannot be told apart at 95% (all pairs of a score, corrected by Holm); ▲ marks "
    "runs that may be the best, where some are proven worse."
)
PAIRS = "A pair is told apart at 95%, corrected by Holm for the pairs that compare; those of other settings do not."
TWO = "Differences are those of the first run less the second, with 95% intervals."


@section("compare", "Side by side", 25, "diffeval report {run} OTHER_RUN -o report.html")
def compare(story: Story) -> list[Block]:
    """Scores of evaluations that can be read as they were written, and checks of checkpoints."""
    return [*_scores(story), *_checks(story)]


def _scores(story: Story) -> Iterator[Block]:
    runs = [one for one in story.evaluations if one.side is not None]
    if len(runs) < 2:
        return
    try:
        found = compare_sides(tuple(one.side for one in runs if one.side is not None), may_differ=story.may_differ)
    except DiffevalError as error:
        yield Note(str(error).removeprefix("compare: "), "Nothing could be compared.", "warn")
        return
    places = places_of(runs)
    nulls = [_null(one, runs) for one in found.scores]
    drawn = history(found.scores, places, nulls, f"history-{runs[0].place}")
    if drawn is not None:
        yield drawn
    if found.scores:
        yield _table(found, places)
        yield from _notes(found, places.columns)


def _null(one: Compared, runs: Sequence[Told]) -> Null | None:
    """What real images read, from the run with most of them."""
    nulls = [
        score.null
        for told in runs
        if told.results is not None
        for score in told.results.scores
        if score_title(score) == one.score and score.null is not None
    ]
    return max(nulls, key=lambda null: null.n, default=None)


def _table(found: Comparison, places: Places) -> Rows:
    runs, two = range(len(places.at)), len(places.at) == 2
    columns = ("score", "what is proven", *(["difference"] if two else []), *places.columns)
    rows: list[tuple[Text, ...]] = [
        (
            one.score,
            _proven(one, places.called),
            *([_difference(one)] if two else []),
            *(_cell(one, run) for run in runs),
        )
        for one in found.scores
    ]
    said = TWO if two else LETTERS if any(one.ranks for one in found.scores) else PAIRS
    return Rows("Every score by run", said, columns, tuple(rows), tall=True)


def _cell(one: Compared, run: int) -> Text:
    """A value with its letters and its interval."""
    value, interval = one.values[run], one.ci95[run]
    if value is None:
        return NONE
    letters = f" {one.tied[run]}" if one.ranks and len(one.values) > 2 else ""
    text = number(value) + letters + (f" ({_whole(interval)})" if interval else "")
    apart = any(rank != (1, len(one.values)) for rank in one.ranks)
    return Mark("better", text) if letters and apart and one.ranks[run][0] == 1 else text


def _whole(interval: tuple[float, float]) -> str:
    """An interval that is not broken over two lines."""
    return interval_text(interval).replace(" ", "\N{NO-BREAK SPACE}")


def _difference(one: Compared) -> str:
    (pair,) = one.pairs
    if pair.why or pair.difference is None:
        return NONE
    ends = "\N{NO-BREAK SPACE}..\N{NO-BREAK SPACE}".join(map(signed, pair.difference.ci95))
    return f"{signed(pair.difference.value)} ({ends})"


def _proven(one: Compared, names: Sequence[str]) -> Text:
    """Which run is better than which; why nothing can be said of others."""
    judged = [pair for pair in one.pairs if not pair.why]
    if not judged:
        differ = all(pair.why.startswith(DIFFER) for pair in one.pairs)
        why = "; ".join(dict.fromkeys(pair.why for pair in one.pairs))
        return Mark("not-applicable", "other protocol" if differ else why)
    proven = [(pair.better, sum(pair.runs) - pair.better) for pair in judged if pair.better is not None]
    if not proven:
        return Mark("same", "not told apart")
    if len(names) == 2:
        beyond = ", beyond real images" if one.real[proven[0][0]] is not None else ""
        return Mark("better", f"{names[proven[0][0]]} is better{beyond}")
    if one.ranks:
        best = [run for run in one.order if one.ranks[run][0] == 1]
        said = [names[run] + (" (beyond real images)" if one.real[run] is not None else "") for run in best]
        return f"best: {' or '.join(said)}; {len(proven)} of {len(judged)} pairs told apart"
    worse = dict.fromkeys(loser for _, loser in proven)
    return "; ".join(
        f"{', '.join(names[winner] for winner, other in proven if other == loser)} before {names[loser]}"
        for loser in worse
    )


def _notes(found: Comparison, names: Sequence[str]) -> Iterator[Block]:
    for left, right in found.same:
        yield Note(f"{names[left]} and {names[right]} measured the same images: there is nothing to tell apart.")
    for place in range(1, len(names)):
        keys = {key: (values[0], values[place]) for key, values in found.differing.items()}
        keys = {key: both for key, both in keys.items() if both[0] != both[1]}
        if keys:
            yield Note(f"{names[0]} and {names[place]} differ in {apart(keys)}.", "Other settings.", "warn")
    pairs = [pair for one in found.scores for pair in one.pairs]
    how = dict.fromkeys(pair.difference.how for pair in pairs if pair.difference is not None and not pair.why)
    if how:
        chance = f" {found.judged} scores are judged, each by itself at 95%: were there no difference at all, about "
        chance += f"{number(found.expected_by_chance)} of them would still seem to have one."
        yield Note(f"Differences are {'; '.join(how)}.{chance if found.judged > 1 else ''}")
    for run in dict.fromkeys(found.lone.values()):
        lone = ", ".join(name for name, place in found.lone.items() if place == run)
        yield Note(f"Only {names[run]} has {lone}.")


def _checks(story: Story) -> Iterator[Block]:
    """A matrix of the checks that did not end alike, check by checkpoint."""
    held: dict[str, dict[str, CheckResult]] = {}
    for runs in story.checkpoints.values():
        sides = [one.side for one in runs if one.side is not None]
        checks = of_one_checkpoint(sides, runs[0].subject).checks if sides else ()
        if checks:
            alike = [one for one in story.checkpoints.values() if one[0].subject == runs[0].subject]
            named = runs[0].subject if len(alike) == 1 else f"{runs[0].subject} {runs[0].state.checkpoint_sha256[:8]}"
            held[named] = {one.name: one for one in checks}
    if len(held) < 2:
        return
    names = list(dict.fromkeys(name for checks in held.values() for name in checks))
    common = [name for name in names if sum(name in checks for checks in held.values()) > 1]
    apart = [name for name in common if len({checks[name].status for checks in held.values() if name in checks}) > 1]
    if not common:
        return
    alone = f" {len(names) - len(common)} were made of one checkpoint alone." if len(names) > len(common) else ""
    said = f"{len(common) - len(apart)} of {len(common)} checks ended alike.{alone}"
    rows = tuple((name, *(_ended(checks.get(name)) for checks in held.values())) for name in apart)
    if apart:
        yield Rows("Checks that did not end alike", said, ("check", *held), rows, tall=True)
    else:
        yield Note(said, "Checks.")


def _ended(found: CheckResult | None) -> Text:
    return NONE if found is None else Mark(found.status, found.status)
