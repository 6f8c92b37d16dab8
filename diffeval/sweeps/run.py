"""A sweep: the same seeds, labels and reference at every point, each point a run of its own inside one directory.

Everything that the points share is opened and computed once: the network, the extractor, the reference's features and
what real images read. A point that is finished is never computed again; more points extend the sweep.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import OpenOptions
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.evaluate import Wanted, evaluate_prepared, sample_prepared
from diffeval.harvest import open_harvest
from diffeval.job import holding
from diffeval.measured import Extracting
from diffeval.metrics.metric import METRICS
from diffeval.plan import SamplingPlan, Settings, plan_images, protocol_of
from diffeval.prepared import Prepared, prepare
from diffeval.progress import Reporter, SilentReporter
from diffeval.prompting import Prompting, default_judge, embedded
from diffeval.ranks import end_part, here, in_turn, shard_folder
from diffeval.real import RealImages, real_images
from diffeval.runs import provenance
from diffeval.runs.directory import RunDirectory, RunState, default_name
from diffeval.runs.records import Protocol, Results
from diffeval.suite import Suite
from diffeval.sweeps.grid import Value
from diffeval.sweeps.leave_out import LeftOut, leave_out
from diffeval.sweeps.outlook import Points
from diffeval.work import stored_images

# What every point is read by; what cannot be computed is left out, and said once.
FAMILIES = ("fid", "kid", "manifold", "class_accuracy", "within_class", "appearance")
# Fields of the protocol that an axis of that name decides.
DECIDED: dict[str, tuple[str, ...]] = {
    "w": ("w",),
    "steps": ("steps",),
    "sampler": ("sampler", "sampler_config"),
    "dtype": ("dtype",),
    "rescale": ("rescale",),
}
# Settings of the sampler: another value is another configuration.
DECIDED |= dict.fromkeys(("eta", "karras", "threshold"), ("sampler_config",))


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sweep, measured.

    Attributes:
        changes: the settings that make it, by name.
        results: of its run.
        left_out: its scores, whole and without each group of seeds.
        grid: its first images, uint8 [k, C, H, W].
    """

    changes: Mapping[str, Value]
    results: Results
    left_out: LeftOut
    grid: np.ndarray


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep whose points are all measured.

    Attributes:
        run: its directory.
        protocol: what the points share.
        points: in order.
        labels: of the grids' images, or None.
    """

    run: RunDirectory
    protocol: Protocol
    points: tuple[Point, ...]
    labels: np.ndarray | None


def suite(*, judged: bool) -> Suite:
    """The metrics of a sweep, with or without what reads prompts."""
    families = (*FAMILIES, *(("clip_score",) if judged else ()))
    shown = frozenset(score for name in families for score in METRICS[name].scores)
    return Suite(families, shown, asked=False, classes=False)


def suite_of(measured: Checkpoint, prompting: Prompting | None) -> Suite:
    """The metrics of a sweep of this checkpoint: prompts are read where they are given, or the judge is built in."""
    built_in = default_judge(measured.image_shape) != "clip" and bool(measured.classes)
    return suite(judged=built_in or (prompting is not None and prompting != Prompting()))


def measure(
    measured: Checkpoint,
    changes: Sequence[Mapping[str, Value]],
    *,
    task: str,
    settings: Settings,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Swept:
    """Measures every point; see the module.

    Raises:
        DiffevalError: for whatever the user can mend; all settings are checked before the first image.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    reporter = reporter or SilentReporter()
    each = [changed(settings, one) for one in changes]
    plans = [plan_images(measured, one) for one in each]
    metrics = suite_of(measured, prompting)
    with in_turn(reporter):
        known = prepare(measured, each[0], ref, extracting, opening, reporter, suite=metrics, prompting=prompting)
    protocol = shared_protocol(task, changes, known)
    name = default_name(measured.name, measured.sha256, task, settings.seed, protocol)
    folder = shard_folder(out if out is not None else Path("runs") / name, settings.shard)
    assert folder is not None, "named one way or the other"
    run = RunDirectory(folder, follows=not here().first)
    run.lock()
    if here().first:
        _begin(run, measured, settings, known.plan, protocol, fresh)
    with holding(run):
        if here().world > 1 or settings.shard is not None:
            # All points are sampled first: so nobody waits while one of them is scored.
            for one, plan, change in zip(each, plans, changes, strict=True):
                reporter.note(point_name(change))
                ready = dataclasses.replace(known, plan=plan)
                wanted = Wanted(metrics, at=(settings.n,), out=point_folder(run, change), fresh=fresh, task=task)
                sample_prepared(measured, one, ready, wanted, reporter)
            end_part(run.path, settings.shard)
            fresh = False
        real: RealImages | None = None
        points = []
        outlook = Points(reporter, [evaluations(plan) for plan in plans])
        for place, (one, plan, change) in enumerate(zip(each, plans, changes, strict=True)):
            reporter.note(f"{point_name(change)} ({place + 1} of {len(changes)})")
            outlook.begin(place)
            if real is None:
                real = real_images(measured, known.reference, known.extractor, reporter)
            ready = dataclasses.replace(known, plan=plan)
            wanted = Wanted(metrics, at=(settings.n,), out=point_folder(run, change), fresh=fresh, task=task)
            points.append(_point(measured, one, ready, change, wanted, real, outlook))
        run.update(status="done")
        return Swept(run, protocol, tuple(points), plans[0].generator.labels(range(len(points[0].grid))))


