"""A planned run and its directory: found or made, held while it is worked on, and left in a true state."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from diffeval.diffusion.batching import device_name
from diffeval.errors import DiffevalError, StoppedError
from diffeval.measured import Measured
from diffeval.plan import SamplingPlan, Settings
from diffeval.precision import Target
from diffeval.progress import Reporter
from diffeval.ranks import PartDone, here, shard_folder
from diffeval.runs import provenance
from diffeval.runs.directory import RunDirectory, RunState, default_name, matches
from diffeval.runs.protocol import fingerprint
from diffeval.runs.records import Param, Protocol, Provenance, Results


@dataclass(frozen=True, slots=True)
class Job:
    """A planned run.

    Attributes:
        checkpoint: what is measured, or ready-made images in its place.
        settings: as the user gave them.
        plan: how it is sampled.
        protocol: what defines the numbers.
        run: the directory, locked.
        state: that the directory was found in, or given.
        warned: warnings that the reporter held before this run, which are not this run's.
    """

    checkpoint: Measured
    settings: Settings
    plan: SamplingPlan
    protocol: Protocol
    run: RunDirectory
    state: RunState
    warned: int


def open_job(
    checkpoint: Measured,
    settings: Settings,
    plan: SamplingPlan,
    protocol: Protocol,
    out: Path | None,
    fresh: bool,
    reporter: Reporter,
) -> Job:
    """Finds or makes the run directory, and settles which batch is used; rank 0 does, and the others follow.

    Args:
        checkpoint: what is measured.
        settings: how it is sampled.
        plan: the same, checked.
        protocol: of what is measured.
        out: the directory; by default the usual one, and a shard's own folder in it.
        fresh: start anew, whatever the directory holds.
        reporter: hears of a batch that is kept.

    Raises:
        DiffevalError: if it cannot be written or continued, or the ranks do not see the same.
        StoppedError: if a rank has ended.
    """
    ranks = here()
    name = default_name(checkpoint.name, checkpoint.sha256, protocol.task, settings.seed, protocol)
    folder = out if out is not None else shard_folder(Path("runs") / name, settings.shard)
    run = RunDirectory(folder, follows=not ranks.first)
    shard = settings.shard
    wanted = RunState(
        task=protocol.task,
        status="running",
        version=provenance.own_version(),
        checkpoint_sha256=checkpoint.sha256,
        seed=settings.seed,
        n=settings.n,
        batch=plan.batch,
        chunk=plan.chunk,
        protocol=protocol,
        started=provenance.now(),
        warnings=checkpoint.assumptions,
        shard=None if shard is None else (shard.index + 1, shard.count),
    )
    run.lock()
    try:
        state = _found(run, wanted, fresh) if ranks.first else wanted
        told = ranks.tell({"batch": state.batch, "chunk": state.chunk}, reporter)
        state = dataclasses.replace(state, **told)
        same = f"{wanted.version} {fingerprint(protocol)} {checkpoint.sha256} {settings.seed} {settings.n} {shard}"
        ranks.meet(run.path, same, reporter)
        if settings.batch not in (None, state.batch):
            reporter.note(f"this run was begun with a batch of {state.batch} and keeps it")
        kept = dataclasses.replace(plan, batch=state.batch)
        return Job(checkpoint, settings, kept, protocol, run, state, len(reporter.warnings))
    except BaseException:
        run.release()
        raise


def _found(run: RunDirectory, wanted: RunState, fresh: bool) -> RunState:
    """The state of the run that is continued, or that of a new one."""
    found = None if fresh else run.state()
    if found is None:
        run.clear()
        run.save_state(wanted)
        return wanted
    reason = matches(found, wanted)
    if reason is not None:
        raise DiffevalError(f"run: {run.path} {reason}; give --fresh to replace it, or another --out")
    return found


@contextmanager
def holding(run: RunDirectory) -> Iterator[None]:
    """Leaves the run's status true, whatever ends the work."""
    try:
        yield
    except PartDone:
        run.update(status="done")
        raise
    except (StoppedError, KeyboardInterrupt):
        run.update(status="stopped")
        raise
    except BaseException:
        run.update(status="failed")
        raise
    finally:
        run.release()


def with_images(job: Job, n: int) -> Job:
    """The same job with another number of images."""
    return dataclasses.replace(job, settings=dataclasses.replace(job.settings, n=n))


def beginning(job: Job, target: Target) -> Job:
    """The job from as many images on as the run has results of, where a precision is wanted."""
    held = job.run.readable_results() if job.state.status == "done" else None
    return job if held is None else with_images(job, min(max(job.settings.n, held.provenance.n), target.max_n))


def finished(job: Job, counts: Sequence[int], choices: Mapping[str, Param]) -> Results | None:
    """The results on disk, if they are of this very question."""
    results = job.run.readable_results() if job.state.status == "done" else None
    if results is None or results.provenance.n != job.settings.n:
        return None
    return results if {score.n for score in results.scores} == set(counts) and results.choices == choices else None


def holds_more(job: Job) -> int | None:
    """The number of images of the results that the run holds, if it is larger than what is asked for now."""
    held = job.run.readable_results()
    return held.provenance.n if held is not None and held.provenance.n > job.settings.n else None


def warnings_of(job: Job, reporter: Reporter) -> tuple[str, ...]:
    """What a reader of the run must know: from the checkpoint, from earlier sessions, and said just now."""
    state = job.run.state()
    kept = state.warnings if state is not None else job.state.warnings
    return tuple(dict.fromkeys((*kept, *reporter.warnings[job.warned :])))


def provenance_of(job: Job, batch: int) -> Provenance:
    """Where this run's numbers come from."""
    state = job.run.state()
    return Provenance(
        checkpoint=job.checkpoint.name,
        checkpoint_path=str(job.checkpoint.path),
        checkpoint_sha256=job.checkpoint.sha256,
        seed=job.settings.seed,
        n=job.settings.n,
        batch=batch,
        device=device_name(job.plan.generator.device),
        threads=torch.get_num_threads(),
        versions=provenance.versions(),
        git=provenance.git_commit(),
        host=provenance.host(),
        command=provenance.command(),
        started=job.state.started,
        seconds=state.seconds if state else {},
        compiled=bool(state and state.compiled),
        ranks=state.ranks if state else 1,
        training_step=job.checkpoint.training_step,
    )
