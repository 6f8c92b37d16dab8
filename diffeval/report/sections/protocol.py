"""What defines the numbers: what differs from the baseline first, then the protocol and origin of each run."""

from collections.abc import Iterator
from typing import Any

from diffeval.compare.protocols import MEASURES, allowed, differing
from diffeval.compare.side import Side
from diffeval.report.changes import beside, by_source
from diffeval.report.facts import facts, protocol_table, provenance_table
from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Facts, Mark, Note, Rows, Text
from diffeval.runs.words import shortened

COLUMNS = ("setting", "run", "baseline", "scores")
SAYS = "Scores are held against each other only where they measure the same thing, of images that are made alike."
MEASURED = "not comparable: it is what scores are measured with"
MADE = "not compared, unless a gate file allows it (may_differ)"
TESTED = "compared: the gate file lets it differ"
SEED = "compared; other seeds are independent images"
FEWER = "compared; scores that depend on n at the same n"
VERSION = "compared; last digits may move"
LONGEST = 60


@section("protocol", "Protocol and provenance", 30)
def protocol(story: Story) -> list[Block]:
    """What differs from the baseline, and facts of each run that measured something."""
    return story.by_run(lambda told: _of_run(told, story))


def _of_run(told: Told, story: Story) -> Iterator[Block]:
    if told.results is None:
        return
    other = beside(told, story)
    if other is not None and told.side is not None:
        yield from _apart(told.side, other, story)
    yield protocol_table(told.results)
    for row in told.results.tables.get("extractor", ()):
        yield Facts("Extractor", "How images became features.", facts(dict(row)))
    yield provenance_table(told.results)


def _apart(ours: Side, theirs: Side, story: Story) -> Iterator[Block]:
    rows = [*_settings(ours, theirs, story), *_origins(ours, theirs)]
    if rows:
        yield Rows("What differs from the baseline", SAYS, COLUMNS, tuple(rows), tall=True)
    else:
        yield Note("Protocol, seed, n and versions are those of the baseline.", "All alike.", "plain")


def _settings(ours: Side, theirs: Side, story: Story) -> Iterator[tuple[Text, ...]]:
    """Settings of the protocol, and what follows for the scores."""
    protocols = ours.results.protocol, theirs.results.protocol
    keys = differing(*protocols)
    wrong = allowed(keys, *protocols, story.may_differ)
    rest, source = by_source(keys)
    if source is not None:
        yield "source", *source, Mark("warn", MADE) if by_source(wrong)[1] else Mark("pass", TESTED)
    for key, (left, right) in rest.items():
        if key in wrong:
            mark = Mark("fail", MEASURED) if key in MEASURES else Mark("warn", MADE)
        else:
            mark = Mark("pass", TESTED)
        yield (key.replace("_", " "), *_pair(left, right), mark)


def _origins(ours: Side, theirs: Side) -> Iterator[tuple[Text, ...]]:
    """What may differ between runs of one protocol, and moves errors all the same."""
    left, right = ours.results.provenance, theirs.results.provenance
    if ours.sampled and theirs.sampled and left.seed != right.seed:
        yield "seed", str(left.seed), str(right.seed), Mark("pass", SEED)
    if left.n != right.n:
        yield "n", f"{left.n:,}", f"{right.n:,}", Mark("pass", FEWER)
    for name in sorted({*left.versions, *right.versions}):
        versions = left.versions.get(name, "none"), right.versions.get(name, "none")
        if versions[0] != versions[1]:
            yield f"version of {name}", *versions, Mark("pass", VERSION)


def _pair(left: Any, right: Any) -> tuple[str, str]:
    """Both values; of configurations only what differs."""
    if isinstance(left, dict) and isinstance(right, dict):
        names = [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
        return tuple(", ".join(f"{name} {one.get(name, 'none')}" for name in names) for one in (left, right))  # type: ignore[return-value]
    return _text(left), _text(right)


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else shortened(str(value), LONGEST)
