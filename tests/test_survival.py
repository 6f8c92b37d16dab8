"""What can befall a run, and that nothing is lost by it: stops, kills, damage, too little memory, a second process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError, StoppedError
from diffeval.evaluate import evaluate
from diffeval.plan import Settings
from diffeval.progress import SilentReporter
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Results

FAST = Settings(n=300, steps=2, device="cpu", batch=50)


def _numbers(results: Results) -> list[object]:
    return [(score.name, score.n, score.value, score.std_error, score.ci95) for score in results.scores]


def _wait_for_a_chunk(run: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(run.glob("features/*/*.npz")):
        assert time.monotonic() < deadline, "nothing was committed in two minutes"
        time.sleep(0.02)


class _Stopper(SilentReporter):
    """Asks to stop after so many images."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.seen = after, 0

    def advance(self, units: int, detail: str = "") -> None:
        self.seen += units
        self.stop_requested = self.seen >= self.after


def test_a_stopped_run_continues_to_the_same_numbers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "whole")
    with pytest.raises(StoppedError, match="run the same command to continue"):
        evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "broken", reporter=_Stopper(100))
    state = RunDirectory(tmp_path / "broken").state()
    assert state is not None
    assert state.status == "stopped"
    assert _numbers(evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "broken")) == _numbers(whole)


def test_a_damaged_chunk_is_made_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "whole")
    run = tmp_path / "hurt"
    evaluate(tiny_checkpoint, settings=FAST, out=run)
    for path in run.glob("features/*/00000000.npz"):
        path.write_bytes(path.read_bytes()[:100])
    (run / "results.json").unlink()
    assert _numbers(evaluate(tiny_checkpoint, settings=FAST, out=run)) == _numbers(whole)


def test_sigkill_loses_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A real process, killed as soon as it has committed something, then started again with the same command."""
    words = [
        sys.executable,
        "-m",
        "diffeval",
        "fid",
        str(tiny_checkpoint),
        "--n",
        "2000",
        "--steps",
        "5",
        "--batch",
        "50",
    ]
    words += ["--device", "cpu", "--quiet", "--out"]
    subprocess.run([*words, str(tmp_path / "whole")], check=True, capture_output=True)
    victim = subprocess.Popen([*words, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for_a_chunk(tmp_path / "killed")
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "results.json").exists()
    subprocess.run([*words, str(tmp_path / "killed")], check=True, capture_output=True)
    documents = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed")]
    assert documents[0]["scores"] == documents[1]["scores"]


def test_sigterm_stops_cleanly_with_75(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "diffeval",
        "fid",
        str(tiny_checkpoint),
        "--n",
        "20000",
        "--steps",
        "5",
        "--batch",
        "50",
    ]
    words += ["--device", "cpu", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_for_a_chunk(tmp_path / "run")
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert errors.strip().splitlines()[-1].endswith("run the same command to continue")
    state = RunDirectory(tmp_path / "run").state()
    assert state is not None
    assert state.status == "stopped"


def test_out_of_memory_halves_the_batch_and_says_so(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Generator.images

    def tight(self: Generator, indices: range) -> np.ndarray:  # type: ignore[type-arg]
        if len(indices) > 20:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
            )
        return original(self, indices)

    monkeypatch.setattr(Generator, "images", tight)
    reporter = SilentReporter()
    results = evaluate(tiny_checkpoint, metrics=("fid",), settings=FAST, out=tmp_path / "run", reporter=reporter)
    assert reporter.warnings == [
        "out of memory with a batch of 50; going on with 25",
        "out of memory with a batch of 25; going on with 12",
    ]
    assert results.provenance.batch == 12
    assert results.warnings == tuple(reporter.warnings)
    monkeypatch.setattr(Generator, "images", original)
    whole = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "whole")
    assert results.score("fid").value == pytest.approx(whole.score("fid").value, rel=1e-3)


def test_two_processes_do_not_share_a_run(tiny_checkpoint: Path, tmp_path: Path) -> None:
    holder = RunDirectory(tmp_path / "run")
    holder.lock()
    with pytest.raises(DiffevalError, match="another process is working on"):
        evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    holder.release()


def test_damaged_results_are_computed_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole = evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "run")
    for damage in ("", "{", '{"schema": "diffeval.results/1"}'):
        (tmp_path / "run" / "results.json").write_text(damage)
        assert _numbers(evaluate(tiny_checkpoint, settings=FAST, out=tmp_path / "run")) == _numbers(whole)
