"""``diffeval report`` as a user meets it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import diffeval
from diffeval.cli.app import make_app
from diffeval.cli.commands.report import MAX_MB
from diffeval.report import budget
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import Protocol, Provenance, Results, Score

PROTOCOL = Protocol("eval", "ddim", {}, 10, 1.0, "none", "nearest", "fp32", "digits/1", "none", "digits@train", "aa")
FAILS = '[[rule]]\nscore = "fid"\nmax = 1\n'


def _run(*words: str) -> Result:
    return CliRunner().invoke(make_app(), ["report", *words], prog_name="diffeval")


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs, ``new`` and ``old``, and a gate that the new one fails."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("new", 3.0), ("old", 2.0)):
        started = "2026-01-01T00:00:00+00:00"
        origin = Provenance(name, name, name * 10, 0, 100, 10, "cpu", 1, {}, None, "here", ("diffeval",), started)
        scores = (Score("fid", value, 0.1, (value - 0.2, value + 0.2), 100, None, False),)
        run = RunDirectory(Path(name))
        run.path.mkdir()
        run.save_results(Results(".", PROTOCOL, origin, scores))
        run.save_state(RunState("eval", "done", "0.1.0", name * 10, 0, 100, 10, 10, PROTOCOL, started))
    Path("gate.toml").write_text(FAILS)


def test_a_gate_that_fails_is_drawn_and_is_no_error() -> None:
    done = _run("new", "--gate", "gate.toml", "--baseline", "old", "-o", "page.html")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("page.html ")
    assert " MB (plotly " in done.stdout
    page = re.sub(r"<script.*?</script>|<[^>]+>", "", Path("page.html").read_text(), flags=re.DOTALL)
    assert "1 of 1 rules fail: fid.max." in page
    assert "worse, +1" in page


def test_the_same_in_python_writes_the_same_page() -> None:
    _run("new", "--gate", "gate.toml", "-b", "old", "-o", "page.html")
    path = diffeval.report(["new"], "again.html", gate="gate.toml", baseline=["old"])
    assert path.read_text() == Path("page.html").read_text()


def test_json_is_one_document_whose_parts_add_up() -> None:
    done = _run("new", "old", "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["page"]) == ("diffeval.report/1", "report.html")
    assert sum(document["parts"].values()) == document["bytes"] == Path("report.html").stat().st_size
    assert document["notices"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "report: nothing is no folder"),
        (("new", "new"), "report: new is given twice"),
        (("new", "--gate", "no.toml"), "gate: there is no no.toml"),
        (("new", "--baseline", "nothing"), "gate: there is no baseline nothing"),
        (("new", "--max-mb", "0"), "--max-mb"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], said: str) -> None:
    done = _run(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not Path("report.html").exists()
    assert "Traceback" not in done.stderr


def test_help_tells_the_default_that_holds() -> None:
    assert MAX_MB == budget.MAX_MB
