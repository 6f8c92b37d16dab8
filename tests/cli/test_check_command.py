"""``diffeval check`` as a user meets it: exit code first."""

import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import DDIMScheduler
from typer.testing import CliRunner

from diffeval.checks.check import CHECKS, Check, Finding, Subject
from diffeval.cli.app import make_app
from diffeval.runs.records import CheckStatus

FAST = ("--n", "4", "--steps", "2", "--device", "cpu")


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _plant(monkeypatch: pytest.MonkeyPatch, *statuses: CheckStatus) -> None:
    """Checks that end as they are told, and no others: one, two, ..."""

    def made(name: str, status: CheckStatus) -> Check:
        def run(subject: Subject) -> Finding:
            ruled_out = ("the sampler", "the data") if status == "fail" else ()
            return Finding(
                status, f"ended in {status}", fix="mend it" if status == "fail" else "", ruled_out=ruled_out
            )

        return Check(name, run, f"says {status}", (), {})

    CHECKS.names()
    names = ("one", "two", "three")
    entries = {name: made(name, status) for name, status in zip(names, statuses, strict=False)}
    monkeypatch.setattr(CHECKS, "_entries", entries)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (("pass",), 0),
        (("pass", "warn", "not-applicable"), 0),
        (("not-applicable",), 0),
        (("pass", "inconclusive"), 0),
        (("inconclusive",), 4),
        (("inconclusive", "not-applicable"), 4),
        (("inconclusive", "fail", "pass"), 3),
    ],
)
def test_exit_codes(
    statuses: tuple[CheckStatus, ...], code: int, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plant(monkeypatch, *statuses)
    done = _run("check", str(tiny_checkpoint), *FAST)
    assert done.exit_code == code, done.output
    again = _run("check", str(tiny_checkpoint), *FAST)
    assert again.exit_code == code, "what is only shown ends alike"
    assert "nothing was computed" in again.stderr


def test_what_failed_is_said_with_what_to_do(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, "fail", "pass")
    done = _run("check", str(tiny_checkpoint), *FAST)
    assert done.exit_code == 3
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "fail one ended in fail" in lines
    assert "what to do: mend it" in lines
    assert "not the cause: the sampler; the data" in lines
    assert "pass two ended in pass" in lines
    assert "n=4 · w=1 · ddim, 2 steps · seed 0" in done.stdout
    (page,) = Path("runs").glob("tiny-*-check-s0-*/report.html")
    assert f"page  {page}" in done.stdout


def test_a_network_that_was_hardly_trained_fails(tiny_checkpoint: Path) -> None:
    """For real: after four steps it predicts next to nothing, and x_t keeps all its noise."""
    done = _run("check", str(tiny_checkpoint), "--only", "trajectory", "--n", "16", "--device", "cpu", "--json")
    assert done.exit_code == 3, done.output
    (found,) = json.loads(done.stdout)["checks"]
    assert found["name"] == "trajectory"
    assert "times the second moment it should" in found["summary"]


def test_the_digits_model_passes() -> None:
    done = _run("check", "digits", "--only", "trajectory,step-convergence", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("pass")] == [
        ["pass", "step-convergence"],
        ["pass", "trajectory"],
    ]


def test_the_scheduler_in_use_is_held_against_the_trainings(tiny_checkpoint: Path) -> None:
    """Two configurations are two runs: what one does wrong is not said of the other."""
    folder = Path("production")
    DDIMScheduler(beta_schedule="linear").save_pretrained(folder)
    words = ("check", str(tiny_checkpoint), "--only", "noise-schedule", *FAST)
    wrong = _run(*words, "--sampling-scheduler", str(folder))
    assert wrong.exit_code == 3, wrong.output
    assert "DDIMScheduler samples along another noise schedule" in " ".join(wrong.stdout.split())
    DDIMScheduler(beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=False).save_pretrained(folder)
    assert _run(*words, "--sampling-scheduler", str(folder)).exit_code != 3
    assert _run(*words).exit_code != 3


def test_json_is_one_document_of_this_calls_checks(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, "pass", "warn")
    _run("check", str(tiny_checkpoint), *FAST)
    done = _run("check", str(tiny_checkpoint), "--only", "two", "--json", *FAST)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["schema"] == "diffeval.results/1"
    assert [(one["name"], one["status"]) for one in document["checks"]] == [("two", "warn")]
    assert document["protocol"]["reference"] == "digits@train"
    stored = json.loads((Path(document["run"]) / "results.json").read_text())
    assert [one["name"] for one in stored["checks"]] == ["one", "two"]


def test_list_needs_no_checkpoint_and_has_every_check() -> None:
    done = _run("check", "--list")
    assert done.exit_code == 0, done.output
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == CHECKS.names()
    assert {"step-convergence", "trajectory"} <= set(names)
    document = json.loads(_run("check", "--list", "--json").stdout)
    assert document["schema"] == "diffeval.checks/1"
    assert [row["name"] for row in document["checks"]] == names
    reads = {row["name"]: row["reads"] for row in document["checks"]}
    assert all(row["about"] for row in document["checks"])
    assert reads["step-convergence"] == "checkpoint"
    assert reads["noise-schedule"] == "checkpoint, images"
    assert reads["training-log"] == "log"


def test_a_dry_run_writes_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ("check", str(tiny_checkpoint), "--only", "trajectory,step-convergence", "--dry-run", *FAST)
    done = _run(*words)
    assert done.exit_code == 0, done.output
    assert "check       trajectory: " in done.stdout
    plan = json.loads(_run(*words, "--json").stdout)["plan"]
    assert [one.split(":")[0] for one in plan["check"]] == ["step-convergence", "trajectory"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("digits", "--only", "trajectry"), "unknown check 'trajectry'; did you mean 'trajectory'?"),
        (("digits", "--only", ","), "none is named; leave --only out"),
        (("digits", "--n", "1"), "--n is 1, needs at least 2"),
        (("nothing",), "nothing does not exist"),
        (("images:x.npz",), "is ready-made images, without a network: they can be held against training images"),
        (("digits", "--ref", "stats:moments.npz"), "holds moments; checks need images"),
        (("digits", "--sampling-scheduler", "nowhere"), "nowhere is no scheduler_config.json, nor a folder with one"),
        (("digits", "--sampler", "dimm"), "did you mean 'ddim'?"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(words: tuple[str, ...], message: str) -> None:
    noise = np.random.Generator(np.random.Philox(0)).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    np.savez("x.npz", arr_0=noise)
    np.savez("moments.npz", mu=np.zeros(4), sigma=np.eye(4))
    done = _run("check", *words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not Path("runs").exists()


def test_no_checkpoint_is_a_usage_error() -> None:
    done = _run("check")
    assert done.exit_code == 2
    assert "name a checkpoint" in done.stderr
