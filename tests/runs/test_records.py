import dataclasses
import json
from pathlib import Path

import pytest

from diffeval.errors import DiffevalError
from diffeval.runs.directory import RunDirectory
from diffeval.runs.document import read_results, results_document, to_json
from diffeval.runs.protocol import differing_keys, fingerprint
from diffeval.runs.records import CheckResult, Null, Protocol, Provenance, Results, Score
from diffeval.runs.seal import sealed

PROTOCOL = Protocol(
    "fid", "ddim", {"eta": 0.0}, 20, 1.0, "balanced", "nearest", "fp32", "digits/x", "none", "digits@train", "ab"
)
PROVENANCE = Provenance(
    "digits", ".", "ab", 0, 100, 50, "cpu", 2, {"torch": "2"}, None, "Linux", ("diffeval", "fid"), "now", {"a": 1.5}
)
SCORE = Score("fid", 1.25, 0.5, (0.25, 2.25), 100, Null(0.5, None, 50), False, {"biased": True})


def _results(*scores: Score) -> Results:
    return Results(
        "run", PROTOCOL, PROVENANCE, scores, (CheckResult("x", "pass", "fine", {"a": 1.0}),), warnings=("careful",)
    )


def test_document_round_trip(tmp_path: Path) -> None:
    failed = Score("kid", None, None, None, 5, None, False, {"error": "too few"})
    path = tmp_path / "results.json"
    path.write_text(to_json(results_document(_results(SCORE, failed))))
    assert read_results(path) == _results(SCORE, failed)


def test_document_has_the_promised_keys() -> None:
    document = json.loads(to_json(results_document(_results(SCORE))))
    assert document["schema"] == "diffeval.results/1"
    assert {"run", "protocol", "scores", "checks", "tables", "choices", "verdict", "warnings"} <= set(document)
    assert set(document["scores"][0]) == {
        "name",
        "value",
        "std_error",
        "ci95",
        "n",
        "null",
        "higher_is_better",
        "params",
    }


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_never_travels(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        dataclasses.replace(SCORE, value=bad)
    with pytest.raises(ValueError, match="not finite"):
        dataclasses.replace(SCORE, ci95=(0.0, bad))


def test_a_missing_value_needs_its_reason() -> None:
    with pytest.raises(ValueError, match="error"):
        dataclasses.replace(SCORE, value=None)


def test_foreign_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"schema": "diffeval.results/99"}')
    with pytest.raises(DiffevalError, match=r"diffeval\.results/99.*update"):
        read_results(path)


def test_fingerprint_follows_every_field() -> None:
    protocol = dataclasses.replace(PROTOCOL, reference="digits@train", reference_hash=None)
    assert fingerprint(protocol) == fingerprint(dataclasses.replace(protocol))
    changed = [
        dataclasses.replace(protocol, **{field.name: "other"})  # type: ignore[arg-type]
        for field in dataclasses.fields(protocol)
    ]
    assert len({fingerprint(one) for one in (protocol, *changed)}) == len(changed) + 1


def test_the_same_images_elsewhere_are_the_same_reference() -> None:
    here = dataclasses.replace(PROTOCOL, reference="folder:here@all", reference_hash="ab12")
    there = dataclasses.replace(here, reference="folder:/there@all")
    assert fingerprint(here) == fingerprint(there)
    assert differing_keys(here, there) == {}
    others = dataclasses.replace(there, reference_hash="cd34")
    assert fingerprint(others) != fingerprint(here)
    assert set(differing_keys(here, others)) == {"reference", "reference_hash"}


def test_differing_keys_name_both_values() -> None:
    assert differing_keys(PROTOCOL, dataclasses.replace(PROTOCOL, steps=50)) == {"steps": (20, 50)}


def test_documents_of_before_name_no_ranks_and_are_whole(tmp_path: Path) -> None:
    document = results_document(_results(SCORE))
    del document["provenance"]["ranks"]
    run = RunDirectory(tmp_path)
    run.results_path.write_text(to_json(sealed(document, tmp_path / "terms.npz")))
    run.require_whole()
    assert read_results(run.results_path).provenance.ranks == 1


def test_the_number_of_ranks_is_kept_and_is_no_part_of_the_protocol(tmp_path: Path) -> None:
    results = _results(SCORE)
    many = dataclasses.replace(results, provenance=dataclasses.replace(PROVENANCE, ranks=3))
    run = RunDirectory(tmp_path)
    run.save_results(many)
    run.require_whole()
    assert read_results(run.results_path).provenance.ranks == 3
    assert fingerprint(many.protocol) == fingerprint(results.protocol)


def test_score_lookup() -> None:
    results = _results(SCORE, dataclasses.replace(SCORE, n=200, value=1.0))
    assert results.score("fid").n == 200
    assert results.score("fid", 100).value == 1.25
    with pytest.raises(KeyError):
        results.score("kid")
