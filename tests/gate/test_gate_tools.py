"""``gate init``, ``calibrate``, ``lint``, ``selftest`` and ``schema``."""

import json
import tomllib
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import NormalDist

import pytest
from gate_records import HIGHER, MakeRun, WriteGate, checks, score
from typer.testing import CliRunner, Result

from diffeval.checks.check import CHECKS as REGISTERED
from diffeval.cli.app import make_app
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.gate.calibrate import calibrate, disagrees, propose, rates, rounded_up
from diffeval.gate.calibration import Noise, read_calibration, write_calibration
from diffeval.gate.evidence import read_runs
from diffeval.gate.judge import gate
from diffeval.gate.lint import RANGES, lint
from diffeval.gate.reading import read_gate
from diffeval.gate.selftest import selftest
from diffeval.gate.starter import starter_text
from diffeval.gate.vocabulary import CHECKS, SCORES
from diffeval.metrics.metric import METRICS

NORMAL = NormalDist()
CLASSES = [
    {"class": str(index), "n": 100, "real": 90, "class_accuracy": 0.98, "kid": 0.001, "std_error": 0.0002, "p": 1.0}
    for index in range(3)
]


def _run(*words: str) -> Result:
    return CliRunner().invoke(make_app(), list(words), env={"GITHUB_ACTIONS": ""})


def _rich(make_run: MakeRun, name: str = "rich", **more: object) -> Path:
    scores = [
        score("fid_debiased", 3.0, 0.1),
        score("fid", 3.5, 0.1),
        score("kid", 0.001, 0.0001),
        score("recall", 0.8, 0.02),
        score("vendi", 5.0, None),
        score("clip_score", None, None, error="no prompts"),
    ]
    found = checks(noise_schedule="pass", ema="not-applicable", memorization="warn", untrained="fail")
    return make_run(name, scores, found, tables={"per_class": CLASSES}, **more)


def test_the_starter_file_has_rules_for_what_the_run_holds_and_the_run_passes_it(
    make_run: MakeRun, write_gate: WriteGate
) -> None:
    run = _rich(make_run)
    text = starter_text(read_runs([run]))
    path = write_gate(text)
    subjects = [rule.subject for _, rule in read_gate(path).rules]
    assert subjects == ["fid_debiased", "kid", "recall", "class_accuracy", "noise-schedule", "memorization"]
    assert "ema (not-applicable), untrained (fail)" in text
    verdict = gate(run, config=path, baseline=run)
    assert verdict.status == "pass", verdict
    flaws = lint(read_gate(path), read_runs([run]))
    assert ["names no baseline" in one.text for one in flaws] == [True]


