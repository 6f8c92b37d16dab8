"""The GitHub Action: its steps run as GitHub runs them, with the files and variables that GitHub gives."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gate_records import MakeRun, WriteGate, checks, score

import diffeval

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(diffeval.__file__).parents[1]


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return made


def _step(action: dict[str, Any], inputs: dict[str, str], folder: Path) -> tuple[int, str, dict[str, str], str]:
    """Runs the step ``gate``: its exit code, log, outputs and summary."""
    given = {name: str(one.get("default", "")) for name, one in action["inputs"].items()} | inputs
    step = next(one for one in action["runs"]["steps"] if one.get("id") == "gate")
    # GitHub puts the value of an expression in its place; in env, so that the shell never parses it.
    own = {
        name: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: given[found[1]], value)
        for name, value in step["env"].items()
    }
    script, summary, output = folder / "step.sh", folder / "summary.md", folder / "output.txt"
    script.write_text(step["run"])
    output.touch()
    environment = {
        **os.environ,
        **own,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_ACTIONS": "true",
        "CI": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_OUTPUT": str(output),
    }
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    told = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, done.stdout + done.stderr, told, summary.read_text() if summary.exists() else ""


RULE = '[[rule]]\nscore = "fid"\nmax_regression = { abs = 0.3 }\n[[rule]]\ncheck = "ema"\n'


@pytest.mark.parametrize(("value", "verdict", "code"), [(3.1, "pass", 0), (3.5, "fail", 3), (3.25, "inconclusive", 4)])
def test_the_step_ends_with_the_verdict_and_tells_github(
    action: dict[str, Any],
    make_run: MakeRun,
    write_gate: WriteGate,
    tmp_path: Path,
    value: float,
    verdict: str,
    code: int,
) -> None:
    make_run("new run", [score("fid", value, 0.04)])
    make_run("checked", found=checks(ema="pass"))
    make_run("old", [score("fid", 3.0, 0.03)], seed=1)
    write_gate('name = "cifar"\n' + RULE)
    inputs = {"run": "new run\nchecked\n", "baseline": "old", "junit": "gate.xml", "markdown": "gate.md"}
    done, log, told, summary = _step(action, inputs, tmp_path)
    assert done == code, log
    assert told == {"verdict": verdict, "exit-code": str(code)}
    assert f"gate cifar: {verdict}" in summary
    assert ("::error title=gate cifar%3A fid.regression::" in log) is (verdict != "pass")
    assert (tmp_path / "gate.md").read_text() == summary
    assert (tmp_path / "gate.xml").exists()
    assert {one["value"] for one in action["outputs"].values()} == {
        "${{ steps.gate.outputs.verdict }}",
        "${{ steps.gate.outputs.exit-code }}",
    }


def test_a_bad_file_fails_the_step_and_says_so(action: dict[str, Any], make_run: MakeRun, tmp_path: Path) -> None:
    make_run("new", [score("fid", 3.0, 0.04)])
    done, log, told, summary = _step(action, {"run": "new", "config": "nowhere.toml", "exit-zero": "true"}, tmp_path)
    assert done == 2
    assert told == {"verdict": "error", "exit-code": "2"}
    assert "::error title=gate::gate: there is no nowhere.toml" in log
    assert "nowhere.toml" in summary


def test_an_empty_list_of_runs_fails_the_step_and_says_so(
    action: dict[str, Any], write_gate: WriteGate, tmp_path: Path
) -> None:
    write_gate('[[rule]]\nscore = "fid"\nmax = 1\n')
    done, log, told, summary = _step(action, {"run": "\n\n"}, tmp_path)
    assert (done, told) == (2, {"verdict": "error", "exit-code": "2"})
    assert "no run is given" in log
    assert "no run is given" in summary


def test_it_may_only_report(action: dict[str, Any], make_run: MakeRun, write_gate: WriteGate, tmp_path: Path) -> None:
    make_run("new", [score("fid", 3.0, 0.04)])
    write_gate('[[rule]]\nscore = "fid"\nmax = 1\n')
    done, _, told, _ = _step(action, {"run": "new", "exit-zero": "true"}, tmp_path)
    assert (done, told) == (0, {"verdict": "fail", "exit-code": "3"})


def test_nothing_in_an_input_is_a_command(
    action: dict[str, Any], make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    make_run("--exit-zero", [score("fid", 3.0, 0.04)])
    write_gate('[[rule]]\nscore = "fid"\nmax = 1\n')
    for hostile in ('"; touch stolen; "', "$(touch stolen)", "`touch stolen`"):
        assert _step(action, {"run": hostile}, tmp_path)[0] == 2
    assert _step(action, {"run": "--exit-zero"}, tmp_path)[0] == 3
    assert not (tmp_path / "stolen").exists()
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]


def test_what_the_action_installs_is_what_the_gate_imports(
    action: dict[str, Any], make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    run = make_run("new", [score("fid", 3.0, 0.04)], terms={"fid.pseudo": [1.0, 2.0, 3.0]})
    config = write_gate('[[rule]]\nscore = "fid"\nmax = 4\n[[rule]]\nscore = "fid"\nmax_regression = { abs = 9 }\n')
    code = (
        "import sys, json\nfrom diffeval.cli.app import make_app\n"
        "try: make_app()(sys.argv[1:])\nexcept SystemExit as stop: assert stop.code == 0, stop.code\n"
        "found = {name.split('.')[0] for name, one in sys.modules.items()\n"
        "         if 'site-packages' in (getattr(one, '__file__', None) or '')}\n"
        "print(json.dumps(sorted(found)), file=sys.stderr)"
    )
    words = ["gate", str(run), "--config", str(config), "--baseline", str(run), "--no-github"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = set(json.loads(done.stderr.splitlines()[-1]))
    named = {"filelock", "numpy", "pydantic", "typer"}
    brought = {
        "annotated_types",
        "pydantic_core",
        "typing_extensions",
        "typing_inspection",
        "annotated_doc",
        "shellingham",
    }
    assert named <= found | {"filelock"}
    assert found - named - brought <= {one for one in found if one.startswith(("_", "rich", "click", "diffeval"))}
    (install,) = [step["run"] for step in action["runs"]["steps"] if step["name"].startswith("Install")]
    assert all(name in install for name in named)
