"""What a page is about: the runs, what they are held against, and the verdicts on them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffeval.compare.side import Side
from diffeval.errors import DiffevalError
from diffeval.gate.evidence import Evidence
from diffeval.gate.verdict import Verdict
from diffeval.report.view import Block, Heading
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import Results
from diffeval.runs.words import settings_line

# Settings that tell runs of one checkpoint apart, in the order in which they are tried.
TELLING = ("w", "sampler", "steps", "reference", "extractor")


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
    """

    run: RunDirectory
    state: RunState
    results: Results | None
    place: int
    name: str
    side: Side | None = None

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
    def subject(self) -> str:
        """The checkpoint as the user named it."""
        return self.run.path.resolve().name if self.results is None else self.results.provenance.checkpoint

    @property
    def settings(self) -> str:
        """What the numbers must never be shown without."""
        if self.results is not None:
            return settings_line(self.results)
        return f"step {self.state.n:,} wanted · batch {self.state.batch} · seed {self.state.seed}"


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """Everything that sections draw from.

    Attributes:
        runs: those that were given, in their order; the first is what the page is about.
        baseline: what they are held against; None without.
        baseline_runs: its directories, where it is no file; pictures come from there.
        verdicts: of each checkpoint that a gate judged, under its name.
        gate: the gate file; None without.
    """

    runs: tuple[Told, ...]
    baseline: Evidence | None = None
    baseline_runs: tuple[Told, ...] = ()
    verdicts: tuple[tuple[str, Verdict], ...] = ()
    gate: Path | None = None

    @property
    def evaluations(self) -> tuple[Told, ...]:
        """Runs that hold scores of one set of images."""
        return tuple(one for one in self.runs if one.is_evaluation)

    @property
    def checkpoints(self) -> dict[str, tuple[Told, ...]]:
        """Runs by what they are about, in the order of the page."""
        found: dict[str, tuple[Told, ...]] = {}
        for one in self.runs:
            found[one.checkpoint] = (*found.get(one.checkpoint, ()), one)
        return found

    def by_run(self, draw: Callable[[Told], Iterable[Block]]) -> list[Block]:
        """What ``draw`` finds in each run; headed by the run's name where the page has several."""
        found: list[Block] = []
        for one in self.runs:
            blocks = list(draw(one))
            if blocks and len(self.runs) > 1:
                found.append(Heading(one.name, one.settings))
            found += blocks
        return found


def read_told(paths: Sequence[Path], begin: int = 0) -> tuple[Told, ...]:
    """Reads run directories.

    Raises:
        DiffevalError: if one is no run, or holds nothing to show yet.
    """
    read = [_read(path) for path in paths]
    names = _names([(path, state, results) for path, (_, state, results, _) in zip(paths, read, strict=True)])
    return tuple(
        Told(run, state, results, begin + place, name, side)
        for place, ((run, state, results, side), name) in enumerate(zip(read, names, strict=True))
    )


def _read(path: Path) -> tuple[RunDirectory, RunState, Results | None, Side | None]:
    if not path.is_dir():
        raise DiffevalError(f"report: {path} is no folder; give a run directory, e.g. one under runs/")
    run = RunDirectory(path)
    state = run.state()
    if state is None:
        raise DiffevalError(f"report: {path} is no run directory (it has no run.json); give one, e.g. under runs/")
    results = None if state.task == "train" else run.results()
    if results is None and state.task != "train":
        raise DiffevalError(
            f"report: {path} has no results yet (it is {state.status}); run its command again to finish it"
        )
    side = None
    if results is not None and not state.task.startswith("sweep"):
        side = Side(str(path), results, run.arrays("terms") or {})
    return run, state, results, side


def _names(read: Sequence[tuple[Path, RunState, Results | None]]) -> list[str]:
    """A short name for each run, no two alike: the checkpoint's, then what tells the runs apart."""
    names = [path.resolve().name if results is None else results.provenance.checkpoint for path, _, results in read]
    tasks = [state.task for _, state, _ in read]
    sha = [state.checkpoint_sha256[:8] for _, state, _ in read]
    for more in (sha, tasks, *([_setting(one, key) for *_, one in read] for key in TELLING), *_counts(read)):
        names = _told_apart(names, more)
    return _told_apart(names, [path.resolve().name for path, *_ in read])


def _told_apart(names: list[str], more: Sequence[str]) -> list[str]:
    """Names that occur several times, with more behind them where that differs."""
    found = list(names)
    for name in {one for one in names if names.count(one) > 1}:
        places = [place for place, one in enumerate(names) if one == name]
        if len({more[place] for place in places}) > 1:
            for place in places:
                found[place] = f"{name} · {more[place]}" if more[place] else name
    return found


def _setting(results: Results | None, key: str) -> str:
    value = None if results is None else getattr(results.protocol, key)
    if value is None:
        return ""
    return f"{key}={value:g}" if isinstance(value, int | float) else str(value).split("/")[0]


def _counts(read: Sequence[tuple[Path, RunState, Results | None]]) -> tuple[list[str], list[str]]:
    seeds = [f"seed {state.seed}" for _, state, _ in read]
    return seeds, ["" if results is None else f"n={results.provenance.n:,}" for *_, results in read]
