"""A comparison as text: for two runs a table of differences, for more a ranking of each score."""

from collections.abc import Iterator, Sequence

from diffeval.cli.tables import columns
from diffeval.compare.document import label
from diffeval.compare.protocols import DIFFER, MEASURES, SOURCE, named
from diffeval.compare.records import Compared, Comparison, Pair
from diffeval.runs.words import interval_text, number, rounded, settings_line

NOT_KNOWN = "-"
# More images than this nobody makes.
MOST = 10_000_000


def compared_text(comparison: Comparison) -> str:
    """The whole answer: the runs, the scores, what the differences stand on, the checks."""
    parts = [_runs(comparison), "\n".join(_warnings(comparison))]
    if comparison.scores:
        parts.append(_differences(comparison) if len(comparison.sides) == 2 else _rankings(comparison))
        parts.append("\n".join(_notes(comparison)))
    parts.append(_checks(comparison))
    return "\n\n".join(part for part in parts if part)


def _runs(comparison: Comparison) -> str:
    width = max(len(side.name) for side in comparison.sides)
    return "\n".join(
        f"{label(place)}  {side.name:<{width}}  {settings_line(side.results)}"
        for place, side in enumerate(comparison.sides)
    )


def _warnings(comparison: Comparison) -> Iterator[str]:
    for runs in _alike(comparison):
        *most, last = map(label, runs)
        yield (
            f"{', '.join(most)} and {last} measured the same images: the same checkpoint, seed, n and protocol. "
            f"Another seed shows how far scores scatter."
        )
    reasons = [pair.why for one in comparison.scores for pair in one.pairs if pair.why]
    untested = {key for key in comparison.differing if key not in comparison.tested}
    if reasons and untested:
        yield f"no verdict where what is made or measured differs: {_settings(comparison)}"
        if untested & set(MEASURES):
            yield "what scores are measured with must be the same: measure the runs alike"
        else:
            remedy = ",".join(_remedy(comparison, untested))
            yield f"if that is what you want to compare, say so: --may-differ {remedy}"
    versions = {side.results.provenance.versions.get("diffeval") for side in comparison.sides}
    if len(versions) > 1:
        yield f"warning: the runs were made by different versions of diffeval: {', '.join(sorted(map(str, versions)))}"


def _alike(comparison: Comparison) -> list[list[int]]:
    """Runs of the same images together: of three or more every pair is one."""
    groups: list[list[int]] = []
    for one, other in comparison.same:
        held = next((group for group in groups if one in group), None)
        if held is None:
            groups.append([one, other])
        elif other not in held:
            held.append(other)
    return groups


def _remedy(comparison: Comparison, untested: set[str]) -> list[str]:
    """What may_differ would have to name, beside what it names already."""
    if len({side.sampled for side in comparison.sides}) > 1:
        return [SOURCE]
    return sorted({*comparison.tested, *("sampler" if key == "sampler_config" else key for key in untested)})


def _settings(comparison: Comparison) -> str:
    """Each setting with the values of the runs."""
    found = {}
    for place in range(1, len(comparison.sides)):
        keys = {key: (values[0], values[place]) for key, values in comparison.differing.items()}
        keys = {key: both for key, both in keys.items() if both[0] != both[1]}
        if keys:
            found[label(place)] = named(keys)
    if len(comparison.sides) == 2:
        return "; ".join(found.values())
    return "; ".join(f"A and {run}: {text}" for run, text in found.items())


def _differences(comparison: Comparison) -> str:
    rows: list[tuple[str, ...]] = [("score", "n", "A", "B", "A - B", "95% interval", "better")]
    for one in comparison.scores:
        (pair,) = one.pairs
        rows.append((one.score, _counts(one), *map(_value, one.values), *_apart(pair), _verdict(pair, one)))
    return columns(rows)


def _counts(one: Compared) -> str:
    (pair,) = one.pairs
    counts = one.counts if pair.difference is None else pair.difference.counts
    return " / ".join(NOT_KNOWN if n is None else str(n) for n in dict.fromkeys(counts))


def _value(value: float | None) -> str:
    return NOT_KNOWN if value is None else number(value)


def _apart(pair: Pair) -> tuple[str, str]:
    if pair.difference is None:
        return NOT_KNOWN, ""
    return number(pair.difference.value), interval_text(pair.difference.ci95)


