"""Run directories, written through the runs' own API."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from gate_records import SHA, MakeRun, WriteGate, protocol

from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import CheckResult, Provenance, Results, Score


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run: ``make_run("new", [score(...)], ...)`` gives its folder."""

    def make(
        name: str,
        scores: Sequence[Score] = (),
        found: Sequence[CheckResult] = (),
        *,
        seed: int = 0,
        sha: str = SHA,
        status: str = "done",
        terms: Mapping[str, Any] | None = None,
        tables: Mapping[str, Any] | None = None,
        warnings: Sequence[str] = (),
        started: str = "2026-11-20T10:00:00+00:00",
        **changes: Any,
    ) -> Path:
        run = RunDirectory(tmp_path / name)
        told = protocol(**changes)
        n = max((one.n for one in scores), default=64)
        origin = Provenance(
            "digits", "/models/digits", sha, seed, n, 256, "cpu", 1, {}, None, "Linux", ("diffeval",), started
        )
        if terms is not None:
            run.save_arrays("terms", terms)
        run.save_results(
            Results(
                str(run.path), told, origin, tuple(scores), tuple(found), dict(tables or {}), {}, None, tuple(warnings)
            )
        )
        run.save_state(RunState("eval", status, "0.1.0", sha, seed, n, 256, 256, told, started))  # type: ignore[arg-type]
        return run.path

    return make


@pytest.fixture
def write_gate(tmp_path: Path) -> WriteGate:
    """Writes a gate file."""

    def write(text: str, name: str = "gate.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
