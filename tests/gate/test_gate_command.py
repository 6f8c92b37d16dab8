"""``diffeval gate`` as a process sees it: every exit code, and all outputs telling the same."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as Xml
from collections.abc import Callable
from pathlib import Path

import pytest
from gate_records import MakeRun, WriteGate, checks, score
from typer.testing import CliRunner, Result

from diffeval.cli.app import make_app
from diffeval.gate.terminal import WORD

WORDS = {"pass": 0, "fail": 3, "inconclusive": 4, "no-evidence": 5, "error": 2}
RULE = '[[rule]]\nscore = "fid"\nmax_regression = { abs = 0.3 }\nwhy = "five seeds"\n[[rule]]\ncheck = "ema"\n'


def _run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(make_app(), list(words), env={"GITHUB_ACTIONS": "", **environment})


def _command(make_run: MakeRun, write_gate: WriteGate, value: float, ema: str = "pass", n: int = 1000) -> list[str]:
    """A command whose run is worse than the baseline by ``value - 3`` with a standard error of 0.05."""
    new = make_run("new", [score("fid", value, 0.04, n)], checks(ema=ema))  # type: ignore[arg-type]
    old = make_run("old", [score("fid", 3.0, 0.03, n)], seed=1)
    return ["gate", str(new), "--config", str(write_gate('name = "cifar"\n' + RULE)), "--baseline", str(old)]


def _passing(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    return _command(make_run, write_gate, 3.1)


def _failing(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    return _command(make_run, write_gate, 3.5)


def _failing_check(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    return _command(make_run, write_gate, 3.1, ema="fail")


def _open(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    return _command(make_run, write_gate, 3.25)


def _without_baseline(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    return _command(make_run, write_gate, 3.1)[:-2]


def _without_check(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    return _command(make_run, write_gate, 3.1, ema="not-applicable")


def _other_protocol(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    words = _command(make_run, write_gate, 3.1)
    make_run("old", [score("fid", 3.0, 0.03)], seed=1, steps=50)
    return words


def _newer_schema(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    words = _command(make_run, write_gate, 3.1)
    path = Path(words[1]) / "results.json"
    path.write_text(path.read_text().replace("diffeval.results/1", "diffeval.results/2"))
    return words


def _unfinished(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    words = _command(make_run, write_gate, 3.1)
    make_run("new", [score("fid", 3.1, 0.04)], status="stopped")
    return words


def _missing_run(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    return ["gate", "nowhere", *_command(make_run, write_gate, 3.1)[2:]]


def _min_above_max(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    words = _command(make_run, write_gate, 3.1)
    write_gate('[[rule]]\nscore = "fid"\nmin = 4\nmax = 3\n')
    return words


def _edited(make_run: MakeRun, write_gate: WriteGate) -> list[str]:
    words = _command(make_run, write_gate, 3.5)
    path = Path(words[1]) / "results.json"
    path.write_text(path.read_text().replace("3.5", "3.0"))
    return words


CASES: list[tuple[str, Callable[[MakeRun, WriteGate], list[str]]]] = [
    ("pass", _passing),
    ("fail", _failing),
    ("fail", _failing_check),
    ("inconclusive", _open),
    ("no-evidence", _without_baseline),
    ("no-evidence", _without_check),
    ("no-evidence", _other_protocol),
    ("no-evidence", _unfinished),
    ("error", _newer_schema),
    ("error", _missing_run),
    ("error", _min_above_max),
    ("error", _edited),
]


@pytest.mark.parametrize(("status", "prepare"), CASES, ids=[case.__name__ for _, case in CASES])
def test_terminal_json_junit_markdown_github_and_exit_code_agree(
    status: str,
    prepare: Callable[[MakeRun, WriteGate], list[str]],
    make_run: MakeRun,
    write_gate: WriteGate,
    tmp_path: Path,
) -> None:
    code, junit, markdown = WORDS[status], tmp_path / "gate.xml", tmp_path / "gate.md"
    words = prepare(make_run, write_gate)
    plain = _run(*words)
    files = ["--junit", str(junit), "--markdown", str(markdown), "--github"]
    github = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    told = _run(*words, "--json", *files, **github)
    assert plain.exit_code == told.exit_code == code, plain.output + told.output

    document = json.loads(told.stdout)
    assert document["schema"] == "diffeval.gate/1"
    assert (document["status"], document["exit_code"]) == (status, code)

    if document["run"] is None:
        assert plain.stderr == f"error: {document['sentence']}\n"
        assert plain.stdout == ""
    else:
        last = " ".join(plain.stdout[plain.stdout.rindex("gate cifar: ") :].split())
        assert last == f"gate cifar: {WORD[status]} {document['sentence']} (exit code {code})"
        assert plain.stderr == ""

    suite = Xml.parse(junit).getroot()
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert (properties["status"], properties["exit_code"]) == (status, str(code))
    whole = next(case for case in suite.iter("testcase") if case.get("name") == "verdict")
    assert (whole.find("failure") is not None) is (status == "fail")
    assert (whole.find("error") is not None) is (status not in ("pass", "fail"))
    assert suite.get("failures") == str(len(list(suite.iter("failure"))))
    assert suite.get("errors") == str(len(list(suite.iter("error"))))

    text = markdown.read_text()
    assert text.splitlines()[0] == f"<!-- diffeval:gate:{document['gate']} -->"
    title = "gate cifar" if document["gate"] == "cifar" else "gate"
    assert text.splitlines()[1].endswith(f" {title}: {status}")
    assert text.rstrip().endswith(f"exit code {code}")
    assert Path(github["GITHUB_STEP_SUMMARY"]).read_text() == text
    assert Path(github["GITHUB_OUTPUT"]).read_text() == f"verdict={status}\nexit-code={code}\n"

    commands = [line for line in told.stderr.splitlines() if line.startswith("::")]
    assert bool(commands) is (status != "pass")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    for rule in document["rules"]:
        case = cases[rule["name"]]
        assert (case.find("failure") is not None) is (rule["status"] == "fail")
        assert (case.find("error") is not None) is (rule["status"] in ("no-evidence", "inconclusive"))
        row = next(line for line in text.splitlines() if f"| {rule['name']} |" in line)
        assert WORD[rule["status"]] in row
        annotated = [line for line in commands if rule["name"] in line]
        assert bool(annotated) is (rule["status"] != "pass")
        if rule["status"] != "pass":
            assert all(rule["sentence"] in line.replace("%25", "%") for line in annotated)
            assert re.sub(r"\W", "", rule["sentence"]) in re.sub(r"\W", "", plain.stdout)


def test_two_runs_are_read_together(make_run: MakeRun, write_gate: WriteGate) -> None:
    scored, old = make_run("scored", [score("fid", 3.0, 0.04)]), make_run("old", [score("fid", 3.0, 0.03)], seed=1)
    checked = make_run("checked", found=checks(ema="pass"))
    config = str(write_gate(RULE))
    assert _run("gate", str(scored), str(checked), "-c", config, "-b", str(old)).exit_code == 0
    other = make_run("other", found=checks(ema="pass"), sha="ef" * 32)
    done = _run("gate", str(scored), str(other), "-c", config, "-b", str(old))
    assert done.exit_code == 2
    assert "give runs of one checkpoint" in done.stderr


def test_exit_zero_reports_only_but_a_bad_file_stays_one(make_run: MakeRun, write_gate: WriteGate) -> None:
    words = _failing(make_run, write_gate)
    done = _run(*words, "--exit-zero")
    assert done.exit_code == 0
    assert "FAIL" in done.stdout
    assert "as --exit-zero asks" in done.stderr
    assert _run("gate", "nowhere", *words[2:], "--exit-zero").exit_code == 2


@pytest.mark.parametrize("github", ["", "true"])
def test_a_file_that_cannot_be_written_takes_nothing_from_the_verdict(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path, github: str
) -> None:
    words, markdown, output = _failing(make_run, write_gate), tmp_path / "gate.md", tmp_path / "output"
    (tmp_path / "file").touch()
    junit = tmp_path / "file" / "gate.xml"
    words += ["--junit", str(junit), "--markdown", str(markdown)]
    environment = {"GITHUB_ACTIONS": github, "GITHUB_STEP_SUMMARY": str(tmp_path), "GITHUB_OUTPUT": str(output)}
    done = _run(*words, **environment)
    assert done.exit_code == 2
    assert "gate cifar: FAIL" in done.stdout
    assert f"error: gate: cannot write {junit}: " in done.stderr
    assert "give another --junit" in done.stderr
    assert "--out" not in done.stderr
    assert markdown.read_text().rstrip().endswith("exit code 3")
    assert (f"cannot write {tmp_path}: " in done.stderr) is bool(github)
    if github:
        assert output.read_text() == "verdict=fail\nexit-code=2\n"
        assert f"::error title=gate cifar::gate: cannot write {junit}" in done.stdout
    told = _run(*words, "--json", **environment)
    document = json.loads(told.stdout)
    assert told.exit_code == document["exit_code"] == 2
    assert (document["schema"], document["status"]) == ("diffeval.gate/1", "fail")
    assert len(document["errors"]) == 1 + bool(github)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("more", [[], ["--json"], ["--quiet"]])
def test_a_terminal_that_takes_nothing_is_an_error_in_one_line(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path, more: list[str]
) -> None:
    words = [*_failing(make_run, write_gate), *more, "--markdown", str(tmp_path / "gate.md")]
    lint = ["gate", "lint", "--config", words[words.index("--config") + 1]]
    for command in (words, lint):
        with Path("/dev/full").open("w") as full:
            code = "import sys\nfrom diffeval.cli.app import make_app\nmake_app()(sys.argv[1:])"
            done = subprocess.run(
                [sys.executable, "-c", code, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines()[-1] == "error: gate: cannot write to stdout: No space left on device"
        assert "Traceback" not in done.stderr
    assert (tmp_path / "gate.md").exists()


def test_names_give_a_runner_no_commands(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    run = make_run("::stop-commands::x", [score("fid", 3.5, 0.04)])
    config = str(write_gate('name = "a\\n::error::b ##[group]c"\n[[rule]]\nscore = "fid"\nmax = 3\n'))
    for more in ([], ["--json"]):
        done = _run("gate", str(run), "--config", config, "--github", *more)
        assert done.exit_code == 3
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
        assert not any("##[" in line for line in lines)
        assert {line.split(" ")[0] for line in lines if line.startswith("::")} == {"::error"}
        assert all(line.startswith("::error title=gate a %3A%3Aerror") for line in lines if line.startswith("::"))
    assert json.loads(done.stdout)["gate"] == "a\n::error::b ##[group]c"


def test_errors_of_commands_without_a_verdict_have_a_schema_of_their_own(tmp_path: Path) -> None:
    done = _run("gate", "lint", "--config", str(tmp_path / "nowhere.toml"), "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["schema"] == "diffeval.gate-error/1"


def test_what_init_says_comes_next_can_be_pasted(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run("my run", [score("fid", 3.0, 0.04)])
    done = _run("gate", "init", "my run", "-o", "the gate.toml")
    words = shlex.split(done.stdout.splitlines()[-1].removeprefix("next  "))
    assert words == ["diffeval", "gate", "my run", "--config", "the gate.toml", "--baseline", "my run"]
    assert _run(*words[1:]).exit_code == 0


def test_quiet_is_one_line(make_run: MakeRun, write_gate: WriteGate) -> None:
    done = _run(*_passing(make_run, write_gate), "-q")
    assert done.stdout == "gate cifar: PASS  every rule passes (2) (exit code 0)\n"


def test_nothing_is_written_where_nobody_asks(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    words = _failing(make_run, write_gate)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert _run(*words).exit_code == 3
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_an_output_that_cannot_be_written_is_never_a_pass(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = _run(*_passing(make_run, write_gate), "--junit", str(tmp_path / "file" / "gate.xml"))
    assert done.exit_code == 2
    assert "cannot write" in done.stderr


def test_the_environment_of_github_is_seen(make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    words, summary = _failing(make_run, write_gate), tmp_path / "summary.md"
    done = _run(*words, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert done.exit_code == 3
    assert "::error title=gate cifar%3A fid.regression::FAIL: fid 3.5" in done.stdout
    assert summary.exists()
    summary.unlink()
    assert _run(*words, "--no-github", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary)).exit_code == 3
    assert not summary.exists()


def test_a_folder_carried_elsewhere_is_enough_and_nothing_heavy_is_loaded(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    words = _passing(make_run, write_gate)
    away = tmp_path / "away"
    for folder in ("new", "old"):
        shutil.copytree(tmp_path / folder, away / folder)
        shutil.rmtree(tmp_path / folder)
    code = (
        "import sys; from diffeval.cli.app import make_app\n"
        "try: make_app()(sys.argv[1:])\n"
        "except SystemExit as stop: assert stop.code == 0, stop.code\n"
        "heavy = {'torch', 'scipy', 'sklearn', 'pandas', 'plotly', 'jinja2', 'rich.progress'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    given = ["gate", str(away / "new"), "--config", words[3], "--baseline", str(away / "old")]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB")}
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr


def test_a_run_called_like_a_command_is_reached_by_its_path(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("init", [score("fid", 3.0, 0.04)])
    monkeypatch.chdir(tmp_path)
    write_gate('[[rule]]\nscore = "fid"\nmax = 4\n')
    assert _run("gate", "./init").exit_code == 0


def test_a_command_that_is_misspelt_is_not_taken_for_a_run() -> None:
    done = _run("gate", "slftest", "run")
    assert done.exit_code == 2
    assert "did you mean 'selftest'" in done.stderr


def test_help_lists_the_commands_and_options() -> None:
    done = _run("gate", "--help")
    assert done.exit_code == 0
    for name in ("run", "init", "calibrate", "lint", "selftest", "promote", "schema"):
        assert name in done.stdout
    assert "--baseline" in _run("gate", "run", "--help").stdout


def test_no_run_directory_is_called_like_the_command_that_judges(
    make_run: MakeRun, write_gate: WriteGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--out run`` is what people type; it is judged where it is named, and nowhere else."""
    run = make_run("run", [score("fid", 3.0, 0.04)], checks(ema="pass"))
    make_run("check", found=checks(ema="pass"))
    gate = write_gate(RULE)
    monkeypatch.chdir(run.parent)
    for words in (("run",), ("run", "check"), ("check", "./run")):
        done = _run("gate", *words, "--config", str(gate), "--baseline", "run")
        assert done.exit_code == 0, done.output
    alone = _run("gate", "--config", str(gate), "--baseline", "run", "--", "check")
    assert alone.exit_code == 5, "a check alone holds no score"
    assert _run("gate", "lint", "--config", str(gate)).exit_code == 0
    assert "judge" not in _run("gate", "--help").output.split("Commands")[1]
