"""From rules to a verdict: Holm's correction against a worked example, and what decides over what."""

from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist

import pytest
from gate_records import MakeRun, WriteGate, checks, score

import diffeval
from diffeval.errors import DiffevalError
from diffeval.gate.judge import baseline_of, gate
from diffeval.gate.reading import read_gate

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _limit(p: float) -> float:
    """The upper limit that a value of 1 with the error 0.1 is beyond with this p-value."""
    return 1 - 0.1 * NormalDist().inv_cdf(1 - p)


def test_holm_over_the_error_rules(make_run: MakeRun, write_gate: WriteGate) -> None:
    # 0.005, 0.01, 0.03 and 0.04 become 0.02, 0.03, 0.06 and 0.06 (Holm 1979): two of the four are proven.
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    run = make_run("one", [score(name, 1.0, 0.1) for name in p])
    text = "".join(f'[[rule]]\nscore = "{name}"\nmax = {_limit(one)}\n' for name, one in p.items())
    verdict = gate(run, config=write_gate(text))
    together = {one.subject: one.p_holm for one in verdict.outcomes}
    assert together == {
        name: pytest.approx(one, rel=1e-3) for name, one in zip(p, (0.03, 0.06, 0.06, 0.02), strict=True)
    }
    assert {one.subject: one.status for one in verdict.outcomes} == {
        "a": "fail",
        "b": "inconclusive",
        "c": "inconclusive",
        "d": "fail",
    }
    assert (verdict.status, verdict.exit_code) == ("fail", 3)


def test_beyond_by_itself_but_not_among_many_is_inconclusive_and_said(
    make_run: MakeRun, write_gate: WriteGate
) -> None:
    run = make_run("one", [score("a", 1.0, 0.1), score("b", 0.0, 0.1)])
    rule = f'[[rule]]\nscore = "a"\nmax = {_limit(0.03)}\n'
    assert gate(run, config=write_gate(rule)).status == "fail"
    verdict = gate(run, config=write_gate(rule + '[[rule]]\nscore = "b"\nmax = 9\n'))
    assert verdict.status == "inconclusive"
    assert "not after the correction for the number of rules" in verdict.outcomes[0].sentence
    # 1.881 standard errors beyond, and 1.960 + 0.842 are wanted: (2.802 / 1.881)^2 = 2.219 times the images.
    assert verdict.outcomes[0].needed == pytest.approx(2219, abs=5)


def test_an_outcome_holds_both_bounds_and_of_a_window_both_ends(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)])
    (narrow,) = gate(run, config=write_gate('[[rule]]\nscore = "a"\nwindow = [0.9, 2.0]\n')).outcomes
    # Towards 0.9, the nearer end: 1 - 0.1 z95; away from it: 1 + 0.1 z95, with z95 = 1.6449.
    assert (narrow.bound, narrow.other_bound) == (pytest.approx(0.83551, abs=1e-5), pytest.approx(1.16449, abs=1e-5))
    assert (narrow.limit, narrow.other_limit) == (0.9, 2.0)
    (upper,) = gate(run, config=write_gate('[[rule]]\nscore = "a"\nmax = 2\n')).outcomes
    assert (upper.bound, upper.other_bound) == (pytest.approx(1.16449, abs=1e-5), pytest.approx(0.83551, abs=1e-5))
    assert (upper.limit, upper.other_limit) == (2.0, None)


def test_warnings_neither_decide_nor_count(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1), score("b", 0.0, 0.1)])
    bad = f'[[rule]]\nscore = "a"\nlevel = "warn"\nmax = {_limit(0.03)}\n'
    verdict = gate(run, config=write_gate(bad * 3 + '[[rule]]\nscore = "b"\nmax = 9\n'))
    assert verdict.status == "pass"
    assert "3 of 3 warnings stand" in verdict.sentence
    assert verdict.count("fail", "warn") == 3
    assert [one.p_holm for one in verdict.outcomes if one.level == "warn"] == [None] * 3


def test_healthy_checks_do_not_make_a_regression_harder_to_prove(make_run: MakeRun, write_gate: WriteGate) -> None:
    names = [f"check_{index}" for index in range(12)]
    run = make_run("one", [score("a", 1.0, 0.1)], checks(**dict.fromkeys(names, "pass")))
    rules = "".join(f'[[rule]]\ncheck = "{name.replace("_", "-")}"\n' for name in names)
    verdict = gate(run, config=write_gate(rules + f'[[rule]]\nscore = "a"\nmax = {_limit(0.03)}\n'))
    assert verdict.status == "fail"
    assert verdict.outcomes[0].p_holm == pytest.approx(0.03, rel=1e-3)


