"""Run directories for pages, whose numbers are chosen by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import CheckResult, Null, Protocol, Provenance, Results, Score

SHA = "ab" * 32
HIGHER = ("recall", "precision", "class_accuracy")
# A run lists these, so that pip knows them.
VERSIONS = {"diffeval": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"}


def score(name: str, value: float | None, std_error: float | None = None, n: int = 1000, **params: Any) -> Score:
    """A score with a normal interval."""
    half = 1.959964 * (std_error or 0.0)
    ends = None if value is None or std_error is None else (value - half, value + half)
    null = Null(params.pop("null"), 0.01, n) if "null" in params else None
    return Score(name, value, std_error, ends, n, null, name in HIGHER, params)


def protocol(**changes: Any) -> Protocol:
    made: dict[str, Any] = {
        "task": "eval", "sampler": "ddim", "sampler_config": {"eta": 0.0}, "steps": 10, "w": 1.0,
        "labels": "balanced-blocks/1", "rounding": "nearest", "dtype": "fp32", "extractor": "digits/penultimate/12e3",
        "resize": "none", "reference": "digits@train", "reference_hash": "cd" * 32,
    }  # fmt: skip
    return Protocol(**{**made, **changes})


def write_run(
    folder: Path,
    scores: Sequence[Score] = (),
    checks: Sequence[CheckResult] = (),
    *,
    checkpoint: str = "model",
    path: str = "models/model",
    sha: str = SHA,
    seed: int = 0,
    step: int | None = None,
    ranks: int = 1,
    status: str = "done",
    warnings: Sequence[str] = (),
    versions: Mapping[str, str] = VERSIONS,
    command: Sequence[str] = ("diffeval", "eval", "models/model", "--n", "1000"),
    grid: bool = False,
    results: bool = True,
    **changes: Any,
) -> Path:
    """A run of scores, of checks, or of both; ``results=False`` is one that has only begun."""
    run = RunDirectory(folder)
    folder.mkdir(parents=True)
    told = protocol(**changes)
    n = max((one.n for one in scores), default=64)
    started = "2026-11-20T10:00:00+00:00"
    origin = Provenance(
        checkpoint, path, sha, seed, n, 256, "cpu", 1, versions, "c0ffee", "Linux", tuple(command), started,
        training_step=step, ranks=ranks,
    )  # fmt: skip
    run.save_arrays("terms", {"labels": np.zeros(n, np.int64)})
    if grid:
        run.save_arrays("grid", {"images": np.zeros((4, 1, 8, 8), np.uint8), "labels": np.arange(4)})
    if results:
        run.save_results(Results(".", told, origin, tuple(scores), tuple(checks), {}, {}, None, tuple(warnings)))
    run.save_state(
        RunState(told.task, status, "0.1.0", sha, seed, n, 256, 256, told, started, warnings=tuple(warnings))  # type: ignore[arg-type]
    )
    return folder
