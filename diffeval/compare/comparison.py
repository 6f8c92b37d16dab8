"""Two runs or more, side by side: every score with its differences and what they prove; checks that do not agree."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffeval.compare.difference import difference_of, largest_common, moves_with_n, same_thing
from diffeval.compare.errors import FRECHET
from diffeval.compare.protocols import DIFFER, allowed, check_names, differing, named
from diffeval.compare.ranking import LEVEL, corrected, pairs_of, rank_ranges, tied_groups
from diffeval.compare.records import CheckApart, Compared, Comparison, Pair
from diffeval.compare.side import Side, read_side
from diffeval.compare.uncertain import USUAL
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.registry import did_you_mean
from diffeval.runs.records import Score

# Images used of those that there are, where a score takes no more than the reference allows.
USED = ("n_k", "n_used")
# Of where and with what a run was made: where these agree, so do the values of the same images.
ALIKE = ("batch", "device", "threads", "versions", "git", "host")
# Of a score's standard error, that its last digits are below.
DUST = 1e-3


def compare(*runs: Path | str, scores: Sequence[str] | None = None, may_differ: Collection[str] = ()) -> Comparison:
    """Compares runs score by score, paired where they share seeds and classes, or prompts.

    Args:
        runs: two run directories or more.
        scores: their names; by default all that two runs have.
        may_differ: settings under test, which the runs may differ in: ``steps``, ``w``, ``sampler`` and so on, or
            ``source`` for ready-made images beside sampled ones. Other runs that differ get no verdict.

    Raises:
        DiffevalError: if a directory is no run, is not as the run wrote it, is given twice, or a name is unknown; if
            two runs measured the same images alike, and not the same values.
        NoEvidenceError: if a run is not finished, or no two have a score or a check in common.
    """
    check_names(may_differ)
    return compare_sides(_read(runs), scores=scores, may_differ=may_differ)


def compare_sides(
    sides: tuple[Side, ...], *, scores: Sequence[str] | None = None, may_differ: Collection[str] = ()
) -> Comparison:
    """The same with runs that were read; see ``compare``."""
    names = _chosen(sides, scores)
    together = [name for name in names if sum(name in side.titles for side in sides) > 1]
    same = tuple(pair for pair in pairs_of(len(sides)) if same_thing(sides[pair[0]], sides[pair[1]]))
    for one, other in same:
        _refuse_contradiction(sides[one], sides[other])
    checks, agreeing = _checks(sides)
    if not together and not agreeing and not checks:
        raise NoEvidenceError(f"compare: no score is in two of the runs: {_told(sides)}")
    return Comparison(
        sides=sides,
        scores=tuple(_compared(name, sides, may_differ) for name in together),
        lone={
            name: next(place for place, side in enumerate(sides) if name in side.titles)
            for name in names
            if name not in together
        },
        checks=checks,
        agreeing=agreeing,
        differing=_differing(sides),
        tested=tuple(may_differ),
        same=same,
    )


def _read(runs: Sequence[Path | str]) -> tuple[Side, ...]:
    if len(runs) < 2:
        raise DiffevalError(f"compare: got {len(runs)} run, needs two or more; name another run's directory")
    places: dict[Path, Path | str] = {}
    for run in runs:
        place = Path(run).resolve()
        if place in places:
            raise DiffevalError(f"compare: {run} is given twice; name two different runs")
        places[place] = run
    return tuple(read_side(run) for run in runs)


def _refuse_contradiction(one: Side, other: Side) -> None:
    """Refuses two runs that measured the same images with the same software and device, and not the same values.

    Elsewhere the last digits move: those of a value that are far below its error say nothing.
    """
    ours, theirs = one.results.provenance, other.results.provenance
    if any(getattr(ours, key) != getattr(theirs, key) for key in ALIKE):
        return
    for name in (name for name in one.titles if name in other.titles):
        for n in set(one.counts(name)) & set(other.counts(name)):
            left, right = one.score(name, n), other.score(name, n)
            assert left.value is not None, "Side.score has looked"
            assert right.value is not None, "Side.score has looked"
            dust = max(DUST * (left.std_error or 0.0), 1e-9 * abs(left.value))
            if abs(left.value - right.value) > dust:
                raise DiffevalError(
                    f"compare: {one.name} and {other.name} measured the same images, and have {name} {left.value:g} "
                    f"and {right.value:g}; measure one of them again with --fresh"
                )


def _chosen(sides: Sequence[Side], scores: Sequence[str] | None) -> list[str]:
    """Titles of scores, in the order of the runs; of those that the user names, in his."""
    held = dict.fromkeys(name for side in sides for name in side.titles)
    # What estimates the distance goes before what everybody reports.
    known = [*(name for name in held if name == FRECHET), *(name for name in held if name != FRECHET)]
    if scores is None:
        return known
    if not scores:
        raise DiffevalError("compare: no score is named; name some, or leave --scores out for all")
    found: list[str] = []
    for name in scores:
        titles = [one for one in known if name in (one, one.partition(" (")[0])]
        if not titles:
            raise DiffevalError(f"compare: none of the runs has a score {name!r};{did_you_mean(name, known)}")
        found += [one for one in titles if one not in found]
    return found


def _told(sides: Sequence[Side]) -> str:
    """What each run holds, shortly."""
    said = []
    for side in sides:
        held = [*side.titles[:4], *(["..."] if len(side.titles) > 4 else [])]
        checks = f"{len(side.results.checks)} checks" if side.results.checks else "no scores"
        said.append(f"{side.name} has {', '.join(held) if held else checks}")
    return "; ".join(said)


def _compared(name: str, sides: Sequence[Side], may_differ: Collection[str]) -> Compared:
    called = [_called(name, side) for side in sides]
    having = [side for side, found in zip(sides, called, strict=True) if found is not None]
    n = None
    if any(moves_with_n(found) for found in called if found is not None):
        n = largest_common(name, having)
    if n is not None:
        called = [None if found is None else side.score(name, n) for side, found in zip(sides, called, strict=True)]
    pairs = {pair: _pair(name, sides, pair, may_differ, n) for pair in pairs_of(len(sides))}
    judged = {runs: found.difference for runs, found in pairs.items() if not found.why and found.difference}
    p = corrected({runs: one.p_value for runs, one in judged.items()}) if judged else {}
    pairs = {runs: _decided(found, p.get(runs), sides) for runs, found in pairs.items()}
    known = [one for one in called if one is not None]
    direction = known[0].higher_is_better if known else False
    values = tuple(None if one is None else one.value for one in called)
    compared = Compared(
        score=name,
        higher_is_better=direction,
        values=values,
        ci95=tuple(None if one is None else one.ci95 for one in called),
        counts=tuple(None if one is None else one.n for one in called),
        real=tuple(None if one is None else _real(one) for one in called),
        pairs=tuple(pairs.values()),
        ranks=(),
        tied=(),
    )
    return compared if any(pair.why for pair in pairs.values()) else _ranked(compared)


def _called(name: str, side: Side) -> Score | None:
    try:
        return side.score(name)
    except NoEvidenceError:
        return None


def _pair(name: str, sides: Sequence[Side], runs: tuple[int, int], may_differ: Collection[str], n: int | None) -> Pair:
    """The difference and why it has no verdict; what it proves is said once all pairs are there."""
    one, other = (sides[run] for run in runs)
    try:
        found = difference_of(one, other, name, n=n)
    except NoEvidenceError as error:
        return Pair(runs, None, None, None, None, str(error).removeprefix("compare: "))
    except DiffevalError:
        found = None
    protocols = one.results.protocol, other.results.protocol
    wrong = allowed(differing(*protocols, one.score(name)), *protocols, may_differ)
    why = f"{DIFFER}{named(wrong)}" if wrong else ""
    return Pair(runs, found, None, None, None, why)


def _decided(pair: Pair, p: float | None, sides: Sequence[Side]) -> Pair:
    if p is None or pair.difference is None:
        return pair
    better, needed = None, None
    if p < LEVEL:
        better = pair.runs[int(pair.difference.regression.value > 0)]
    elif not _limited(pair, sides):
        needed = pair.difference.regression.needed(two_sided=True)
    return Pair(pair.runs, pair.difference, p, better, needed, "")


def _limited(pair: Pair, sides: Sequence[Side]) -> bool:
    """Whether a score has reached the number of images that the reference allows."""
    assert pair.difference is not None, "asked before"
    scores = [sides[run].score(pair.difference.score) for run in pair.runs]
    return any(isinstance(used := one.params.get(key), int) and used < one.n for one in scores for key in USED)


def _ranked(compared: Compared) -> Compared:
    count = len(compared.values)
    worse: list[set[int]] = [set() for _ in range(count)]
    for pair in compared.pairs:
        if pair.better is not None:
            worse[pair.better].add(sum(pair.runs) - pair.better)
    apart = frozenset(frozenset(pair.runs) for pair in compared.pairs if pair.better is not None)
    return replace(
        compared,
        ranks=rank_ranges([frozenset(one) for one in worse]),
        tied=tied_groups(compared.order, apart),
    )


def _real(score: Score) -> float | None:
    """What real images read, if the score lies above it; of distances nothing lies beyond real images."""
    null = score.null
    if null is None or score.value is None or not score.higher_is_better:
        return None
    return null.value if score.value > null.value + USUAL * (null.std_error or 0.0) else None


def _checks(sides: Sequence[Side]) -> tuple[tuple[CheckApart, ...], int]:
    """Checks that did not end alike, and how many did; nothing where fewer than two runs have any."""
    held = [{check.name: check for check in side.results.checks} for side in sides]
    if sum(map(bool, held)) < 2:
        return (), 0
    apart = []
    names = list(dict.fromkeys(name for one in held for name in one))
    for name in names:
        found = tuple(one.get(name) for one in held)
        if len({None if check is None else check.status for check in found}) > 1:
            apart.append(CheckApart(name, found))
    return tuple(apart), len(names) - len(apart)


def _differing(sides: Sequence[Side]) -> dict[str, tuple[Any, ...]]:
    """Settings in which any run differs from the first, with the value of each run."""
    first = sides[0].results.protocol
    keys = dict.fromkeys(key for side in sides[1:] for key in differing(first, side.results.protocol))
    return {key: tuple(getattr(side.results.protocol, key) for side in sides) for key in keys}