FAILS = '[[rule]]\ncheck = "ema"\n'
MISSING = '[[rule]]\nscore = "nothing"\nmax = 1\n'
OPEN = '[[rule]]\nscore = "a"\nmax = 1\n'
PASSES = '[[rule]]\nscore = "a"\nmax = 9\n'


@pytest.mark.parametrize(
    ("rules", "status", "code"),
    [
        (PASSES, "pass", 0),
        (PASSES + OPEN, "inconclusive", 4),
        (PASSES + OPEN + MISSING, "no-evidence", 5),
        (PASSES + OPEN + MISSING + FAILS, "fail", 3),
        (PASSES + FAILS, "fail", 3),
    ],
)
def test_a_failure_goes_before_missing_evidence_and_that_before_more_images(
    make_run: MakeRun, write_gate: WriteGate, rules: str, status: str, code: int
) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)], checks(ema="fail"))
    verdict = gate(run, config=write_gate(rules))
    assert (verdict.status, verdict.exit_code, verdict.passed) == (status, code, code == 0)


def test_a_rule_without_evidence_counts_in_the_correction(make_run: MakeRun, write_gate: WriteGate) -> None:
    """So that a failure that is proven stays one when the evidence is brought."""
    run = make_run("one", [score("a", 1.0, 0.1)])
    rule = f'[[rule]]\nscore = "a"\nmax = {_limit(0.03)}\n'
    assert gate(run, config=write_gate(rule + MISSING)).status == "no-evidence"
    assert gate(run, config=write_gate(rule)).status == "fail"


def test_without_a_baseline_a_regression_is_no_evidence(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)])
    config = write_gate('[[rule]]\nscore = "a"\nmax_regression = { abs = 1 }\n')
    verdict = gate(run, config=config)
    assert verdict.status == "no-evidence"
    assert "there is no baseline" in verdict.outcomes[0].sentence
    assert gate(run, config=config, baseline=run).status == "pass"


def test_the_inconclusive_verdict_names_the_n_of_its_slowest_rule(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1), score("b", 1.0, 0.1)])
    verdict = gate(run, config=write_gate('[[rule]]\nscore = "a"\nmax = 1.1\n[[rule]]\nscore = "b"\nmax = 1.05\n'))
    needed = [one.needed for one in verdict.outcomes]
    # Half the room takes four times the images; (1.645 + 0.842)^2 = 6.183.
    assert needed == [pytest.approx(6183, abs=3), pytest.approx(24730, abs=10)]
    assert "2 of 2 rules cannot be told: a.max, b.max; about n = 25,000 would settle it" in verdict.sentence


def test_a_baseline_that_is_too_old_is_none(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)])
    old = make_run("old", [score("a", 1.0, 0.1)], seed=1, started="2026-08-01T00:00:00+00:00")
    config = write_gate('[baseline]\nmax_age_days = 30\n[[rule]]\nscore = "a"\nmax_regression = { abs = 1 }\n')
    verdict = gate(run, config=config, baseline=old, now=NOW)
    assert verdict.status == "no-evidence"
    assert "is 113 days old, max_age_days allows 30; promote a newer run" in verdict.outcomes[0].sentence
    fresh = make_run("fresh", [score("a", 1.0, 0.1)], seed=1, started="2026-11-01T00:00:00+00:00")
    assert gate(run, config=config, baseline=fresh, now=NOW).status == "pass"


def test_the_gate_file_names_a_baseline_beside_itself(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)])
    make_run("old", [score("a", 1.0, 0.1)], seed=1)
    config = write_gate('[baseline]\nsource = "run:old"\n[[rule]]\nscore = "a"\nmax_regression = { abs = 1 }\n')
    verdict = gate(run, config=config)
    assert verdict.status == "pass"
    assert verdict.baseline is not None
    assert verdict.baseline.origin.endswith("old")


def test_notes_tell_what_a_reader_should_know(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)], warnings=["3 of 1000 images are of a single colour"])
    checked = make_run("checked", found=checks(ema="pass"), steps=50)
    verdict = gate([run, checked], config=write_gate(PASSES), baseline=run)
    notes = "\n".join(verdict.notes)
    assert "3 of 1000 images are of a single colour" in notes
    assert "held against itself" in notes
    assert "with other settings: steps 10 and 50" in notes


