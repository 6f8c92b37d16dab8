"""What a page is about: the runs, what they are held against, and the verdicts on them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffeval.compare.side import Side
from diffeval.errors import DiffevalError
from diffeval.gate.evidence import Evidence
from diffeval.gate.verdict import Verdict
from diffeval.report.names import Known, names_of, spec_of, subject_of
from diffeval.report.view import Block, Heading
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import Protocol, Results
from diffeval.runs.words import score_title, settings_line


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """One run directory, as it was read.

    Attributes:
        run: the directory.
        state: of it.
        results: None while there are none, and of trainings.
        place: among the runs of the page, from 0; a baseline's come last. Ids of figures end with it.
        name: short, and unlike that of any other run on the page.
        side: what comparisons read of it; None of sweeps and trainings, and where it was changed.
        changed: how it is seen that somebody changed it after it was written; empty where it is whole.
        damaged: its files of arrays that cannot be read.
    """

    run: RunDirectory
    state: RunState
    results: Results | None
    place: int
    name: str
    side: Side | None = None
    changed: str = ""
    damaged: tuple[str, ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """Its scores, each once."""
        return () if self.results is None else tuple(dict.fromkeys(map(score_title, self.results.scores)))

    @property
    def task(self) -> str:
        """What the run did: ``fid``, ``eval``, ``check``, ``sweep-cfg``, ``train``..."""
        return self.state.task

    @property
    def is_sweep(self) -> bool:
        """Whether it went over settings."""
        return self.task.startswith("sweep")

    @property
    def is_evaluation(self) -> bool:
        """Whether it holds scores of one set of images."""
        return self.results is not None and bool(self.results.scores) and not self.is_sweep

    @property
    def checkpoint(self) -> str:
        """What the run is about: sha256 of the checkpoint, or of the training's folder."""
        return self.state.checkpoint_sha256 if self.task != "train" else f"train:{self.run.path.resolve()}"

    @property
    def protocol(self) -> Protocol | None:
        """What defines its numbers, also before there are any; None of trainings."""
        return self.state.protocol if self.results is None else self.results.protocol

    @property
    def subject(self) -> str:
        """The checkpoint as the user named it."""
        return subject_of(self.run.path, self.results)

    @property
    def spec(self) -> str:
        """The checkpoint as a command takes it."""
        return spec_of(self.run.path, self.results, is_training=self.task == "train")

    @property
    def settings(self) -> str:
        """What the numbers must never be shown without."""
        if self.results is not None:
            return settings_line(self.results)
        what = "steps" if self.task == "train" else "images"
        return f"{self.state.n:,} {what} wanted · batch {self.state.batch} · seed {self.state.seed}"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a gate says of a checkpoint.

    Attributes:
        runs: that were judged together.
        verdict: on them.
    """

    runs: tuple[Told, ...]
    verdict: Verdict

    @property
    def first(self) -> Told:
        """The run that holds its scores, or else any."""
        return next((one for one in self.runs if one.is_evaluation), self.runs[0])


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """Everything that sections draw from.

    Attributes:
        runs: those that were given, in their order; the first is what the page is about.
        baseline: what they are held against; None without.
        baseline_runs: its directories, where it is no file; pictures come from there.
        verdicts: of each checkpoint that a gate judged.
        gate: the gate file; None without.
        may_differ: settings that the gate file lets differ from the baseline.
        given: the baseline as it was named beside the gate file.
    """

    runs: tuple[Told, ...]
    baseline: Evidence | None = None
    baseline_runs: tuple[Told, ...] = ()
    verdicts: tuple[Judged, ...] = ()
    gate: Path | None = None
    may_differ: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def evaluations(self) -> tuple[Told, ...]:
        """Runs that hold scores of one set of images."""
        return tuple(one for one in self.runs if one.is_evaluation)

    @property
    def compared(self) -> tuple[Told, ...]:
        """Evaluations of the page and of the baseline, each folder once."""
        given = {one.run.path.resolve() for one in self.runs}
        held = (one for one in self.baseline_runs if one.is_evaluation and one.run.path.resolve() not in given)
        return (*self.evaluations, *held)

    @property
    def checkpoints(self) -> dict[str, tuple[Told, ...]]:
        """Runs by what they are about, in the order of the page."""
        found: dict[str, tuple[Told, ...]] = {}
        for one in self.runs:
            found[one.checkpoint] = (*found.get(one.checkpoint, ()), one)
        return found

    def by_run(self, draw: Callable[[Told], Iterable[Block]]) -> list[Block]:
        """What ``draw`` finds in each run; headed by the run's name where one could ask whose it is.

        That is so where several runs have something, or the page is about several checkpoints.
        """
        drawn = [(one, blocks) for one in self.runs if (blocks := list(draw(one)))]
        headed = len(drawn) > 1 or len(self.checkpoints) > 1
        found: list[Block] = []
        for one, blocks in drawn:
            found += [*([Heading(one.name, one.settings)] if headed else []), *blocks]
        return found


def read_told(paths: Sequence[Path]) -> tuple[Told, ...]:
    """Reads the run directories of a page; see ``read_both``."""
    return read_both(paths, ())[0]


def read_both(paths: Sequence[Path], others: Sequence[Path]) -> tuple[tuple[Told, ...], tuple[Told, ...]]:
    """Reads the run directories of a page, and those that they are held against; a folder in both has one name.

    Raises:
        DiffevalError: if one is no run, is given twice, or holds nothing to show yet.
    """
    places: dict[Path, int] = {}
    for path in paths:
        if path.resolve() in places:
            raise DiffevalError(f"report: {path} is given twice; name each run once")
        places[path.resolve()] = len(places)
    distinct = [*paths, *(path for path in others if path.resolve() not in places)]
    read = [_read(path) for path in distinct]
    names = names_of([Known(path, one.state, one.results) for path, one in zip(distinct, read, strict=True)])
    named = {path.resolve(): (one, name) for path, one, name in zip(distinct, read, names, strict=True)}

    def told(path: Path, place: int) -> Told:
        one, name = named[path.resolve()]
        return replace(one, place=place, name=name)

    return (
        tuple(told(path, place) for place, path in enumerate(paths)),
        tuple(told(path, len(paths) + place) for place, path in enumerate(others)),
    )


def _read(path: Path) -> Told:
    """A run directory, without its place and name."""
    if not path.is_dir():
        raise DiffevalError(f"report: {path} is no folder; give a run directory, e.g. one under runs/")
    run = RunDirectory(path)
    state = run.state()
    if state is None:
        raise DiffevalError(f"report: {path} is no run directory (it has no run.json); give one, e.g. under runs/")
    results = None if state.task == "train" else run.results()
    if results is None and state.task != "train" and not (path / "grid.npz").exists():
        raise DiffevalError(
            f"report: {path} has no results yet (it is {state.status}); run its command again to finish it"
        )
    changed, side = "", None
    if results is not None:
        try:
            run.require_whole()
        except DiffevalError as error:
            changed = str(error).removeprefix("results: ")
    if results is not None and not changed and not state.task.startswith("sweep"):
        side = Side(str(path), results, run.arrays("terms") or {})
    return Told(run, state, results, 0, "", side, changed, tuple(_damaged(run)))


def _damaged(run: RunDirectory) -> Iterator[str]:
    """Files of arrays that cannot be read: what they hold is not on the page."""
    for file in sorted(run.path.glob("*.npz")):
        if run.arrays(file.stem) is None:
            yield file.name