def test_the_starter_file_of_hostile_names_is_still_one(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("a\nb", [score('f"]\nx = [', 1.0, 0.1)])
    path = write_gate(starter_text(read_runs([run])))
    assert [rule.subject for _, rule in read_gate(path).rules] == ['f"]\nx = [']


def test_init_prints_or_writes_and_replaces_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    run, path = str(_rich(make_run)), tmp_path / "made.toml"
    printed = _run("gate", "init", run)
    assert printed.exit_code == 0
    assert printed.stdout == starter_text(read_runs([Path(run)]))
    assert _run("gate", "init", run, "-o", str(path)).exit_code == 0
    assert path.read_text() == printed.stdout
    again = _run("gate", "init", run, "-o", str(path))
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert _run("gate", "init", run, "-o", str(path), "--force").exit_code == 0
    assert _run("gate", run, "--config", str(path), "--baseline", run).exit_code == 0


def test_a_run_without_anything_to_judge_gives_no_starter(make_run: MakeRun) -> None:
    with pytest.raises(NoEvidenceError, match="no score with an error and no check that passed"):
        starter_text(read_runs([make_run("bare", [score("vendi", 1.0, None)])]))


def test_a_proposed_margin_does_what_it_says() -> None:
    # Two runs of the error 0.1 differ with 0.1 sqrt 2; 1.645 + 2.054 of these are 0.523, upwards 0.53.
    proposal = propose(Noise("fid", 3.0, None, 0.1, 1000, 1))
    assert proposal.margin == 0.53
    room = 0.53 / (0.1 * sqrt(2))
    assert proposal.passes == pytest.approx(NORMAL.cdf(room - 1.6449), abs=1e-4)
    assert proposal.fails == pytest.approx(NORMAL.cdf(-room - 1.6449), abs=1e-6)
    assert proposal.caught == pytest.approx(0.53 + (1.6449 + 0.8416) * 0.1 * sqrt(2), abs=1e-4)
    assert rates("fid", 0.0, 1.0).passes == pytest.approx(0.05, abs=1e-9)
    # Of four rules each must be passed 99.5% of the time, that all are 98%: 1.645 + 2.576 are 0.597, upwards 0.60.
    assert propose(Noise("fid", 3.0, None, 0.1, 1000, 1), rules=4).margin == 0.6


def test_the_starters_margins_let_a_model_that_is_no_worse_pass_all_of_them(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid_debiased", 3.0, 0.1), score("recall", 0.8, 0.01), score("kid", 0.5, 0.1)])
    rules = tomllib.loads(starter_text(read_runs([run])))["rule"]
    # Two decide, the third is only warned of; each is passed 99% of the time: 1.645 + 2.326 are 3.971.
    assert {one["score"]: one["max_regression"]["abs"] for one in rules} == {
        "fid_debiased": 0.57,
        "recall": 0.057,
        "kid": 0.57,
    }
    assert [one["score"] for one in rules if one.get("level") == "warn"] == ["kid"]


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.523, 0.53), (0.5, 0.5), (0.0001201, 0.00013), (1234.0, 1300.0), (0.0, 0.0), (9.91, 10.0)]
)
def test_rounding_goes_upwards(value: float, wanted: float) -> None:
    assert rounded_up(value) == pytest.approx(wanted, rel=1e-12)


def test_noise_over_seeds_is_their_standard_deviation(make_run: MakeRun, tmp_path: Path) -> None:
    values = (2.0, 4.0, 3.0, 3.0, 3.0)  # their variance is 2 / 4
    runs = [make_run(f"s{seed}", [score("fid", value, 0.3)], seed=seed) for seed, value in enumerate(values)]
    found = calibrate(runs)
    noise = found.noises["fid"]
    assert (noise.value, noise.over_seeds, noise.n, noise.runs) == (3.0, pytest.approx(sqrt(0.5)), 1000, 5)
    assert noise.stored == pytest.approx(0.3)
    assert found.sd("fid") == pytest.approx(sqrt(0.5))
    assert disagrees(noise)  # 2.4 times as much, where five seeds are known to 35%
    write_calibration(found, tmp_path / "noise.json")
    assert read_calibration(tmp_path / "noise.json") == found


def test_few_seeds_that_agree_by_chance_do_not_make_a_small_margin(make_run: MakeRun) -> None:
    runs = [make_run(f"s{seed}", [score("fid", 3.0, 0.3)], seed=seed) for seed in range(3)]
    assert calibrate(runs).sd("fid") == pytest.approx(0.3)
    single = calibrate(runs[:1])
    assert (single.how, single.noises["fid"].over_seeds) == ("terms", None)


def test_stored_noise_is_what_bounds_are_made_of(make_run: MakeRun) -> None:
    """An interval that is wider than plus and minus 1.96 errors counts; all images right are no certainty."""
    wide = replace(score("kid", 0.5, 0.1), ci95=(0.5 - 1.959964 * 0.1, 0.5 + 1.959964 * 0.15))
    right = replace(score("class_accuracy", 1.0, 0.0), ci95=(0.99, 1.0))
    run = make_run("one", [wide, right])
    found = calibrate([run]).noises
    assert found["kid"].stored == pytest.approx(0.15)
    assert found["class_accuracy"].sd == pytest.approx(0.01 / 1.959964)
    # What lint holds margins against is the same, so that it has nothing to say of what calibrate proposes.
    rules = "".join(
        f'[[rule]]\nscore = "{name}"\nmax_regression = {{ abs = {propose(noise).margin} }}\n'
        for name, noise in found.items()
    )
    path = run.parent / "proposed.toml"
    path.write_text(rules)
    assert [one.level for one in lint(read_gate(path), read_runs([run]))] == ["warn"]


