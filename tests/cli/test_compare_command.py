"""``diffeval compare`` as a user meets it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import CheckResult, Param, Protocol, Provenance, Results, Score

MADE = ("ddim", {"eta": 0.0}, 10, 1.0, "none", "nearest", "fp32")
PROTOCOL = Protocol("eval", *MADE, "digits/1", "none", "digits@train", "aa")


def _run(*words: str) -> Result:
    return CliRunner().invoke(make_app(), ["compare", *words], prog_name="diffeval")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _write(
    name: str,
    values: dict[str, float],
    *,
    seed: int = 0,
    steps: int = 10,
    sha256: str = "c0ffee",
    checks: tuple[CheckResult, ...] = (),
    error: float = 0.1,
    **params: Param,
) -> None:
    """Scores with an error of 0.1 at 100 images; terms that pair ``recall`` by seed, at a tenth of that error."""
    origin = Provenance(
        "model", "model", sha256, seed, 100, 10, "cpu", 1, {"diffeval": "0.1.0"}, None, "here", (), "2026-01-01"
    )
    scores = tuple(
        Score(one, value, error, (value - 1.96 * error, value + 1.96 * error), 100, None, one == "recall", params)
        for one, value in values.items()
    )
    Path(name).mkdir()
    run = RunDirectory(Path(name))
    halves = 0.01 * np.random.Generator(np.random.Philox(len(sha256))).standard_normal(50)
    run.save_arrays("terms", {"recall.halves": halves} if "recall" in values else {"labels": np.zeros(0)})
    protocol = dataclasses.replace(PROTOCOL, steps=steps)
    run.save_results(Results(".", protocol, origin, scores, checks))


def test_a_table_says_who_is_better_and_what_is_not_told() -> None:
    _write("old", {"fid_debiased": 3.0, "recall": 0.50})
    _write("new", {"fid_debiased": 2.0, "recall": 0.51}, sha256="dead", seed=1)
    done = _run("old", "new")
    assert done.exit_code == 0, done.output
    fid, recall = (line for line in done.stdout.splitlines() if line.startswith(("fid_debiased ", "recall ")))
    assert fid.split()[1:5] == ["100", "3", "2", "1"]
    assert fid.endswith("  B")
    # (1.96 + 0.8416)^2 (0.1 sqrt 2 / 0.01)^2 times 100 images, upwards to two digits.
    assert recall.endswith("cannot tell at this n; about n=160000 would")
    assert "independent: seeds 0 and 1" in done.stdout
    assert "2 scores are judged" in done.stdout
    assert "about 0.1 of them" in done.stdout


def test_shared_seeds_are_said_per_score() -> None:
    _write("old", {"kid": 3.0, "recall": 0.50})
    _write("new", {"kid": 2.9, "recall": 0.55}, sha256="dead")
    said = _run("old", "new").stdout
    assert "paired by seed: recall" in said
    assert "errors as stored, which take the images for independent: kid" in said


def test_other_protocols_leave_with_5_and_say_what_to_add() -> None:
    _write("ten", {"kid": 3.0})
    _write("fifty", {"kid": 2.0}, steps=50)
    done = _run("ten", "fifty")
    assert done.exit_code == 5
    assert "steps 10 and 50" in done.stdout
    assert "--may-differ steps" in done.stdout
    assert "no verdict" in done.stdout
    assert done.stderr == "error: compare: nothing could be compared, see above\n"
    tested = _run("ten", "fifty", "--may-differ", "steps")
    assert tested.exit_code == 0
    assert "no verdict" not in tested.stdout
    assert any(line.endswith("  B") for line in tested.stdout.splitlines())


def test_the_same_images_are_called_that() -> None:
    _write("one", {"kid": 3.0})
    _write("again", {"kid": 3.0})
    done = _run("one", "again")
    assert done.exit_code == 0
    assert "A and B measured the same images" in done.stdout
    assert "the same" in done.stdout.splitlines()[-3]


def test_repeats_are_told_in_one_line() -> None:
    for name in ("a", "b", "c"):
        _write(name, {"kid": 3.0})
    _write("d", {"kid": 3.0}, seed=1)
    _write("e", {"kid": 3.0}, seed=1)
    lines = [line for line in _run("a", "d", "b", "e", "c").stdout.splitlines() if "measured the same images:" in line]
    assert [line.partition(" measured")[0] for line in lines] == ["A, C and E", "B and D"]


def test_three_runs_are_ranked() -> None:
    for place, value in enumerate((3.0, 1.05, 1.0)):
        _write(f"run{place}", {"kid": value}, seed=place)
    said = _run("run0", "run1", "run2").stdout
    rows = [line.split() for line in said.splitlines() if line[:2] in ("A ", "B ", "C ") and "100" in line.split()]
    assert [(row[0], row[-1]) for row in rows] == [("C", "a"), ("B", "a"), ("A", "b")]
    assert rows[0][-4:-1] == ["1", "to", "2"]
    assert rows[2][-2] == "3"
    assert "share a letter cannot be told apart" in said


def test_checks_that_differ_stand_beside_each_other() -> None:
    _write("one", {"kid": 3.0}, checks=(CheckResult("ema", "pass", "fine"), CheckResult("vae", "pass", "fine")))
    _write("bad", {"kid": 3.0}, checks=(CheckResult("ema", "fail", "raw weights"), CheckResult("vae", "pass", "fine")))
    said = _run("one", "bad").stdout
    assert "ema    pass  fail" in said
    assert "B ema: raw weights" in said
    assert "1 other checks ended alike" in said


def test_json_is_one_document() -> None:
    _write("one", {"kid": 3.0, "recall": 0.5})
    _write("other", {"kid": 2.0, "recall": 0.5}, seed=1)
    done = _run("one", "other", "--scores", "kid", "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "diffeval.compare/1"
    assert [one["name"] for one in document["scores"]] == ["kid"]
    assert document["scores"][0]["pairs"][0]["better"] == "B"


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("one",), "got 1 run, needs two or more", 2),
        (("one", "one"), "one is given twice", 2),
        (("one", "nothing"), "there is no nothing", 2),
        (("one", "other", "--scores", "kidd"), "did you mean 'kid'", 2),
        (("one", "other", "--may-differ", "reference"), "reference may not differ", 2),
        (("one", "lone"), "no score is in two of the runs", 5),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], said: str, code: int) -> None:
    _write("one", {"kid": 3.0})
    _write("other", {"kid": 2.0}, seed=1)
    _write("lone", {"recall": 2.0})
    done = _run(*words)
    assert done.exit_code == code
    assert done.stderr.startswith("error: compare: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_neither_torch_nor_scipy_is_imported() -> None:
    """What a gate in CI waits for."""
    _write("one", {"kid": 3.0, "recall": 0.5})
    _write("other", {"kid": 2.0, "recall": 0.6}, sha256="dead")
    code = """
import sys
from diffeval.cli.app import make_app
try:
    make_app()(["compare", "one", "other"])
except SystemExit as stop:
    assert stop.code == 0, stop.code
slow = {"torch", "scipy", "sklearn", "pandas", "diffusers"} & {name.split(".")[0] for name in sys.modules}
assert not slow, slow
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
