"""Score cards: every score at its largest count, with its interval, what real images read, and the baseline."""

from collections.abc import Iterator, Sequence

from diffeval.compare.uncertain import USUAL
from diffeval.report.changes import Change, change_of, signed
from diffeval.report.rows import rows_of
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Card, Cards, Note
from diffeval.runs.records import Results, Score
from diffeval.runs.words import WINDOWS, first_score, floor_sentence, interval_text, number, score_title

HINT = "A low number does not prove that single images are right, and a mean hides a broken class."
SIDES = "Either side counts: a score that is too good is as suspicious as one that is too bad."
# What scores measure, by how their names begin; in the order of the page.
GROUPS = (
    ("Distance to the real images", ("fid", "kid", "cmmd")),
    ("Fidelity and diversity", ("precision", "recall", "density", "coverage", "vendi", "within_")),
    ("Classes and modes", ("class_accuracy", "inception_score", "mode_", "missing_mass", "js_divergence")),
    ("Text", ("clip_", "r_precision", "unscored_images")),
)
OTHERS = "Others"


@section("scores", "Scores", 20, "diffeval eval {checkpoint} --n 10000")
def scores(story: Story) -> list[Block]:
    """Cards of each evaluation."""
    return story.by_run(lambda told: _of_run(told, story))


def _of_run(told: Told, story: Story) -> Iterator[Block]:
    results = told.results
    if results is None or not told.is_evaluation:
        return
    names = titles(results)
    changes = {name: change_of(told, story, name) for name in names}
    yield Cards(tuple(_card(results, name, changes[name]) for name in names))
    known = [one for one in changes.values() if one is not None]
    if known:
        yield Note(_compared(known, story))
    if any(score.name.startswith("fid") for score in results.scores):
        yield Note(HINT, "FID is a hint, not a verdict: look at the grid.", "hint")
    floor = floor_sentence(results)
    if floor is not None:
        yield Note(f"{floor[0].upper()}{floor[1:]}.")
    yield from rows_of(results, WINDOWS, "Windows of the published protocol", SIDES)


def titles(results: Results) -> list[str]:
    """Of the scores, group by group; the first one of the run first, or else in the order of the results."""
    first = first_score(results)
    names = list(dict.fromkeys(map(score_title, results.scores)))
    lead = group_of(first) if first in names else ""
    order = [name for name, _ in GROUPS]
    return sorted(
        names,
        key=lambda name: (
            group_of(name) != lead,
            order.index(group_of(name)) if group_of(name) in order else len(order),
            name != first,
        ),
    )


def group_of(title: str) -> str:
    """What a score measures."""
    return next((name for name, starts in GROUPS if title.startswith(starts)), OTHERS)


def _card(results: Results, title: str, change: Change | None) -> Card:
    score = max((one for one in results.scores if score_title(one) == title), key=lambda one: one.n)
    group = group_of(title)
    if score.value is None:
        return Card(title, "–", "", (f"not computed: {score.error}",), group=group)
    return Card(
        title,
        number(score.value),
        "biased" if score.params.get("biased") else "",
        tuple(_detail(score, change)),
        None if change is None else change.mark,
        group,
    )


def _detail(score: Score, change: Change | None) -> Iterator[str]:
    if change is not None and change.difference is not None:
        found = change.difference
        at = f" at n={found.counts[0]:,}" if found.counts[0] != score.n else ""
        if found.std_error:
            yield f"difference {' .. '.join(map(signed, found.ci95))} (95%)"
        yield f"baseline {number(found.values[1])}{at}"
    if score.ci95 is not None:
        yield f"{interval_text(score.ci95)} (95%)"
    elif score.std_error is not None:
        yield f"standard error {number(score.std_error)}"
    if score.null is not None:
        beyond = "beyond " if _beyond(score) else ""
        yield f"{beyond}real images {number(score.null.value)} (n={score.null.n:,})"
    yield f"n={score.n:,} · {'higher' if score.higher_is_better else 'lower'} is better"


def _beyond(score: Score) -> bool:
    """Whether a score that should be high is above what real images read: that is no quality."""
    if score.null is None or score.value is None or not score.higher_is_better:
        return False
    return score.value > score.null.value + USUAL * (score.null.std_error or 0.0)


def _compared(changes: Sequence[Change], story: Story) -> str:
    """What the scores are held against, how differences are taken, and how many would seem to differ by chance."""
    assert story.baseline is not None, "there are changes"
    told = [one for one in changes if one.difference is not None]
    begun = f"The baseline is {story.baseline.checkpoint} {story.baseline.sha256[:8]} ({story.baseline.origin})."
    if not told:
        return f"{begun} No score compares with it; the section on the protocol says why."
    how = dict.fromkeys(one.difference.how for one in told if one.difference is not None)
    said = f"{begun} Differences are those of the run less the baseline, with 95% intervals; {'; '.join(how)}."
    if len(told) > 1:
        said += (
            f" {len(told)} scores are judged, each by itself at 95%: were there no difference at all, about "
            f"{number(0.05 * len(told))} of them would still seem to have one."
        )
    return said