def evaluations(plan: SamplingPlan) -> int:
    """Network evaluations per image: two at each of the sampler's calls where guidance needs both branches."""
    generator = plan.generator
    assert isinstance(generator, Generator), "a sweep samples"
    return generator.calls * generator.branches


def point_folder(run: RunDirectory, change: Mapping[str, Value]) -> Path:
    """Where the run of a point lies."""
    return run.path / "points" / point_name(change).replace(" ", ",")


def point_name(change: Mapping[str, Value]) -> str:
    """``w=1.5``, ``steps=20 sampler=ddim``."""
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in change.items()
    )


def changed(settings: Settings, change: Mapping[str, Value]) -> Settings:
    """The settings of a point."""
    values: dict[str, Any] = dict(change)
    return dataclasses.replace(settings, **values)


def shared_protocol(task: str, changes: Sequence[Mapping[str, Value]], known: Prepared) -> Protocol:
    """What defines the sweep: everything but what its axes decide."""
    protocol = protocol_of(
        task, known.plan.generator, extractor=known.extractor, reference=known.reference, asked=known.asked
    )
    axes = {name for change in changes for name in change}
    undecided: dict[str, object] = {
        field: {} if field == "sampler_config" else None for name in axes for field in DECIDED.get(name, ())
    }
    return dataclasses.replace(protocol, **undecided)  # type: ignore[arg-type]


def _begin(
    run: RunDirectory, measured: Checkpoint, settings: Settings, plan: SamplingPlan, protocol: Protocol, fresh: bool
) -> None:
    """Writes the directory's state; what it holds of other sweeps is refused.

    Raises:
        DiffevalError: if it is the directory of something else.
    """
    held = None if fresh else run.state()
    if held is not None and (held.task, held.checkpoint_sha256) != (protocol.task, measured.sha256):
        run.release()
        raise DiffevalError(
            f"run: {run.path} is a run of another task or checkpoint; choose another --out, or --fresh"
        )
    run.save_state(
        RunState(
            task=protocol.task,
            status="running",
            version=provenance.own_version(),
            checkpoint_sha256=measured.sha256,
            seed=settings.seed,
            n=settings.n,
            batch=plan.batch,
            chunk=plan.chunk,
            protocol=protocol,
            started=held.started if held is not None else provenance.now(),
            warnings=measured.assumptions,
            shard=None if settings.shard is None else (settings.shard.index + 1, settings.shard.count),
        )
    )


def _point(
    measured: Checkpoint,
    settings: Settings,
    known: Prepared,
    change: Mapping[str, Value],
    wanted: Wanted,
    real: RealImages,
    reporter: Reporter,
) -> Point:
    results = evaluate_prepared(measured, settings, known, wanted, reporter, real)
    run = RunDirectory(Path(results.run))
    grid = run.arrays("grid")
    assert grid is not None, "every run keeps its first images"
    return Point(change, results, _left_out(run, measured, settings, known, real, reporter), grid["images"])


def _left_out(
    run: RunDirectory,
    measured: Checkpoint,
    settings: Settings,
    known: Prepared,
    real: RealImages,
    reporter: Reporter,
) -> LeftOut:
    """From the point's directory, or computed from its features and kept there."""
    kept = run.arrays(f"left_out_{settings.n}")
    if kept is None:
        state = run.state()
        assert state is not None, "the point was measured"
        harvest = open_harvest(run, state.chunk, known.extractor, known.judge, keep_images=False)
        texts = None if known.asked is None else embedded(known.asked, reporter)
        images = stored_images(harvest, measured, known, texts, settings.n)
        found = leave_out(images, real.reference, real.independent, len(measured.classes))
        kept = {f"{name}.{kind}": np.asarray(part[name]) for kind, part in _parts(found) for name in part}
        run.save_arrays(f"left_out_{settings.n}", kept)
    names = [key.removesuffix(".whole") for key in kept if key.endswith(".whole")]
    return LeftOut(
        {name: float(kept[f"{name}.whole"]) for name in names}, {name: kept[f"{name}.without"] for name in names}
    )


def _parts(found: LeftOut) -> tuple[tuple[str, Mapping[str, object]], ...]:
    return ("whole", found.values), ("without", found.without)