def test_a_failing_check_that_no_rule_names_is_said(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)])
    checked = make_run("checked", found=checks(ema="fail", untrained="pass", memorization="fail"))
    rule = '[[rule]]\nid = "weights"\ncheck = "ema"\nlevel = "warn"\n'
    verdict = gate([run, checked], config=write_gate(PASSES + rule), baseline=run)
    assert verdict.status == "pass"
    said = [note for note in verdict.notes if note.startswith("no rule looks at")]
    assert said == ["no rule looks at memorization, a health check that fails"]


def test_a_name_that_is_nearly_one_of_the_run_is_a_mistake_in_the_file(
    make_run: MakeRun, write_gate: WriteGate
) -> None:
    run = make_run("one", [score("fid_debiased", 1.0, 0.1)], checks(noise_schedule="pass"))
    with pytest.raises(DiffevalError, match=r"there is no score 'fid_debaised'; did you mean 'fid_debiased'"):
        gate(run, config=write_gate('[[rule]]\nscore = "fid_debaised"\nmax = 9\n'))
    with pytest.raises(DiffevalError, match=r"there is no check 'noise_schedule'; did you mean 'noise-schedule'"):
        gate(run, config=write_gate('[[rule]]\ncheck = "noise_schedule"\n'))


def test_a_name_that_diffeval_has_is_missing_evidence_however_near_another_is(
    make_run: MakeRun, write_gate: WriteGate
) -> None:
    run = make_run("one", [score("precision", 0.9, 0.01)])
    config = write_gate('[[rule]]\nscore = "r_precision"\nmin = 0.5\n[[rule]]\nscore = "precision"\nmin = 0.99\n')
    verdict = gate(run, config=config)
    assert {one.subject: one.status for one in verdict.outcomes} == {"precision": "fail", "r_precision": "no-evidence"}
    assert verdict.status == "fail"


def test_a_warning_about_a_misspelt_name_hides_no_failure(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("fid_debiased", 1.0, 0.1)])
    config = write_gate(
        '[[rule]]\nscore = "fid_debaised"\nmax = 9\nlevel = "warn"\n[[rule]]\nscore = "fid_debiased"\nmax = 0.1\n'
    )
    verdict = gate(run, config=config)
    assert verdict.status == "fail"
    (warned,) = [one for one in verdict.outcomes if one.level == "warn"]
    assert "did you mean 'fid_debiased'" in warned.sentence


@pytest.mark.parametrize("dust", [0.0, 4e-16, -4e-16])
def test_no_difference_is_neither_better_nor_worse(make_run: MakeRun, write_gate: WriteGate, dust: float) -> None:
    run, old = make_run("one", [score("a", 1.0 + dust, 0.1)]), make_run("old", [score("a", 1.0, 0.1)], seed=1)
    config = write_gate('[[rule]]\nscore = "a"\nmax_regression = { abs = 1 }\n')
    (outcome,) = gate(run, config=config, baseline=old).outcomes
    assert "no difference is seen, at most worse by 0.2326 (95%), 1 is allowed" in outcome.sentence


def test_in_python_it_is_one_call(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("a", 1.0, 0.1)])
    verdict = diffeval.gate(str(run), config=str(write_gate(PASSES)))
    assert verdict.passed
    document = verdict.document()
    assert document["schema"] == "diffeval.gate/1"
    assert document["config_sha256"] == read_gate(Path(verdict.config)).sha256


def test_a_baseline_from_the_future_has_no_age_that_could_be_allowed(make_run: MakeRun, write_gate: WriteGate) -> None:
    new = make_run("new", [score("a", 1.0, 0.01)], seed=1)
    old = make_run("old", [score("a", 1.0, 0.01)], started="2027-08-01T00:00:00+00:00")
    config = write_gate('[baseline]\nmax_age_days = 30\n[[rule]]\nscore = "a"\nmax_regression = { abs = 1 }\n')
    verdict = gate(new, config=config, baseline=old, now=NOW)
    assert verdict.status == "no-evidence"
    assert "is from the future (a clock is wrong)" in verdict.outcomes[0].sentence


def test_a_named_baseline_that_is_not_there_is_only_absent_where_it_is_about_to_be_written(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    make_run("new", [score("a", 1.0, 0.01)])
    found = read_gate(
        write_gate('[baseline]\nsource = "main.json"\n[[rule]]\nscore = "a"\nmax_regression = { abs = 1 }\n')
    )
    assert baseline_of(found, [], first=tmp_path / "main.json") is None
    for first in (None, tmp_path / "other.json"):
        with pytest.raises(DiffevalError, match=r"there is no baseline .*main\.json"):
            baseline_of(found, [], first=first)