def _verdict(pair: Pair, one: Compared) -> str:
    if pair.why:
        missing = [label(run) for run in pair.runs if one.values[run] is None]
        if missing:
            return f"not computed in {' and '.join(missing)}"
        return "no verdict" if pair.why.startswith(DIFFER) else f"no verdict: {pair.why}"
    if pair.better is not None:
        return label(pair.better) + _beyond(pair.better, one)
    if pair.difference is not None and pair.difference.found.above == pair.difference.found.below == 0:
        return "the same"
    if pair.difference is not None and not pair.difference.value:
        return "cannot tell: none is seen"
    if pair.needed is None:
        return "cannot tell, and more images would not help"
    if pair.needed > MOST:
        return f"cannot tell, nor would n={MOST}"
    return f"cannot tell at this n; about n={rounded(pair.needed)} would"


def _beyond(run: int, one: Compared) -> str:
    """A mark where a score that is called better lies beyond what real images read: that is no quality."""
    real = one.real[run]
    return "" if real is None else f"  (beyond real images' {number(real)})"


def _rankings(comparison: Comparison) -> str:
    return "\n\n".join(_ranking(one, comparison) for one in comparison.scores)


def _ranking(one: Compared, comparison: Comparison) -> str:
    rows = [(one.score, "", "n", "value", "95% interval", "rank" if one.ranks else "", "tied" if one.ranks else "")]
    for run in (*one.order, *(run for run, value in enumerate(one.values) if value is None)):
        rank, tied = "", ""
        if one.ranks:
            first, last = one.ranks[run]
            rank, tied = (str(first) if first == last else f"{first} to {last}"), one.tied[run]
        n = one.counts[run]
        interval = interval_text(one.ci95[run])
        rows.append(
            (
                label(run),
                comparison.sides[run].name,
                str(n or NOT_KNOWN),
                _value(one.values[run]),
                interval,
                rank,
                tied,
            )
        )
    table = columns(rows)
    why = dict.fromkeys(pair.why for pair in one.pairs if pair.why)
    return table + (f"\nno ranking: {'; '.join(why)}" if why else "")


def _notes(comparison: Comparison) -> Iterator[str]:
    """What the differences stand on, and how to read them."""
    yield from _stands_on(comparison)
    pairs = [pair for one in comparison.scores for pair in one.pairs]
    if len(comparison.sides) == 2 and any(pair.needed is not None for pair in pairs):
        prompts = any(pair.difference is not None and pair.difference.how.endswith("prompt") for pair in pairs)
        more = ", with as many more prompts" if prompts else ""
        yield f"n that would tell: of each run{more}, 4 times in 5, if the difference is as large as it was seen"
    if len(comparison.sides) > 2 and any(one.ranks for one in comparison.scores):
        yield (
            "runs that share a letter cannot be told apart at 95% (all pairs, corrected by Holm); rank is what the "
            "proven differences leave possible"
        )
    if comparison.judged > 1:
        yield (
            f"{comparison.judged} scores are judged, each by itself at 95%: were there no difference at all, about "
            f"{number(comparison.expected_by_chance)} of them would still seem to have one"
        )
    for run in dict.fromkeys(comparison.lone.values()):
        yield f"only {label(run)} has {', '.join(name for name, place in comparison.lone.items() if place == run)}"


def _stands_on(comparison: Comparison) -> Iterator[str]:
    """How the differences are paired, and which ones: scores of two runs, pairs of more."""
    how: dict[str, dict[str, None]] = {}
    for one in comparison.scores:
        for pair in one.pairs:
            if pair.difference is not None and not pair.why:
                between = "-".join(map(label, pair.runs))
                held = how.setdefault(pair.difference.how, {})
                held[one.score if len(comparison.sides) == 2 else between] = None
    for said, those in how.items():
        yield said if len(how) == 1 else f"{said}: {', '.join(those)}"


def _checks(comparison: Comparison) -> str:
    if not comparison.checks:
        return f"{comparison.agreeing} checks ended alike" if comparison.agreeing else ""
    runs = [label(place) for place in range(len(comparison.sides))]
    rows: list[Sequence[str]] = [("check", *runs, "")]
    for one in comparison.checks:
        statuses = [NOT_KNOWN if result is None else result.status for result in one.results]
        rows.append((one.name, *statuses, ""))
    said = [columns(rows)]
    for one in comparison.checks:
        for run, result in zip(runs, one.results, strict=True):
            if result is not None and result.status in ("fail", "warn"):
                said.append(f"{run} {one.name}: {result.summary}")
    if comparison.agreeing:
        said.append(f"{comparison.agreeing} other checks ended alike")
    return "\n".join(said)
