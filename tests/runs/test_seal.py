"""The seal: what was cut, edited or mixed up after a run wrote it is told, in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffeval.errors import DiffevalError
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Protocol, Provenance, Results, Score

PROTOCOL = Protocol("fid", "ddim", {"eta": 0.0}, 10, 1.0, "balanced-blocks/1", "nearest", "fp32")
PROVENANCE = Provenance("digits", "/d", "ab" * 32, 0, 500, 250, "cpu", 1, {}, None, "Linux", ("diffeval",), "now")
SCORE = Score("fid_debiased", 1 / 3, 0.1, (0.1, 0.5), 500, None, False)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.save_arrays("terms", {"fid_debiased.pseudo": np.arange(4.0)})
    made.save_results(Results("run", PROTOCOL, PROVENANCE, (SCORE,), tables={"t": ({"a": 1.0, "b": None},)}))
    return made


def test_what_a_run_wrote_is_whole_and_reads_as_before(run: RunDirectory) -> None:
    run.require_whole()
    results = run.results()
    assert results is not None
    assert results.scores == (SCORE,)


def test_a_moved_run_is_whole(run: RunDirectory) -> None:
    moved = run.path.rename(run.path.with_name("elsewhere"))
    RunDirectory(moved).require_whole()


def test_another_layout_of_the_same_values_is_whole(run: RunDirectory) -> None:
    document = json.loads(run.results_path.read_text())
    run.results_path.write_text(json.dumps(dict(reversed(document.items()))))
    run.require_whole()


def test_an_edited_number_is_told(run: RunDirectory) -> None:
    document = json.loads(run.results_path.read_text())
    document["scores"][0]["value"] = 0.3
    run.results_path.write_text(json.dumps(document))
    with pytest.raises(DiffevalError, match="changed after the run wrote it: its hash does not match"):
        run.require_whole()


def test_a_truncated_file_is_told(run: RunDirectory) -> None:
    run.results_path.write_text(run.results_path.read_text()[:-40])
    with pytest.raises(DiffevalError, match="cannot read"):
        run.require_whole()


def test_what_json_cannot_say_is_an_edit_and_no_crash(run: RunDirectory) -> None:
    whole = run.results_path.read_text()
    for text, said in (
        (whole.replace('"warnings": []', '"warnings": [NaN]'), "its hash does not match"),
        (whole.replace('"warnings": []', '"warnings": [1e999]'), "its hash does not match"),
        ("[" * 100_000, "cannot read"),
    ):
        run.results_path.write_text(text)
        with pytest.raises(DiffevalError, match=said):
            run.require_whole()
    with pytest.raises(DiffevalError, match="cannot read"):
        run.results()
    (run.path / "run.json").write_text("[" * 100_000)
    with pytest.raises(DiffevalError, match="cannot read"):
        run.state()


def test_results_without_a_seal_are_not_believed(run: RunDirectory) -> None:
    document = json.loads(run.results_path.read_text())
    del document["seal"]
    run.results_path.write_text(json.dumps(document))
    with pytest.raises(DiffevalError, match="has no seal"):
        run.require_whole()


def test_terms_of_another_run_are_told(run: RunDirectory) -> None:
    run.save_arrays("terms", {"fid_debiased.pseudo": np.arange(5.0)})
    with pytest.raises(DiffevalError, match="not the file that the results were written with"):
        run.require_whole()
    (run.path / "terms.npz").unlink()
    with pytest.raises(DiffevalError, match=r"terms\.npz is missing; copy the whole folder"):
        run.require_whole()
