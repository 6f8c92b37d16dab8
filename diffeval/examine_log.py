"""The wiring of the one health check that needs no checkpoint: the log of a training."""

import hashlib
from pathlib import Path

import torch

from diffeval.checks.check import Subject, look
from diffeval.job import holding
from diffeval.runs import provenance
from diffeval.runs.directory import RunDirectory, RunState, default_name
from diffeval.runs.records import Protocol, Provenance, Results
from diffeval.training_log import read_training_log

TASK, CHECK = "check", "training-log"


def check_training_log(log: Path, *, out: Path | None = None) -> Results:
    """Looks a training's losses over, without a checkpoint.

    Args:
        log: CSV, JSON lines, TensorBoard events, or the folder of a training.
        out: the run directory; by default named after the log, under ``runs/``.

    Raises:
        DiffevalError: if it cannot be read.
    """
    rows = read_training_log(log)
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    protocol = Protocol(
        task=TASK, sampler=None, sampler_config={}, steps=None, w=None, labels="none", rounding=None, dtype=None
    )
    run = RunDirectory(out or Path("runs") / default_name(log.stem, digest, f"{TASK}-log", 0, protocol))
    started = provenance.now()
    run.lock()
    run.save_state(
        RunState(
            task=TASK, status="running", version=provenance.own_version(), checkpoint_sha256=digest, seed=0,
            n=len(rows), batch=1, chunk=1, protocol=protocol, started=started,
        )
    )  # fmt: skip
    with holding(run):
        # This check reads the log alone.
        result, finding = look(CHECK, Subject(None, None, len(rows), log=rows))  # type: ignore[arg-type]
        origin = Provenance(
            checkpoint=log.name, checkpoint_path=str(log), checkpoint_sha256=digest, seed=0, n=len(rows), batch=1,
            device="cpu", threads=torch.get_num_threads(), versions=provenance.versions(),
            git=provenance.git_commit(), host=provenance.host(), command=provenance.command(), started=started,
        )  # fmt: skip
        tables = {CHECK: finding.rows} if finding.rows else {}
        results = Results(run=str(run.path), protocol=protocol, provenance=origin, checks=(result,), tables=tables)
        run.save_results(results)
        run.update(status="done")
    return results
