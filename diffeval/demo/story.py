"""The demo, stage by stage: each measures something, says what it found, and draws the page anew."""

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import diffeval
from diffeval.demo.sizes import Sizes
from diffeval.demo.twin import make_twin
from diffeval.demo.words import check_lines, preview, score_lines, sweep_lines
from diffeval.errors import StoppedError
from diffeval.gate.terminal import decision
from diffeval.gate.verdict import Verdict
from diffeval.progress import Reporter, SilentReporter
from diffeval.runs.directory import RunDirectory
from diffeval.runs.provenance import own_version
from diffeval.runs.records import Results

SHOWN = 8
# Runs on the page, checkpoint by checkpoint. The baseline is what the gate holds them against, and is not among them.
DRAWN = ("model", "model-checks", "sweep", "twin", "twin-checks")
WIDTH, INDENT = 119, "     "
# Beyond the machine that the seconds were measured on by this much, the rest is foretold.
SLOW = 1.5


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo leaves.

    Attributes:
        page: the page.
        twin: folder of the broken checkpoint.
        gate: the gate file.
        runs: everything measured, in the order of the story.
        verdicts: of the digits model, and of its twin.
        seconds: wall time of this call.
        computed: whether anything was; everything may have been there.
    """

    page: Path
    twin: Path
    gate: Path
    runs: tuple[Results, ...]
    verdicts: tuple[Verdict, ...]
    seconds: float
    computed: bool


@dataclass(slots=True)
class Scene:
    """Where a demo stands: what is wanted, and what was measured so far."""

    sizes: Sizes
    folder: Path
    page: Path
    reporter: Reporter
    runs: dict[str, Results] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    computed: set[str] = field(default_factory=set)

    @property
    def twin(self) -> Path:
        """The broken checkpoint."""
        return self.folder / "broken-twin"

    @property
    def gate(self) -> Path:
        """The gate file."""
        return self.folder / "gate.toml"

    def measured(self, name: str, n: int, measure: Callable[[Path, bool], Results]) -> Results:
        """A run of the story: as it lies there finished, or else measured, from where it was stopped.

        A run that another version of diffeval made is begun anew.
        """
        run = RunDirectory(self.folder / name)
        held = held_run(run, n)
        if held is None:
            state = run.state()
            self.computed.add(name)
            held = measure(run.path, state is not None and state.version != own_version())
        self.runs[name] = held
        return held


def held_run(run: RunDirectory, n: int) -> Results | None:
    """A run of n images that is finished, and that this version of diffeval made."""
    state = run.state()
    if state is None or (state.version, state.status, state.n) != (own_version(), "done", n):
        return None
    return run.readable_results()


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the story.

    Attributes:
        name: in a word or two.
        title: what is done.
        act: does it, and says what it found.
        shown: how the page grew; empty where it did not.
    """

    name: str
    title: str
    act: Callable[[Scene], Iterator[str]]
    shown: str


