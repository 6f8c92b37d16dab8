"""What runs of one checkpoint hold together: scores from one, checks from another. Each is read with its seal."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diffeval.compare.protocols import differing, named
from diffeval.compare.side import Side, read_side
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.registry import did_you_mean
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import CheckResult, CheckStatus, Param, Score

# Of a check that several runs hold, the worst counts.
WORST_FIRST: tuple[CheckStatus, ...] = ("fail", "inconclusive", "warn", "pass", "not-applicable")
PER_CLASS = "per_class"


@dataclass(frozen=True, slots=True)
class Promotion:
    """How a baseline file came about.

    Attributes:
        at: UTC, ISO 8601.
        gate: name of the gate that the run went through; None without one.
        status: what that gate said.
        reason: why it was promoted all the same, where it had not passed.
    """

    at: str
    gate: str | None
    status: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Runs of one checkpoint.

    Attributes:
        sides: the runs, as a comparison reads them.
        origin: where they lie, as messages say it.
        promotion: of a baseline file; None for runs.
    """

    sides: tuple[Side, ...]
    origin: str
    promotion: Promotion | None = None

    @property
    def checkpoint(self) -> str:
        """The name that the user gave."""
        return self.sides[0].results.provenance.checkpoint

    @property
    def sha256(self) -> str:
        """Of the checkpoint."""
        return self.sides[0].sha256

    @property
    def made(self) -> str:
        """When it was promoted; of runs, when the oldest began. UTC, ISO 8601."""
        if self.promotion is not None:
            return self.promotion.at
        return min(side.results.provenance.started for side in self.sides)

    @property
    def titles(self) -> tuple[str, ...]:
        """Every score, once."""
        return tuple(dict.fromkeys(name for side in self.sides for name in side.titles))

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """Every check, once; of several results of one, the worst."""
        return tuple(check for check, _ in self._checked.values())

    def checked(self, name: str) -> tuple[CheckResult, Side] | None:
        """A check and the run that it was made in; None where there is none."""
        return self._checked.get(name)

    @property
    def _checked(self) -> Mapping[str, tuple[CheckResult, Side]]:
        found: dict[str, tuple[CheckResult, Side]] = {}
        for side in self.sides:
            for one in side.results.checks:
                held = found.get(one.name)
                if held is None or WORST_FIRST.index(one.status) < WORST_FIRST.index(held[0].status):
                    found[one.name] = one, side
        return found

    def side_with(self, name: str) -> Side:
        """The run that holds a score; of several of one seed and protocol, the one with most images.

        Raises:
            NoEvidenceError: if none holds it, or it could not be computed.
            DiffevalError: if several hold different ones: a gate does not choose.
        """
        holding = [side for side in self.sides if side.counts(name)]
        if not holding:
            for side in self.sides:
                if name in side.titles:
                    side.score(name)  # says why it could not be computed
            raise NoEvidenceError(f"{self.origin} has no {name};{did_you_mean(name, self.titles)}")
        best = max(holding, key=lambda side: side.score(name).n)
        for side in self.sides:
            if name in side.titles:
                _refuse_conflict(name, best, side, best.score(name))
        held = best.score(name)
        for side in holding:
            if side.score(name).n == held.n and side.score(name).value != held.value:
                raise DiffevalError(
                    f"gate: {best.name} and {side.name} hold {name} of the same images, and not the same value; "
                    "measure it again with --fresh"
                )
        return best

    def side_by_class(self, column: str) -> Side:
        """The run whose table of classes has a column.

        Raises:
            NoEvidenceError: if none has.
        """
        holding = [side for side in self.sides if any(column in row for row in _classes(side))]
        if holding:
            best = max(holding, key=lambda side: side.results.provenance.n)
            for side in holding:
                _refuse_conflict(f"{column} by class", best, side, None)
                if side.results.provenance.n == best.results.provenance.n and _classes(side) != _classes(best):
                    raise DiffevalError(
                        f"gate: {best.name} and {side.name} hold {column} by class of the same images, and not the "
                        "same values; measure it again with --fresh"
                    )
            return best
        columns = {name for side in self.sides for row in _classes(side) for name in row}
        raise NoEvidenceError(
            f"{self.origin} has no {column} by class;{did_you_mean(column, columns - {'class', 'n', 'real', 'p'})}"
        )


def _classes(side: Side) -> Sequence[Mapping[str, Param]]:
    """Rows of its table of classes."""
    return side.results.tables.get(PER_CLASS, ())


def _require_table(side: Side) -> None:
    """Refuses a table of classes without their names, or their images: they would be taken for others, or for none."""
    for row in _classes(side):
        n = row.get("n")
        if row.get("class") is None or not isinstance(n, int) or not 0 < n <= side.results.provenance.n:
            raise DiffevalError(
                f"gate: the table {PER_CLASS} of {side.name} has a row without a class or its number of images; run "
                "its command again with --fresh"
            )


def _refuse_conflict(what: str, best: Side, side: Side, score: Score | None) -> None:
    """Refuses two runs that hold the same of other images."""
    apart = differing(best.results.protocol, side.results.protocol, score)
    said = f"seeds {best.seed} and {side.seed}" if best.seed != side.seed else named(apart)
    if said:
        raise DiffevalError(
            f"gate: {best.name} and {side.name} both hold {what}, with {said}; give one of them: the gate does not "
            "choose"
        )


@contextmanager
def as_gate() -> Iterator[None]:
    """What the comparison has to say is said by the gate."""
    try:
        yield
    except DiffevalError as error:
        raise type(error)(f"gate: {str(error).removeprefix('gate: ').removeprefix('compare: ')}") from error


def read_runs(paths: Sequence[Path]) -> Evidence:
    """Reads run directories of one checkpoint.

    Raises:
        DiffevalError: if there is none, one is no run, was changed after it was written, or is of another checkpoint.
        NoEvidenceError: if one is not finished.
    """
    if not paths:
        raise DiffevalError("gate: no run is given; name the directory of one")
    return of_one_checkpoint([_read(path) for path in paths], " + ".join(map(str, paths)))


def of_one_checkpoint(sides: Sequence[Side], origin: str, promotion: Promotion | None = None) -> Evidence:
    """Runs that were read, together.

    Raises:
        DiffevalError: if they are of different checkpoints, none, or hold a table of classes that is none.
    """
    if not sides:
        raise DiffevalError(f"gate: {origin} holds no run; promote again")
    for side in sides:
        _require_table(side)
    first = sides[0]
    for side in sides[1:]:
        if side.sha256 != first.sha256:
            raise DiffevalError(
                f"gate: {first.name} is of checkpoint {first.results.provenance.checkpoint} {first.sha256[:8]}, "
                f"{side.name} of {side.results.provenance.checkpoint} {side.sha256[:8]}; give runs of one checkpoint"
            )
    return Evidence(tuple(sides), origin, promotion)


def _read(path: Path) -> Side:
    with as_gate():
        side = read_side(path)  # which refuses what is not as the run wrote it
    state = RunDirectory(path).state()
    if state is not None and state.status != "done":
        raise NoEvidenceError(f"gate: {path} is not finished, it is {state.status}; run its command again")
    return side
