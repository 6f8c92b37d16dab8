"""``diffeval runs`` and parts of a run, as a user meets them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffeval.cli.app import make_app

FAST = ("--steps", "2", "--device", "cpu", "--batch", "130", "-n", "200")


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), list(words), prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_parts_are_made_joined_listed_and_scored(tiny_checkpoint: Path) -> None:
    fid = ("fid", str(tiny_checkpoint), *FAST, "--out", "runs/big")
    first = _run(*fid, "--shard", "1/2")
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines() == [
        "shard 1/2 is done; when all are: diffeval runs merge runs/big",
        "run   runs/big/shard-1-of-2",
    ]
    lacking = _run("runs", "merge", "runs/big")
    assert lacking.exit_code == 2
    assert lacking.stderr == "error: merge: images 130 to 199 are missing; run the command again with --shard 2/2\n"
    second = _run(*fid, "--shard", "2/2", "--json")
    assert json.loads(second.stdout)["run"] == "runs/big/shard-2-of-2"
    merged = _run("runs", "merge", "runs/big", "--json")
    assert merged.exit_code == 0, merged.output
    assert json.loads(merged.stdout)["n"] == 200
    assert [one["status"] for one in json.loads(_run("runs", "ls", "--json").stdout)["runs"]] == [
        "stopped",
        "done",
        "done",
    ]
    done = _run(*fid)
    assert done.exit_code == 0, done.output
    assert "[sampling]" not in done.stderr, "nothing is sampled any more"
    listed = _run("runs", "ls").stdout.splitlines()
    assert listed[1].split()[:5] == ["runs/big", "fid", "done", "200", "0"]
    assert "fid_debiased" in listed[1]
    shown = _run("runs", "show", "runs/big").stdout
    assert "status             done" in shown
    assert "ranks              1" in shown
    assert "fid_debiased" in shown


def test_samples_are_parted_too(tiny_checkpoint: Path) -> None:
    sample = ("sample", str(tiny_checkpoint), *FAST, "--out", "drawn")
    for shard in ("1/2", "2/2"):
        assert _run(*sample, "--shard", shard).exit_code == 0
    assert _run("runs", "merge", "drawn").exit_code == 0
    done = _run(*sample)
    assert done.exit_code == 0, done.output
    assert len(list(Path("drawn/png").glob("*.png"))) == 200


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fid", "digits", "--shard", "0/2"), "--shard: '0/2' is no part of a whole; write I/N with I from 1 to N"),
        (("fid", "digits", "--shard", "1/2", "--precision", "0.1"), "--precision finds its n as it goes"),
        (("check", "digits", "--shard", "1/2"), "check: spends too few images for parts; leave --shard out"),
        (("fid", "digits", "--time-limit", "soon"), "--time-limit: 'soon' is no time; write e.g. 90s"),
        (("runs", "ls", "nowhere"), "runs: nowhere is no folder"),
        (("runs", "show", "nowhere"), "runs: nowhere holds no run"),
        (("runs", "merge", "nowhere"), "merge: nowhere holds no run"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str) -> None:
    done = _run(*words)
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1), done.output
    assert message in done.stderr