def tell(
    sizes: Sizes, folder: Path, page: Path, *, say: Callable[[str], None], reporter: Reporter | None = None
) -> Demo:
    """Measures the digits model and its broken twin, judges both, and leaves one page, drawn anew at each stage.

    The same call continues a demo that was stopped, and shows one that is finished.

    Args:
        sizes: how much is measured.
        folder: for runs, the broken checkpoint, the gate file and the baseline.
        page: the page.
        say: told what is done and what was found, line by line.
        reporter: hears of the progress, and can ask to stop.

    Raises:
        DiffevalError: if something cannot be written.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    started, heard = time.monotonic(), reporter or SilentReporter()
    scene = Scene(sizes, folder, page, heard)
    clock = Clock(sizes.seconds)
    for place, stage in enumerate(STAGES):
        if heard.stop_requested:
            raise StoppedError(f"demo: stopped before: {stage.title}; run the same command to continue")
        say(f"\n{place + 1}/{len(STAGES)}  {stage.title}{clock.told(place)}")
        begun, before = time.monotonic(), len(scene.computed)
        for line in stage.act(scene):
            say(_indented(line))
        last, computed = place == len(STAGES) - 1, len(scene.computed) > before
        if stage.shown and (computed or last or not page.exists()):
            _draw(scene)
            said = "is complete" if last else "is there, open it now" if place == 0 else "is drawn anew"
            say(_indented(f"{page} {said}: {stage.shown}"))
        if computed:
            clock.add(place, time.monotonic() - begun)
    seconds = time.monotonic() - started
    return Demo(
        page, scene.twin, scene.gate, tuple(scene.runs.values()), scene.verdicts, seconds, bool(scene.computed)
    )


def _indented(text: str) -> str:
    """A paragraph of a stage; pictures made of characters stay as they are."""
    if text.startswith("\n"):
        return text
    return textwrap.fill(
        text, WIDTH, initial_indent=INDENT, subsequent_indent=f"{INDENT}  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


@dataclass(slots=True)
class Clock:
    """How long the story takes, here, against what it takes where its seconds were measured."""

    expected: Sequence[float]
    spent: float = 0.0
    foreseen: float = 0.0

    def add(self, place: int, seconds: float) -> None:
        """A stage was measured."""
        self.spent += seconds
        self.foreseen += self.expected[place]

    def told(self, place: int) -> str:
        """What a stage begins with: the time so far, and about how much is to come."""
        left = sum(self.expected[place:])
        if not self.spent:
            return ""
        pace = self.spent / self.foreseen
        slow = ", slower than usual here" if pace > SLOW else ""
        return f"   [{self.spent:.0f} s so far, about {left * pace:.0f} s to go{slow}]"


def _draw(scene: Scene) -> None:
    """The page of what there is."""
    paths = [scene.folder / name for name in DRAWN if name in scene.runs]
    diffeval.report(paths, scene.page, gate=scene.gate if scene.verdicts else None)


def _model(scene: Scene) -> Iterator[str]:
    sizes = scene.sizes
    found = scene.measured(
        "model",
        sizes.n,
        lambda out, fresh: diffeval.evaluate(
            "digits",
            metrics=["standard", "mode_coverage"],
            settings=diffeval.Settings(n=sizes.n),
            at=sizes.at,
            out=out,
            fresh=fresh,
            reporter=scene.reporter,
        ),
    )
    grid = RunDirectory(scene.folder / "model").arrays("grid")
    if grid is not None:
        yield f"\n{preview(grid['images'][:SHOWN])}\n"
    yield from score_lines(found)


def _scores(scene: Scene, name: str, checkpoint: Path | str, seed: int) -> Results:
    """Those that a gate reads."""
    n = scene.sizes.gated
    at = tuple(count for count in scene.sizes.at if count < n)
    return scene.measured(
        name,
        n,
        lambda out, fresh: diffeval.evaluate(
            checkpoint,
            settings=diffeval.Settings(n=n, seed=seed),
            at=(*at, n),
            out=out,
            fresh=fresh,
            reporter=scene.reporter,
        ),
    )


def _checks(scene: Scene, name: str, checkpoint: Path | str) -> Results:
    sizes = scene.sizes
    return scene.measured(
        name,
        sizes.probed,
        lambda out, fresh: diffeval.check(
            checkpoint,
            only=sizes.checks,
            settings=diffeval.Settings(n=sizes.probed),
            out=out,
            fresh=fresh,
            reporter=scene.reporter,
        ),
    )


def _model_checks(scene: Scene) -> Iterator[str]:
    yield from check_lines(_checks(scene, "model-checks", "digits"))


def _twin_checks(scene: Scene) -> Iterator[str]:
    make_twin(scene.twin)
    yield f"{scene.twin}: the digits model's weights, but for one layer that is all zeros, and nothing says so"
    yield from check_lines(_checks(scene, "twin-checks", scene.twin))


def _sweep(scene: Scene) -> Iterator[str]:
    sizes = scene.sizes
    found = scene.measured(
        "sweep",
        sizes.swept,
        lambda out, fresh: diffeval.sweep_scales(
            "digits",
            sizes.scales,
            settings=diffeval.Settings(n=sizes.swept),
            out=out,
            fresh=fresh,
            reporter=scene.reporter,
        ),
    )
    yield from sweep_lines(found)


def _baseline(scene: Scene) -> Iterator[str]:
    """Another seed stands for the last release: the same quality, other images."""
    yield from score_lines(_scores(scene, "baseline", "digits", seed=1))


def _twin_scores(scene: Scene) -> Iterator[str]:
    yield from score_lines(_scores(scene, "twin", scene.twin, seed=0))


def _gate(scene: Scene) -> Iterator[str]:
    from diffeval.demo.gating import write_gate

    folder, held = scene.folder, ("baseline", "model-checks")
    promoted = folder / "baseline.json"
    if scene.computed & set(held) or not scene.gate.exists() or not promoted.exists():
        write_gate([folder / one for one in held], scene.gate, promoted)
    yield f"{scene.gate}: what diffeval gate init writes; its baseline is {promoted}"
    judged = (("model", "model-checks"), ("twin", "twin-checks"))
    scene.verdicts = tuple(diffeval.gate([folder / one for one in runs], config=scene.gate) for runs in judged)
    for name, verdict in zip(("the digits model", "its twin"), scene.verdicts, strict=True):
        yield f"{name}: {decision(verdict)}"


STAGES = (
    Stage(
        "scores", "The digits model: samples, FID at several n, precision and recall, modes", _model,
        "scores and samples",
    ),
    Stage("checks", "Health checks of its weights", _model_checks, "checks that pass"),
    Stage("broken twin", "A broken twin, and its health checks", _twin_checks, "a check that fails, with the cause"),
    Stage("sweep", "Guidance sweep of the digits model", _sweep, "quality and diversity against w"),
    Stage("baseline", "A baseline for the gate: the digits model with other seeds", _baseline, ""),
    Stage("twin's scores", "Scores of the broken twin", _twin_scores, "both checkpoints beside each other"),
    Stage("gate", "The gate: may they ship?", _gate, "the verdicts"),
)  # fmt: skip
