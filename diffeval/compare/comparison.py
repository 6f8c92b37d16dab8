"""Two runs or more, side by side: every score with its differences and what they prove; checks that do not agree."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffeval.compare.difference import Difference, difference_of, same_thing
from diffeval.compare.errors import FRECHET
from diffeval.compare.protocols import DIFFER, allowed, check_names, differing, named
from diffeval.compare.ranking import LEVEL, corrected, pairs_of, rank_ranges, tied_groups
from diffeval.compare.side import Side, read_side
from diffeval.compare.uncertain import USUAL
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.registry import did_you_mean
from diffeval.runs.records import CheckResult, Score

# Images used of those that there are, where a score takes no more than the reference allows.
USED = ("n_k", "n_used")
# More images than this nobody will make: the difference is as good as none.
MOST = 10**8


@dataclass(frozen=True, slots=True)
class Pair:
    """One score of two runs.

    Attributes:
        runs: places of both.
        difference: of the first less the second; None where none can be given.
        p_value: of no difference, two-sided, corrected by Holm for the pairs of runs; None without a verdict.
        better: place of the run that is proven better; None where none is.
        needed: about how many images of each run would tell a difference of the size seen; None where none would, or
            it is told already.
        why: why there is no verdict; empty where there is one, "cannot tell" included.
    """

    runs: tuple[int, int]
    difference: Difference | None
    p_value: float | None
    better: int | None
    needed: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One score of all runs.

    Attributes:
        score: its title.
        higher_is_better: its direction.
        values: of each run at its largest count; None where it is not known.
        ci95: of each; None where the score has no interval.
        counts: images of each.
        real: what real images read, where a run's score lies beyond that by more than their error: better than real is
            no quality; else None.
        pairs: of all runs.
        ranks: the best and the worst rank that each run can have; empty where some pair has no verdict.
        tied: letters of each run: runs that share one cannot be told apart; empty where ``ranks`` is.
    """

    score: str
    higher_is_better: bool
    values: tuple[float | None, ...]
    ci95: tuple[tuple[float, float] | None, ...]
    counts: tuple[int | None, ...]
    real: tuple[float | None, ...]
    pairs: tuple[Pair, ...]
    ranks: tuple[tuple[int, int], ...]
    tied: tuple[str, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """Places of the runs that have it, best first."""
        known = [(value, run) for run, value in enumerate(self.values) if value is not None]
        return tuple(run for _, run in sorted(known, key=lambda one: -one[0] if self.higher_is_better else one[0]))


@dataclass(frozen=True, slots=True)
class CheckApart:
    """A health check that did not end alike, or that some run lacks; one result or None for each run."""

    name: str
    results: tuple[CheckResult | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What several runs say beside each other.

    Attributes:
        sides: the runs, in the order given; A is the first.
        scores: those that at least two runs have.
        lone: scores that a single run has, by its place.
        checks: those that did not end alike.
        agreeing: how many checks ended alike.
        differing: settings in which the runs differ, with the value of each; those that may differ included.
        tested: those of them that the user allowed to differ.
        same: pairs of runs that measured the same images.
    """

    sides: tuple[Side, ...]
    scores: tuple[Compared, ...]
    lone: Mapping[str, int]
    checks: tuple[CheckApart, ...]
    agreeing: int
    differing: Mapping[str, tuple[Any, ...]]
    tested: tuple[str, ...]
    same: tuple[tuple[int, int], ...]

    @property
    def judged(self) -> int:
        """How many scores have a verdict, other than on the same images."""
        return sum(
            any(not pair.why and pair.runs not in self.same for pair in compared.pairs) for compared in self.scores
        )

    @property
    def expected_by_chance(self) -> float:
        """How many scores would seem to differ where nothing does: each is judged by itself, at 95%."""
        return LEVEL * self.judged

    @property
    def conclusive(self) -> bool:
        """Whether anything could be compared."""
        judged = any(not pair.why for compared in self.scores for pair in compared.pairs)
        return judged or bool(self.agreeing) or any(None not in one.results for one in self.checks)


def compare(*runs: Path | str, scores: Sequence[str] | None = None, may_differ: Collection[str] = ()) -> Comparison:
    """Compares runs score by score, paired where they share seeds and classes, or prompts.

    Args:
        runs: two run directories or more.
        scores: their names; by default all that two runs have.
        may_differ: settings under test, which the runs may differ in: ``steps``, ``w``, ``sampler`` and so on, or
            ``source`` for ready-made images beside sampled ones. Other runs that differ get no verdict.

    Raises:
        DiffevalError: if a directory is no run, is given twice, or a name is unknown.
        NoEvidenceError: if a run is not finished, or no two have a score or a check in common.
    """
    check_names(may_differ)
    sides = _read(runs)
    names = _chosen(sides, scores)
    together = [name for name in names if sum(name in side.titles for side in sides) > 1]
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
        same=tuple(pair for pair in pairs_of(len(sides)) if same_thing(sides[pair[0]], sides[pair[1]])),
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


def _chosen(sides: Sequence[Side], scores: Sequence[str] | None) -> list[str]:
    """Titles of scores, in the order of the runs; of those that the user names, in his."""
    held = dict.fromkeys(name for side in sides for name in side.titles)
    # What estimates the distance goes before what everybody reports.
    known = [*(name for name in held if name == FRECHET), *(name for name in held if name != FRECHET)]
    if scores is None:
        return known
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
    called: list[Score | None] = []
    for side in sides:
        try:
            called.append(side.score(name))
        except NoEvidenceError:
            called.append(None)
    pairs = {pair: _pair(name, sides, pair, may_differ) for pair in pairs_of(len(sides))}
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


def _pair(name: str, sides: Sequence[Side], runs: tuple[int, int], may_differ: Collection[str]) -> Pair:
    """The difference and why it has no verdict; what it proves is said once all pairs are there."""
    one, other = (sides[run] for run in runs)
    try:
        found = difference_of(one, other, name)
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
    if needed is not None and needed > MOST:
        needed = None
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
