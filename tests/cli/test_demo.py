"""``diffeval demo`` as a user meets it, at sizes of a test."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diffeval.cli.app import make_app
from diffeval.demo.sizes import Sizes


@pytest.fixture(autouse=True)
def _finished(told, tiny_demo: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore
    shutil.copytree(told[0].page.parent, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diffeval.demo.sizes.SHORT", tiny_demo)


def _run(*words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(make_app(), ["demo", *words], prog_name="diffeval")


def test_it_says_what_it_found_and_where_the_page_is() -> None:
    done = _run()
    assert done.exit_code == 0, done.output
    for said in (
        "1/7  The digits model",
        "fid_debiased",
        "n=256, w=1, ddim, 10 steps, seed 0, extractor digits",
        "fail: timestep-embedding",
        "what to do: the signal of t ends at time_embedding.linear_2",
        "the digits model: gate digits-release: PASS",
        "its twin: gate digits-release: FAIL",
        f"Open {Path('runs') / 'demo.html'} in a browser",
    ):
        assert said in done.stdout, said
    assert done.stdout.splitlines()[-1].startswith("demo: ")
    assert "nothing anew" in done.stdout


def test_what_it_proposes_next_is_what_it_says() -> None:
    proposed = next(line.split() for line in _run().stdout.splitlines() if line.startswith("  diffeval gate"))
    done = CliRunner().invoke(make_app(), proposed[1:], prog_name="diffeval")
    assert done.exit_code == 3, done.output
    assert "timestep-embedding" in done.stdout


def test_json_is_one_document_on_stdout() -> None:
    done = _run("--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["schema"] == "diffeval.demo/1"
    assert [one["status"] for one in told["verdicts"]] == ["pass", "fail"]
    assert [Path(one["run"]).name for one in told["runs"]] == [
        "model", "model-checks", "twin-checks", "sweep", "baseline", "twin",
    ]  # fmt: skip
    assert Path(told["page"]).exists()
    assert "1/7" in done.stderr