def test_calibration_refuses_runs_that_differ_in_more_than_seeds(make_run: MakeRun) -> None:
    first = make_run("first", [score("fid", 3.0, 0.3)])
    for name, more, said in (
        ("w", {"w": 7.0, "seed": 1}, "differ in w 1 and 7"),
        ("sha", {"sha": "ef" * 32, "seed": 1}, "differ in the checkpoint"),
        ("again", {}, "two runs have the seed 0"),
    ):
        with pytest.raises(DiffevalError, match=said):
            calibrate([first, make_run(name, [score("fid", 3.0, 0.3)], **more)])
    with pytest.raises(DiffevalError, match="differ in n, 1000 and 500"):
        calibrate([first, make_run("n", [score("fid", 3.0, 0.3, 500)], seed=1)])
    with pytest.raises(NoEvidenceError, match="share no score that has an error"):
        calibrate([make_run("bare", [score("vendi", 3.0, None)])])


def test_calibrate_prints_margins_and_a_file_that_sigmas_are_read_from(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    runs = [make_run(f"s{seed}", [score("fid", 3 + seed / 10, 0.1)], seed=seed) for seed in range(3)]
    done = _run("gate", "calibrate", *map(str, runs), "-o", str(tmp_path / "noise.json"))
    assert done.exit_code == 0, done.output
    assert "from 3 seeds, whose spread is itself known to ±50%" in done.stdout
    rows = json.loads(_run("gate", "calibrate", *map(str, runs), "--json").stdout)["scores"]
    assert rows[0]["sd_over_seeds"] == pytest.approx(0.1)
    config = write_gate('calibration = "noise.json"\n[[rule]]\nscore = "fid"\nmax_regression = { sigmas = 5 }\n')
    verdict = gate(runs[0], config=config, baseline=runs[1])
    assert verdict.outcomes[0].limit == pytest.approx(0.5)
    whole = (tmp_path / "noise.json").read_text()
    for text, said in (
        (whole.replace("0.1", "0.2"), "its hash does not match"),
        (whole.replace('"stored": ', '"stored": NaN, "was": '), "its hash does not match"),
        ("[" * 100_000, "is no whole calibration"),
    ):
        (tmp_path / "noise.json").write_text(text)
        with pytest.raises(DiffevalError, match=said):
            gate(runs[0], config=config, baseline=runs[1])


@pytest.mark.parametrize(
    ("rule", "level", "said"),
    [
        ('score = "recall"\nmax = -0.1', "error", "never below 0: at most -0.1 cannot hold"),
        ('score = "precision"\nmin = 1.2', "error", "never above 1: at least 1.2 cannot hold"),
        ('score = "recall"\nmax = 1.0', "warn", "always holds"),
        ('score = "recall"\nmin = 0.0', "warn", "always holds"),
        ('score = "recall"\nmax_regression = { abs = 1.5 }', "warn", "cannot get worse by 1.5"),
        ('score = "fid"\nmax_regression = { abs = 0 }', "error", "a margin of 0 cannot be proven"),
        ('score = "fid_debaised"\nmax = 3', "error", "there is no score 'fid_debaised'; did you mean 'fid_debiased'"),
        ('check = "noise_schedule"', "error", "there is no check 'noise_schedule'; did you mean 'noise-schedule'"),
        ('score = "recall"\nmin = 0.5\nreduce = "min"', "error", "there is no recall by class"),
    ],
)
def test_lint_tells_what_cannot_hold(write_gate: WriteGate, rule: str, level: str, said: str) -> None:
    flaws = [one for one in lint(read_gate(write_gate(f"[[rule]]\n{rule}\n"))) if "names no baseline" not in one.text]
    assert [one.level for one in flaws][:1] == [level]
    assert said in flaws[0].text


def test_lint_tells_margins_inside_the_noise_and_what_would_do(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = read_runs([make_run("one", [score("fid", 3.0, 0.1)])])
    small = read_gate(write_gate('[[rule]]\nscore = "fid"\nmax_regression = { abs = 0.2 }\n'))
    (flaw, _) = lint(small, run)
    # 0.2 is 1.414 standard errors of the difference: Phi(1.414 - 1.645) = 41%; 0.53 would do, or (0.53 / 0.2)^2 n.
    assert "with other seeds, a model that is no worse passes 41% of the time" in flaw.text
    assert "takes a margin of 0.53, or about n = 7,100" in flaw.text
    enough = read_gate(write_gate('[[rule]]\nscore = "fid"\nmax_regression = { abs = 0.53 }\n'))
    assert [one.level for one in lint(enough, run)] == ["warn"]
    narrow = read_gate(write_gate('[[rule]]\nscore = "fid"\nwindow = [2.9, 3.1]\n'))
    (flaw,) = lint(narrow, run)
    assert "it cannot pass" in flaw.text


def test_lint_does_not_send_for_images_that_the_reference_does_not_allow(
    make_run: MakeRun, write_gate: WriteGate
) -> None:
    run = read_runs([make_run("one", [score("recall", 0.8, 0.02, n_k=648)])])
    for rule in ("max_regression = { abs = 0.04 }", "window = [0.79, 0.81]"):
        flaw = lint(read_gate(write_gate(f'[[rule]]\nscore = "recall"\n{rule}\n')), run)[0]
        assert flaw.level == "error"
        assert "more images do not help" in flaw.text
        assert "n = " not in flaw.text


def test_lint_tells_sigmas_of_another_number_of_images(
    make_run: MakeRun, write_gate: WriteGate, tmp_path: Path
) -> None:
    few, many = (make_run(f"n{n}", [score("fid", 3.0, 0.1, n)]) for n in (300, 1000))
    write_calibration(calibrate([few]), tmp_path / "noise.json")
    gate_file = read_gate(
        write_gate('calibration = "noise.json"\n[[rule]]\nscore = "fid"\nmax_regression = { sigmas = 9 }\n')
    )
    flaws = [one for one in lint(gate_file, read_runs([many])) if one.level == "error"]
    assert ["the calibration is of n=300, the run of n=1000" in one.text for one in flaws] == [True]
    assert not [one for one in lint(gate_file, read_runs([few])) if one.level == "error"]


def test_the_ranges_that_lint_knows_are_of_scores_that_exist() -> None:
    known = {name: METRICS[metric].direction(name) for metric in METRICS for name in METRICS[metric].scores}
    assert set(RANGES) <= set(known)
    assert all(known[name] for name in HIGHER)


def test_the_names_that_the_gate_knows_are_those_that_diffeval_has() -> None:
    assert {score for metric in METRICS for score in METRICS[metric].scores} == SCORES
    assert set(CHECKS) == set(REGISTERED)


def test_lint_leaves_with_2_where_a_rule_is_worthless(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = str(make_run("one", [score("fid", 3.0, 0.1)]))
    config = str(write_gate('[[rule]]\nscore = "fid"\nmax = 9\n'))
    good = _run("gate", "lint", run, "--config", config)
    assert (good.exit_code, good.stdout) == (0, f"{config}: 1 rules, 0 errors, 0 warnings\n")
    write_gate('[[rule]]\nscore = "fid"\nmax = -1\n')
    bad = _run("gate", "lint", run, "--config", config)
    assert bad.exit_code == 2
    assert "error  fid.max: fid is never below 0" in bad.stdout


def test_the_selftest_of_a_sound_gate_finds_what_is_planted(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = read_runs([make_run("one", [score("fid", 3.0, 0.1), score("recall", 0.8, 0.01)], checks(ema="pass"))])
    rules = (
        '[[rule]]\nscore = "fid"\nmax_regression = { abs = 0.53 }\n[[rule]]\nscore = "recall"\nmin = 0.7\n'
        '[[rule]]\nscore = "recall"\nmax_regression = { rel = 0.1 }\n[[rule]]\ncheck = "ema"\n'
        '[[rule]]\nscore = "fid"\nmax = 4\nlevel = "warn"\n[baseline]\nmax_age_days = 1\n'
    )
    trials = selftest(read_gate(write_gate(rules)), run)
    assert all(one.works for one in trials), [one for one in trials if not one.works]
    planted = [(one.what.split(":")[0], one.wanted) for one in trials]
    assert planted.count(("fid", "fail")) == 1
    assert planted.count(("recall", "fail")) == 2
    assert ("ema fails", "fail") in planted


def test_the_selftest_tells_a_margin_inside_the_noise(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    config = write_gate('[[rule]]\nscore = "fid"\nmax_regression = { abs = 0.2 }\n')
    wrong = [one for one in selftest(read_gate(config), read_runs([run])) if not one.works]
    assert [(one.wanted, one.found) for one in wrong] == [("pass", "inconclusive"), ("fail", "inconclusive")]
    done = _run("gate", "selftest", str(run), "--config", str(config))
    assert done.exit_code == 3
    assert "WRONG" in done.stdout
    assert json.loads(_run("gate", "selftest", str(run), "--config", str(config), "--json").stdout)["works"] is False


def test_the_selftest_plants_into_classes(make_run: MakeRun, write_gate: WriteGate) -> None:
    rules = (
        '[[rule]]\nscore = "class_accuracy"\nreduce = "min"\nmin = 0.8\n'
        '[[rule]]\nscore = "kid"\nreduce = "max"\nmax_regression = { abs = 0.0015 }\n'
    )
    run = read_runs([make_run("one", [score("fid", 3.0, 0.1)], tables={"per_class": CLASSES})])
    trials = selftest(read_gate(write_gate(rules)), run)
    assert [(one.what, one.wanted, one.found) for one in trials] == [
        ("the run against itself", "pass", "pass"),
        ("class_accuracy of class 0: far beyond its limit", "fail", "fail"),
        ("class_accuracy of class 0: the class is missing", "no-evidence", "no-evidence"),
        ("kid of class 0: no worse, unlucky as one in five", "pass", "pass"),
        ("kid of class 0: worse by twice its margin, lucky as one in five", "fail", "fail"),
        ("kid of class 0: the class is missing", "no-evidence", "no-evidence"),
    ]
    small = '[[rule]]\nscore = "kid"\nreduce = "max"\nmax_regression = { abs = 0.0005 }\n'
    assert [one.works for one in selftest(read_gate(write_gate(small)), run)] == [True, False, False, True]


def test_lint_tells_limits_inside_the_noise_of_classes(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = read_runs([make_run("one", [score("fid", 3.0, 0.1)], tables={"per_class": CLASSES})])
    rule = '[[rule]]\nscore = "kid"\nreduce = "max"\nmax_regression = { abs = %s }\n'
    (flaw, _) = lint(read_gate(write_gate(rule % 0.0006)), run)
    # Two classes differ with 0.0002 sqrt 2; Phi(0.0006 / 0.000283 - 1.645) = 68.3%, of three classes 31.8%.
    each = NORMAL.cdf(0.0006 / (0.0002 * sqrt(2)) - NORMAL.inv_cdf(0.95))
    assert flaw.level == "error"
    assert f"passes {each**3:.0%} of the time" in flaw.text
    # 99.33% of each: 1.645 + 2.475 of these are 0.00117.
    assert "98% takes a margin of 0.0012 (class 0)" in flaw.text
    assert ["names no baseline" in one.text for one in lint(read_gate(write_gate(rule % 0.0012)), run)] == [True]
    near = read_gate(write_gate('[[rule]]\nscore = "class_accuracy"\nreduce = "min"\nmin = 0.95\n'))
    (flaw,) = lint(near, run)
    assert flaw.level == "warn"
    assert "all of 3 classes must hold" in flaw.text
    bare = [{key: value for key, value in row.items() if key != "std_error"} for row in CLASSES]
    lost = read_runs([make_run("bare", [score("fid", 3.0, 0.1)], tables={"per_class": bare})])
    (flaw, _) = lint(read_gate(write_gate(rule % 0.0012)), lost)
    assert (flaw.level, flaw.text) == ("error", "kid has no standard error by class, so that no bound is known")


def test_the_selftest_needs_a_run_that_holds_it_all(make_run: MakeRun, write_gate: WriteGate) -> None:
    run = read_runs([make_run("one", [score("fid", 3.0, 0.1)])])
    config = write_gate('[[rule]]\nscore = "fid"\nmax = 4\n[[rule]]\ncheck = "ema"\n')
    with pytest.raises(DiffevalError, match=r"cannot try this gate: 1 of 2 rules have no evidence: ema"):
        selftest(read_gate(config), run)


def test_the_schema_is_printed() -> None:
    done = _run("gate", "schema")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["$id"] == "diffeval.gate-file/1"
