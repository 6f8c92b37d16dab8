"""Runs read together, and what is refused: other checkpoints, contradictions, unfinished and edited runs."""

import json
from pathlib import Path

import pytest
from gate_records import MakeRun, checks, score

from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.gate.evidence import read_runs
from diffeval.runs.records import Score


def test_scores_come_from_one_run_and_checks_from_another(make_run: MakeRun) -> None:
    scored = make_run("scored", [score("fid", 3.0, 0.1)])
    checked = make_run("checked", found=checks(ema="pass"), task="check", extractor=None)
    found = read_runs([scored, checked])
    assert found.side_with("fid").score("fid").value == 3.0
    assert [one.name for one in found.checks] == ["ema"]
    assert found.titles == ("fid",)


def test_another_checkpoint_is_refused_by_its_hash(make_run: MakeRun) -> None:
    one, other = make_run("one", [score("fid", 3.0, 0.1)]), make_run("other", found=checks(ema="pass"), sha="ef" * 32)
    with pytest.raises(
        DiffevalError, match=r"digits abababab, .*other of digits efefefef; give runs of one checkpoint"
    ):
        read_runs([one, other])


def test_the_gate_does_not_choose_between_seeds(make_run: MakeRun) -> None:
    runs = [make_run(f"s{seed}", [score("fid", 3.0 + seed, 0.1)], seed=seed) for seed in (0, 1)]
    with pytest.raises(DiffevalError, match=r"both hold fid, with seeds 0 and 1; give one of them"):
        read_runs(runs).side_with("fid")


def test_the_gate_does_not_choose_between_settings(make_run: MakeRun) -> None:
    runs = [make_run(f"w{w}", [score("fid", 3.0, 0.1)], w=w) for w in (1.0, 2.0)]
    with pytest.raises(DiffevalError, match=r"both hold fid, with w 1 and 2"):
        read_runs(runs).side_with("fid")


def test_of_one_seed_the_larger_n_is_read(make_run: MakeRun) -> None:
    runs = [make_run(f"n{n}", [score("fid", 3.0, 0.1, n)]) for n in (500, 2000, 1000)]
    assert read_runs(runs).side_with("fid").score("fid").n == 2000


def test_of_several_results_of_a_check_the_worst_counts(make_run: MakeRun) -> None:
    runs = [make_run(one, found=checks(ema=one)) for one in ("pass", "fail", "warn")]
    assert [one.status for one in read_runs(runs).checks] == ["fail"]


def test_a_score_that_is_missing_or_could_not_be_computed_is_no_evidence(make_run: MakeRun) -> None:
    found = read_runs([make_run("one", [score("fid", None, None, error="too few images"), score("kid", 1.0, 0.1)])])
    with pytest.raises(NoEvidenceError, match="no value of fid: too few images"):
        found.side_with("fid")
    with pytest.raises(NoEvidenceError, match=r"has no kidd; did you mean 'kid'"):
        found.side_with("kidd")


def test_no_run_at_all_is_told() -> None:
    with pytest.raises(DiffevalError, match="no run is given"):
        read_runs([])


def test_folders_that_are_no_finished_run_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match=r"gate: there is no .*nowhere"):
        read_runs([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DiffevalError, match=r"gate: .*empty is no run"):
        read_runs([tmp_path / "empty"])
    stopped = make_run("stopped", [score("fid", 3.0, 0.1)], status="stopped")
    with pytest.raises(NoEvidenceError, match="is not finished, it is stopped"):
        read_runs([stopped])
    with pytest.raises(DiffevalError, match="is a sweep"):
        read_runs([make_run("sweep", [score("fid", 3.0, 0.1)], task="sweep-cfg")])


def test_truncated_edited_and_newer_results_are_refused_in_one_line(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    path = run / "results.json"
    whole = path.read_text()
    for text, said in (
        (whole[:-50], "cannot read"),
        (json.dumps({**json.loads(whole), "warnings": ["edited"]}), "its hash does not match"),
        (whole.replace('"value": 3.0', '"value": 2.0'), "its hash does not match"),
        (whole.replace("diffeval.results/1", "diffeval.results/2"), "diffeval.results/2', this version reads"),
        (whole.replace('"ci95": ', '"ci95": null, "was": NaN, "ci": '), "is damaged"),
        (whole.replace('"tables": {}', '"tables": {"t": [NaN]}'), "is damaged"),
        ("[" * 100_000, "cannot read .*recursion"),
        ("[]", "has schema 'list'"),
    ):
        path.write_text(text)
        with pytest.raises(DiffevalError, match=said) as caught:
            read_runs([run])
        assert "\n" not in str(caught.value)
    path.write_text(whole)
    read_runs([run])


def test_equal_runs_of_one_score_are_refused_where_their_values_are_not_equal(make_run: MakeRun) -> None:
    runs = [make_run(f"r{value:g}", [score("fid", value, 0.1)]) for value in (3.0, 2.0)]
    for given in (runs, runs[::-1]):
        with pytest.raises(DiffevalError, match=r"hold fid of the same images, and not the same value"):
            read_runs(given).side_with("fid")


def test_a_score_that_could_not_be_computed_is_not_taken_from_other_seeds(make_run: MakeRun) -> None:
    failed = Score("fid", None, None, None, 1000, None, False, {"error": "too few"})
    runs = [make_run("failed", [failed]), make_run("lucky", [score("fid", 3.0, 0.1)], seed=1)]
    with pytest.raises(DiffevalError, match=r"both hold fid, with seeds 1 and 0"):
        read_runs(runs).side_with("fid")


def test_the_gate_does_not_choose_between_tables_of_classes(make_run: MakeRun) -> None:
    def table(share: float) -> dict[str, object]:
        return {"per_class": ({"class": "a", "n": 100, "class_accuracy": share},)}

    one, seed, other = (
        make_run(name, [score("fid", 3.0, 0.1)], tables=table(share), seed=number)
        for name, share, number in (("one", 0.9, 0), ("seed", 0.5, 1), ("other", 0.5, 0))
    )
    assert read_runs([one]).side_by_class("class_accuracy").name == str(one)
    with pytest.raises(DiffevalError, match=r"both hold class_accuracy by class, with seeds 0 and 1"):
        read_runs([one, seed]).side_by_class("class_accuracy")
    with pytest.raises(DiffevalError, match=r"hold class_accuracy by class of the same images, and not the same"):
        read_runs([one, other]).side_by_class("class_accuracy")
