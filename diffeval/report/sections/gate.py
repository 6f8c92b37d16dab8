"""The gate: a picture that explains every verdict, and the table of its rules."""

from collections.abc import Iterator

from diffeval.gate.terminal import status_word
from diffeval.gate.verdict import RuleOutcome, Subject, Verdict
from diffeval.report.figures.gate import allowed, limit_plot, margin_plot, title_of
from diffeval.report.sections import section
from diffeval.report.story import Judged, Story
from diffeval.report.view import Block, Facts, Heading, Mark, Note, Rows, Text
from diffeval.runs.words import number, rounded

FILL = "diffeval gate init {run} -o gate.toml && diffeval report {run} --gate gate.toml --baseline RUN"
COLUMNS = ("", "rule", "measured", "baseline", "change", "bound", "limit", "room", "n needed")
READ = (
    "A change is counted so that positive is worse. A rule is held by its one-sided 95% bound, not by its number: "
    "room is what the bound leaves, of a margin in per cent, of a fixed limit in the score's own units. Where it "
    "leaves none, × says how often the bound fills the margin; n needed is about how many images would settle an "
    "open rule."
)
NONE = "–"


@section("gate", "Gate", 10, FILL)
def gate(story: Story) -> list[Block]:
    """What was decided of each checkpoint, rule by rule."""
    found: list[Block] = []
    for place, one in enumerate(story.verdicts):
        if len(story.verdicts) > 1:
            found.append(Heading(one.first.name, one.first.settings))
        found += _of_verdict(one, place)
    return found


def _of_verdict(one: Judged, place: int) -> Iterator[Block]:
    verdict = one.verdict
    if not verdict.outcomes:
        yield Note(verdict.sentence.removeprefix("gate: "), "Nothing was judged.", "warn")
        return
    for figure in (
        margin_plot(verdict.outcomes, f"margins-{place}"),
        limit_plot(verdict.outcomes, f"limits-{place}"),
    ):
        if figure is not None:
            yield figure
    columns, rows = _without_empty(COLUMNS, tuple(map(_row, verdict.outcomes)))
    yield Rows("Rules", READ, columns, rows, tall=True)
    yield Rows(
        "Why",
        "Each rule in a sentence, and what the gate file says of its limit.",
        ("", "rule", "what was found", "why the limit"),
        tuple((_badge(rule), title_of(rule), rule.sentence, rule.why or NONE) for rule in verdict.outcomes),
        tall=True,
        folded=verdict.passed,  # whoever wonders why asks of what does not pass
    )
    for note in verdict.notes:
        yield Note(note, "", "plain")
    yield Facts("Held against", "", tuple(_facts(verdict)))


def _without_empty(
    columns: tuple[str, ...], rows: tuple[tuple[Text, ...], ...]
) -> tuple[tuple[str, ...], tuple[tuple[Text, ...], ...]]:
    """The table without columns that no rule fills."""
    kept = [place for place in range(len(columns)) if any(row[place] != NONE for row in rows)]
    return tuple(columns[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows)


def _badge(rule: RuleOutcome) -> Mark:
    """How a rule ended; one that only warns never looks like one that decides."""
    status = "warn" if rule.level == "warn" and rule.status != "pass" else rule.status
    return Mark(status, status_word(rule))


def _row(rule: RuleOutcome) -> tuple[Text, ...]:
    limit = number(rule.limit) if rule.kind == "regression" and rule.limit is not None else allowed(rule)
    return (
        _badge(rule),
        title_of(rule),
        _text(rule.value) if rule.kind != "check" else rule.sentence.partition(":")[0],
        _text(rule.baseline),
        _text(rule.change),
        _text(rule.bound),
        limit or NONE,
        _room(rule),
        NONE if rule.needed is None else f"{rounded(rule.needed):,}",
    )


def _text(value: float | None) -> str:
    return NONE if value is None else number(value)


def _room(rule: RuleOutcome) -> str:
    """What the bound leaves: of a margin as a share of it, of a fixed limit in the score's own units."""
    if rule.bound is None or rule.limit is None:
        return NONE
    if rule.kind == "regression":
        if not rule.limit:
            return NONE
        share = rule.bound / rule.limit
        return f"{100 * (1 - share):.0f}%" if share <= 1 else f"none, {share:.3g}×"
    upper = rule.kind == "max" or (rule.other_limit is not None and rule.limit > rule.other_limit)
    room = rule.limit - rule.bound if upper else rule.bound - rule.limit
    return number(room) if room >= 0 else f"none, −{number(-room)}"


def _facts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "gate file", f"{verdict.config}, sha256 {verdict.config_sha256[:16]}"
    for name, subject in (("run", verdict.run), ("baseline", verdict.baseline)):
        if subject is not None:
            yield name, _subject(subject)
    if verdict.baseline is None:
        yield "baseline", "none"


def _subject(subject: Subject) -> str:
    return f"{subject.origin} ({'; '.join(subject.settings)})"
