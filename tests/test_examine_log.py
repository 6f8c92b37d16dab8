"""The log of a training is checked without a checkpoint, and with one."""

from pathlib import Path

import pytest

from diffeval.errors import DiffevalError
from diffeval.examine import check
from diffeval.examine_log import check_training_log
from diffeval.plan import Settings
from diffeval.report.page import report
from diffeval.runs.directory import RunDirectory


def _log(path: Path, losses: list[float]) -> Path:
    path.write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in enumerate(losses)))
    return path


def test_a_log_alone(tmp_path: Path) -> None:
    calm = [0.2 + 0.001 * (step % 7) for step in range(600)]
    results = check_training_log(_log(tmp_path / "calm.csv", calm), out=tmp_path / "calm")
    assert [(one.name, one.status) for one in results.checks] == [("training-log", "pass")]
    assert RunDirectory(tmp_path / "calm").results() is not None
    assert "training-log" in report([tmp_path / "calm"], tmp_path / "page.html").read_text(encoding="utf-8")

    broken = check_training_log(_log(tmp_path / "nan.csv", [*calm, float("nan")]), out=tmp_path / "nan")
    assert broken.checks[0].status == "fail"


def test_a_log_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match="does not exist"):
        check_training_log(tmp_path / "none.csv")


def test_the_log_beside_a_checkpoint_is_read_and_another_one_replaces_what_was_found(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    settings = Settings(n=4, device="cpu")
    beside = check(tiny_checkpoint, only=["training-log"], settings=settings, out=tmp_path / "run")
    assert beside.checks[0].status != "not-applicable"
    bad = _log(tmp_path / "bad.csv", [0.2] * 500 + [float("inf")])
    other = check(tiny_checkpoint, only=["training-log"], settings=settings, training_log=bad, out=tmp_path / "run")
    assert other.checks[0].status == "fail"
