"""Runs made by hand, without a network: what the tests of comparisons compare."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffeval.compare.side import Side
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import CheckResult, Null, Param, Protocol, Provenance, Results, Score

PROTOCOL = Protocol(
    "eval", "ddim", {"eta": 0.0}, 10, 1.0, "none", "nearest", "fp32", "digits/1", "none", "digits", "aa"
)


def score(
    name: str,
    value: float | None,
    error: float | None = None,
    *,
    n: int = 100,
    higher: bool = False,
    ci95: tuple[float, float] | None = None,
    null: Null | None = None,
    **params: Param,
) -> Score:
    if ci95 is None and error is not None and value is not None:
        ci95 = value - 1.959964 * error, value + 1.959964 * error
    return Score(name, value, error, ci95, n, null, higher, params)


def results(
    scores: Sequence[Score] = (),
    *,
    protocol: Protocol = PROTOCOL,
    seed: int = 0,
    n: int = 100,
    sha256: str = "c0ffee",
    checks: Sequence[CheckResult] = (),
    version: str = "0.1.0",
    ranks: int = 1,
) -> Results:
    origin = Provenance(
        "model", "model", sha256, seed, n, 10, "cpu", 1, {"diffeval": version}, None, "here", (), "2026-01-01",
        ranks=ranks,
    )  # fmt: skip
    return Results(".", protocol, origin, tuple(scores), tuple(checks))


def side(name: str, scores: Sequence[Score], arrays: Mapping[str, Any] | None = None, **more: Any) -> Side:
    return Side(name, results(scores, **more), arrays or {})


def write(folder: Path, scores: Sequence[Score] = (), arrays: Mapping[str, Any] | None = None, **more: Any) -> Path:
    run = RunDirectory(folder)
    folder.mkdir(parents=True)
    run.save_arrays("terms", arrays or {"labels": np.zeros(0)})
    run.save_results(results(scores, **more))
    return folder
