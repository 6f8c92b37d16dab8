"""Rules against records made by hand, whose bounds follow from the normal law."""

import math
import re
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from gate_records import MakeRun, checks, score

from diffeval.gate.calibration import Calibration, Noise
from diffeval.gate.config import Required, Rule
from diffeval.gate.evidence import Evidence, read_runs
from diffeval.gate.question import Reading
from diffeval.gate.rules import Against, read_rule
from diffeval.gate.verdict import outcomes_of

Z95, Z80 = NormalDist().inv_cdf(0.95), NormalDist().inv_cdf(0.8)


def _read(
    rule: dict[str, object],
    run: Path | Evidence,
    baseline: Path | None = None,
    required: dict[str, object] | None = None,
    calibration: Calibration | None = None,
) -> Reading:
    against = Against(
        Required.model_validate(required or {}),
        None if baseline is None else read_runs([baseline]),
        "there is no baseline",
        calibration,
    )
    made = Rule.model_validate(rule)
    return read_rule(made.named, made, read_runs([run]) if isinstance(run, Path) else run, against)


def test_an_upper_limit_holds_where_the_95_percent_bound_lies_below(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])  # the bound is 3 + 0.1 z = 3.1645
    above, below = 3.0 + 0.1 * Z95 + 1e-6, 3.0 + 0.1 * Z95 - 1e-6
    assert _read({"score": "fid", "max": above}, run).holds
    reading = _read({"score": "fid", "max": below}, run)
    assert not reading.holds
    assert reading.p > 0.05
    assert reading.worst is not None
    assert reading.worst.bound == pytest.approx(3.0 + 0.1 * Z95, rel=1e-6)


def test_an_upper_limit_is_broken_where_the_lower_bound_lies_above(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    assert _read({"score": "fid", "max": 3.0 - 0.1 * Z95 - 1e-6}, run).p < 0.05
    assert _read({"score": "fid", "max": 3.0 - 0.1 * Z95 + 1e-6}, run).p > 0.05
    assert _read({"score": "fid", "max": 2.8}, run).p == pytest.approx(NormalDist().cdf(-2.0), rel=1e-4)


def test_a_lower_limit_is_the_mirror_image(make_run: MakeRun) -> None:
    run = make_run("one", [score("recall", 0.8, 0.01)])
    assert _read({"score": "recall", "min": 0.8 - 0.01 * Z95 - 1e-6}, run).holds
    assert not _read({"score": "recall", "min": 0.8 - 0.01 * Z95 + 1e-6}, run).holds
    assert _read({"score": "recall", "min": 0.82}, run).p == pytest.approx(NormalDist().cdf(-2.0), rel=1e-4)


def test_a_window_needs_both_bounds_inside_and_counts_both_ends(make_run: MakeRun) -> None:
    run = make_run("one", [score("clip_score", 31.75, 0.02)])
    assert _read({"score": "clip_score", "window": [31.69, 31.81]}, run).holds
    assert not _read({"score": "clip_score", "window": [31.74, 31.81]}, run).holds
    assert not _read({"score": "clip_score", "window": [31.69, 31.76]}, run).holds
    good = _read({"score": "clip_score", "window": [31.60, 31.71]}, run)  # too good is wrong, too
    assert good.p == pytest.approx(2 * NormalDist().cdf(-2.0), rel=1e-4)
    assert good.worst is not None
    assert good.worst.upper


def test_min_and_max_together_are_a_window(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    assert _read({"score": "fid", "min": 2.0, "max": 4.0}, run).kind == "window"


@pytest.mark.parametrize(("name", "sign"), [("fid_debiased", 1), ("recall", -1)])
def test_a_regression_is_worse_in_the_scores_own_direction(make_run: MakeRun, name: str, sign: int) -> None:
    old = make_run("old", [score(name, 0.5, 0.03)], seed=1)
    worse = make_run("worse", [score(name, 0.5 + sign * 0.2, 0.04)])
    better = make_run("better", [score(name, 0.5 - sign * 0.2, 0.04)])
    rule = {"score": name, "max_regression": {"abs": 0.1}}
    reading = _read(rule, worse, old)
    # Independent errors 0.03 and 0.04 make 0.05; worse by 0.2, which is 2 standard errors beyond 0.1.
    assert reading.p == pytest.approx(NormalDist().cdf(-2.0), rel=1e-4)
    assert reading.worst is not None
    assert reading.worst.found.value == pytest.approx(0.2)
    assert reading.worst.bound == pytest.approx(0.2 + 0.05 * Z95, rel=1e-5)
    assert _read(rule, better, old).holds
    assert (reading.value, reading.baseline) == (0.5 + sign * 0.2, 0.5)


def test_the_same_run_is_no_worse_by_any_margin(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    reading = _read({"score": "fid", "max_regression": {"abs": 0}}, run, run)
    assert reading.holds
    assert reading.p == 1.0


def test_shared_seeds_are_paired(make_run: MakeRun) -> None:
    terms = np.random.Generator(np.random.Philox(0)).normal(size=1000)
    labels = {"labels": np.zeros(1000, dtype=np.int64)}
    moved = terms + 0.1
    moved[0] += 0.5
    old = make_run("old", [score("kid", terms.mean(), 0.03)], terms={"kid.term": terms, **labels})
    new = make_run("new", [score("kid", moved.mean(), 0.03)], terms={"kid.term": moved, **labels})
    reading = _read({"score": "kid", "max_regression": {"abs": 0.2}}, new, old)
    assert reading.holds
    assert reading.how.startswith("paired")
    # Alone the errors make 0.03 sqrt 2 = 0.042, with which 0.1 + 1.64 * 0.042 < 0.2 holds, but 0.11 would not.
    assert _read({"score": "kid", "max_regression": {"abs": 0.11}}, new, old).holds


def test_a_relative_margin_carries_the_error_of_the_baseline(make_run: MakeRun) -> None:
    old = make_run("old", [score("fid", 10.0, 0.3)], seed=1)
    new = make_run("new", [score("fid", 11.0, 0.4)])
    reading = _read({"score": "fid", "max_regression": {"rel": 0.5}}, new, old)
    # c - 1.5 b has the variance 0.4^2 + 1.5^2 * 0.3^2 = 0.3625.
    assert reading.worst is not None
    assert reading.worst.limit == 5.0
    assert reading.worst.found.std_error == pytest.approx(math.sqrt(0.3625), rel=1e-6)
    assert reading.worst.bound == pytest.approx(1.0 + Z95 * math.sqrt(0.3625), rel=1e-5)


def test_a_relative_margin_where_higher_is_better(make_run: MakeRun) -> None:
    old = make_run("old", [score("recall", 0.8, 0.02)], seed=1)
    new = make_run("new", [score("recall", 0.7, 0.03)])
    reading = _read({"score": "recall", "max_regression": {"rel": 0.25}}, new, old)
    # 0.75 b - c has the variance 0.75^2 * 0.02^2 + 0.03^2, less than that of the difference: the larger counts.
    assert reading.worst is not None
    assert reading.worst.limit == pytest.approx(0.2)
    assert reading.worst.found.std_error == pytest.approx(math.sqrt(0.02**2 + 0.03**2), rel=1e-6)


def test_a_relative_margin_of_paired_shares_carries_the_error_of_the_baseline(make_run: MakeRun) -> None:
    """The counts of images that differ say nothing of how far the margin itself may be off."""
    old, new = np.ones(1000), np.ones(1000)
    old[:200] = 0
    new[:215] = 0
    error = math.sqrt(0.8 * 0.2 / 1000)
    paths = [
        make_run(name, [score("class_accuracy", right.mean(), error)], terms={"class_accuracy.term": right}, sha=sha)
        for name, right, sha in (("old", old, "ab" * 32), ("new", new, "cd" * 32))
    ]
    share = _read({"score": "class_accuracy", "max_regression": {"rel": 0.5}}, paths[1], paths[0]).worst
    alone = _read({"score": "class_accuracy", "max_regression": {"abs": 0.4}}, paths[1], paths[0]).worst
    assert share is not None
    assert alone is not None
    # Half of V(b - c) goes, half of V(c) comes, and a quarter of V(b) goes, V(b) and V(c) being alike.
    more = 0.25 * error**2 - 0.5 * alone.found.std_error**2
    assert more > 0
    assert share.bound == pytest.approx(0.015 + Z95 * math.sqrt(alone.found.above**2 + more), rel=1e-6)


def test_a_share_of_what_may_be_0_is_no_margin(make_run: MakeRun) -> None:
    old = make_run("old", [score("fid_debiased", 0.01, 0.01)], seed=1)
    new = make_run("new", [score("fid_debiased", 0.01, 0.01)])
    assert "not told from 0" in _read({"score": "fid_debiased", "max_regression": {"rel": 0.5}}, new, old).missing


def test_sigmas_are_those_of_the_calibration(make_run: MakeRun) -> None:
    old, new = make_run("old", [score("fid", 3.0, 0.1)], seed=1), make_run("new", [score("fid", 3.0, 0.1)])
    noise = Noise("fid", 3.0, 0.2, 0.1, 1000, 5)
    side = read_runs([new]).sides[0]
    calibration = Calibration("digits", side.sha256, side.results.protocol, "seeds", {"fid": noise})
    reading = _read({"score": "fid", "max_regression": {"sigmas": 4}}, new, old, calibration=calibration)
    assert reading.worst is not None
    assert reading.worst.limit == pytest.approx(0.8)  # the larger of 0.2 over seeds and 0.1 stored
    other = make_run("other", [score("fid", 3.0, 0.1)], steps=50)
    free = {"may_differ": ["w"]}
    missing = _read({"score": "fid", "max_regression": {"sigmas": 4}}, other, other, free, calibration).missing
    assert "run and calibration differ in steps 50 and 10" in missing


def test_sigmas_of_another_number_of_images_are_no_evidence(make_run: MakeRun) -> None:
    old, new = make_run("old", [score("fid", 3.0, 0.1)], seed=1), make_run("new", [score("fid", 3.0, 0.1)])
    side = read_runs([new]).sides[0]
    for n, missing in ((1000, False), (300, True), (2000, True)):
        noise = Noise("fid", 3.0, 0.2, 0.1, n, 5)
        calibration = Calibration("digits", side.sha256, side.results.protocol, "seeds", {"fid": noise})
        reading = _read({"score": "fid", "max_regression": {"sigmas": 4}}, new, old, calibration=calibration)
        assert (f"the calibration is of n={n}, the run of n=1000" in reading.missing) is missing
        assert reading.holds is not missing
        assert reading.short_of is None


def test_a_relative_margin_of_a_value_without_an_error_is_no_evidence(make_run: MakeRun) -> None:
    """Prompts pair the runs and give the difference an error; the baseline's own is not known."""
    prompts = np.linspace(30.0, 32.0, 50)
    paths = [
        make_run(
            name,
            [score("clip_score", 31.0, error)],
            terms={"clip_score.by_prompt": prompts + 0.01 * place * (np.arange(50) % 3)},
            prompts="cc",
            sha=sha * 32,
        )
        for name, error, place, sha in (("old", None, 0, "ab"), ("new", 0.02, 1, "cd"))
    ]
    assert _read({"score": "clip_score", "max_regression": {"abs": 1.0}}, paths[1], paths[0]).holds
    missing = _read({"score": "clip_score", "max_regression": {"rel": 0.1}}, paths[1], paths[0]).missing
    assert "old has no error of clip_score, which a relative margin needs" in missing


CLASSES = [
    {"class": "0", "n": 100, "real": 90, "class_accuracy": 0.99, "kid": 0.001, "std_error": 0.0002, "p": 1.0},
    {"class": "1", "n": 100, "real": 90, "class_accuracy": 0.80, "kid": 0.002, "std_error": 0.0002, "p": 1.0},
]


def test_every_class_must_hold_and_the_worst_is_named(make_run: MakeRun) -> None:
    run = make_run("one", [score("kid", 0.001, 0.0001)], tables={"per_class": CLASSES})
    assert _read({"score": "kid", "max": 0.0024, "reduce": "max"}, run).holds
    reading = _read({"score": "kid", "max": 0.0015, "reduce": "max"}, run)
    assert not reading.holds
    assert reading.worst is not None
    assert reading.worst.where == "1"
    # 2.5 standard errors beyond, of two classes.
    assert reading.p == pytest.approx(2 * NormalDist().cdf(-2.5), rel=1e-4)


def test_shares_of_classes_have_wilsons_bounds(make_run: MakeRun) -> None:
    perfect = [{**CLASSES[0], "class_accuracy": 1.0}]
    run = make_run("one", [score("kid", 0.001, 0.0001)], tables={"per_class": perfect})
    # With n of n the lower bound is n / (n + z^2): no certainty from a hundred images.
    bound = 100 / (100 + Z95**2)
    assert _read({"score": "class_accuracy", "min": bound - 1e-6, "reduce": "min"}, run).holds
    assert not _read({"score": "class_accuracy", "min": bound + 1e-6, "reduce": "min"}, run).holds


def test_classes_against_those_of_the_baseline(make_run: MakeRun) -> None:
    old = make_run("old", [score("kid", 0.001, 0.0001)], seed=1, tables={"per_class": CLASSES})
    bad = [CLASSES[0], {**CLASSES[1], "kid": 0.004}]
    new = make_run("new", [score("kid", 0.001, 0.0001)], tables={"per_class": bad})
    rule = {"score": "kid", "max_regression": {"abs": 0.001}, "reduce": "max"}
    assert _read(rule, old, old).holds
    reading = _read(rule, new, old)
    assert reading.worst is not None
    assert (reading.worst.where, reading.value, reading.baseline) == ("1", 0.004, 0.002)
    assert reading.p < 0.05
    lost = make_run("lost", [score("kid", 0.001, 0.0001)], tables={"per_class": CLASSES[:1]})
    assert "only the baseline has the class '1'" in _read(rule, lost, old).missing
    fewer = {"score": "class_accuracy", "max_regression": {"abs": 0.1}, "reduce": "min"}
    worse = make_run(
        "worse",
        [score("kid", 0.001, 0.0001)],
        tables={"per_class": [CLASSES[0], {**CLASSES[1], "class_accuracy": 0.4}]},
    )
    assert _read(fewer, worse, old).p < 0.05


def test_a_class_that_only_the_baseline_has_passes_no_fixed_limit(make_run: MakeRun) -> None:
    known = [score("kid", 0.001, 0.0001)]
    old = make_run("old", known, seed=1, tables={"per_class": CLASSES})
    rule = {"score": "class_accuracy", "min": 0.6, "reduce": "min"}
    assert _read(rule, make_run("whole", known, tables={"per_class": CLASSES}), old).holds
    lost = make_run("lost", known, tables={"per_class": CLASSES[:1]})
    assert "only the baseline has the class '1'" in _read(rule, lost, old).missing
    # A class that is new is looked at as every other; a baseline of scores alone says nothing of classes.
    less = make_run("less", known, seed=1, tables={"per_class": CLASSES[:1]})
    assert _read(rule, make_run("more", known, tables={"per_class": CLASSES}), less).holds
    assert _read(rule, lost, make_run("bare", known, seed=1)).holds


def test_a_class_that_the_run_was_to_make_and_that_is_not_in_the_table_passes_no_fixed_limit(
    make_run: MakeRun,
) -> None:
    known = [score("kid", 0.001, 0.0001)]
    labels = {"labels": np.arange(1000, dtype=np.int64) % 3}
    run = make_run("one", known, tables={"per_class": CLASSES}, terms=labels)
    rule = {"score": "class_accuracy", "min": 0.6, "reduce": "min"}
    assert "are of 3 classes, of which 1 had too few to be looked at" in _read(rule, run).missing
    labels = {"labels": np.arange(1000, dtype=np.int64) % 2}
    assert _read(rule, make_run("two", known, tables={"per_class": CLASSES}, terms=labels)).holds


@pytest.mark.parametrize(
    ("status", "holds", "p", "missing"),
    [
        ("pass", True, 1.0, False),
        ("warn", True, 1.0, False),
        ("fail", False, 0.0, False),
        ("inconclusive", False, 1.0, False),
        ("not-applicable", False, 1.0, True),
    ],
)
def test_a_check_must_not_fail(make_run: MakeRun, status: str, holds: bool, p: float, missing: bool) -> None:
    run = make_run("one", found=checks(noise_schedule=status))  # type: ignore[arg-type]
    reading = _read({"check": "noise-schedule"}, run)
    assert (reading.holds, reading.p, bool(reading.missing)) == (holds, p, missing)


def test_a_check_that_does_not_apply_may_be_allowed_to_and_one_that_is_absent_never(make_run: MakeRun) -> None:
    run = make_run("one", found=checks(ema="not-applicable"))
    assert _read({"check": "ema", "allow_not_applicable": True}, run).holds
    assert "the check was not made" in _read({"check": "vae", "allow_not_applicable": True}, run).missing


@pytest.mark.parametrize(
    ("required", "said"),
    [
        ({"n_min": 2000}, "stands on 1000 images, .* requires 2000"),
        ({"steps": 50}, "was measured with steps 10, .* requires 50"),
        ({"extractor": "inception"}, "extractor digits/penultimate/12e3, .* requires inception"),
        ({"reference": "mnist@train"}, "reference digits@train"),
    ],
)
def test_a_score_that_was_measured_otherwise_is_no_evidence(
    make_run: MakeRun, required: dict[str, object], said: str
) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    missing = _read({"score": "fid", "max": 9}, run, required=required).missing
    assert re.search(said, missing)


def test_requirements_that_hold_are_not_in_the_way(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    required = {"n_min": 1000, "steps": 10, "w": 1.0, "extractor": "digits", "reference": "digits@train"}
    assert _read({"score": "fid", "max": 9}, run, required=required).holds


@pytest.mark.parametrize("rule", [{"max_regression": {"abs": 5.0}}, {"max": 9.0}])
def test_another_protocol_than_the_baselines_is_no_evidence_and_names_the_key(
    make_run: MakeRun, rule: dict[str, object]
) -> None:
    old = make_run("old", [score("fid", 3.0, 0.1)])
    new = make_run("new", [score("fid", 3.0, 0.1)], w=7.0)
    missing = _read({"score": "fid", **rule}, new, old).missing
    assert "differ in w 7 and 1" in missing
    assert 'may_differ = ["w"]' in missing
    assert _read({"score": "fid", **rule}, new, old, {"may_differ": ["w"]}).holds


def test_ready_made_images_may_be_held_against_sampled_ones_where_source_is_allowed(make_run: MakeRun) -> None:
    old = make_run("old", [score("fid", 3.0, 0.1)])
    new = make_run("new", [score("fid", 3.0, 0.1)], source=True, labels="as given")
    rule = {"score": "fid", "max_regression": {"abs": 5.0}}
    missing = _read(rule, new, old).missing
    assert "differ in source" in missing
    assert 'may_differ = ["source"]' in missing
    free = {"may_differ": ["source"], "sampler": "ddim"}
    assert _read(rule, new, old, free).holds
    other = make_run("other", [score("fid", 3.0, 0.1)], source=True, reference_hash="00" * 32)
    for required in ({}, free):
        missing = _read(rule, other, old, required).missing
        assert "reference_hash" in missing
        assert ("source" in missing) is (not required)
        assert "may_differ" not in missing


def test_another_reference_is_never_allowed(make_run: MakeRun) -> None:
    old = make_run("old", [score("fid", 3.0, 0.1)])
    new = make_run("new", [score("fid", 3.0, 0.1)], reference_hash="00" * 32)
    missing = _read({"score": "fid", "max_regression": {"abs": 5.0}}, new, old).missing
    assert "reference_hash" in missing
    assert "may_differ" not in missing


def test_a_score_without_an_error_proves_nothing(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, None)])
    assert "no standard error" in _read({"score": "fid", "max": 9}, run).missing


def test_the_n_that_would_settle_a_limit(make_run: MakeRun) -> None:
    run = make_run("one", [score("fid", 3.0, 0.1)])
    reading = _read({"score": "fid", "max": 3.1}, run)
    # The bound is to lie inside 4 times in 5: (z95 + z80) 0.1 sqrt(1000 / n) = 0.1.
    assert reading.needed() == pytest.approx(1000 * (Z95 + Z80) ** 2, abs=2)


def test_the_n_that_would_settle_a_regression_is_that_of_a_model_that_is_no_worse(make_run: MakeRun) -> None:
    """The run's 300 images are to make up for what the baseline's 2000 err by, which stay as they are."""
    old = make_run("old", [score("fid", 3.0, 0.04, 2000)], seed=1)
    new = make_run("new", [score("fid", 3.05, 0.1, 300)])
    reading = _read({"score": "fid", "max_regression": {"abs": 0.2}}, new, old)
    assert not reading.holds
    target = (0.2 / (Z95 + Z80)) ** 2
    assert reading.needed() == pytest.approx(300 * 0.01 / (target - 0.0016), abs=2)
    assert (reading.needed() or 0) < 2000
    beyond = make_run("beyond", [score("fid", 3.35, 0.1, 300)])
    reading = _read({"score": "fid", "max_regression": {"abs": 0.2}}, beyond, old)
    target = (0.15 / (Z95 + Z80)) ** 2
    assert reading.needed() == pytest.approx(300 * 0.01 / (target - 0.0016), abs=2)


def test_where_the_baselines_images_are_too_few_the_n_is_that_of_both(make_run: MakeRun) -> None:
    old = make_run("old", [score("fid", 3.0, 0.1)], seed=1)
    new = make_run("new", [score("fid", 3.05, 0.1)])
    reading = _read({"score": "fid", "max_regression": {"abs": 0.2}}, new, old)
    # 0.1 (z95 + z80) is more than 0.2 already; with both, 0.1 sqrt 2 has to fall.
    assert reading.needed() is None
    both = 1000 * ((Z95 + Z80) * 0.1 * math.sqrt(2) / 0.2) ** 2
    assert reading.needed(held=False) == pytest.approx(both, abs=2)
    (outcome,) = outcomes_of([reading])
    assert outcome.needed is None
    assert "the baseline's own images are too few: about n = 3,100 of both would settle it" in outcome.sentence


def test_a_score_that_must_stand_on_as_many_images_as_the_baselines_needs_them_of_both(make_run: MakeRun) -> None:
    old = make_run("old", [score("fid", 3.0, 0.1, depends_on_n=True)], seed=1)
    new = make_run("new", [score("fid", 3.05, 0.1, depends_on_n=True)])
    reading = _read({"score": "fid", "max_regression": {"abs": 0.2}}, new, old)
    assert reading.needed() == pytest.approx(1000 * ((Z95 + Z80) * 0.1 * math.sqrt(2) / 0.2) ** 2, abs=2)


@pytest.mark.parametrize("rule", [{"min": 0.78}, {"max_regression": {"abs": 0.04}}])
def test_a_score_that_the_reference_limits_is_not_sent_for_more_images(
    make_run: MakeRun, rule: dict[str, object]
) -> None:
    old = make_run("old", [score("recall", 0.8, 0.02, n_k=648)], seed=1)
    new = make_run("new", [score("recall", 0.8, 0.02, n_k=648)])
    (outcome,) = outcomes_of([_read({"score": "recall", **rule}, new, old)])
    assert (outcome.status, outcome.needed) == ("inconclusive", None)
    assert "no number of images is known to settle it" in outcome.sentence
    free = make_run("free", [score("recall", 0.8, 0.02, n_k=1000)])
    assert _read({"score": "recall", "min": 0.78}, free).needed() is not None


def test_a_class_is_settled_by_so_many_images_of_the_run(make_run: MakeRun) -> None:
    """100 of 1000 images are of the class; (z95 + z80)^2 times as many of them would tell one error apart."""
    run = make_run("one", [score("kid", 0.001, 0.0001)], tables={"per_class": CLASSES})
    reading = _read({"score": "kid", "max": 0.0022, "reduce": "max"}, run)
    assert reading.n == 100
    assert reading.needed() == pytest.approx(1000 * (Z95 + Z80) ** 2, abs=2)


@pytest.mark.parametrize("required", [{}, {"n_min": 2000}])
def test_too_few_images_are_inconclusive_and_the_rule_says_how_many(
    make_run: MakeRun, required: dict[str, object]
) -> None:
    """What depends on their number cannot be told at another one; nothing is missing but images."""
    run = make_run("few", [score("recall", 0.8, 0.02, 300, depends_on_n=not required)], seed=1)
    old = make_run("old", [score("recall", 0.8, 0.01, 2000, depends_on_n=not required)])
    (outcome,) = outcomes_of([_read({"score": "recall", "max_regression": {"abs": 0.1}}, run, old, required)])
    assert (outcome.status, outcome.needed) == ("inconclusive", 2000)
    assert "n=300" in outcome.sentence or "stands on 300 images" in outcome.sentence


def test_too_many_images_are_no_evidence(make_run: MakeRun) -> None:
    run = make_run("many", [score("recall", 0.8, 0.02, 2000, depends_on_n=True)], seed=1)
    old = make_run("old", [score("recall", 0.8, 0.01, 300, depends_on_n=True)])
    (outcome,) = outcomes_of([_read({"score": "recall", "max_regression": {"abs": 0.1}}, run, old)])
    assert (outcome.status, outcome.needed) == ("no-evidence", None)


def test_a_check_that_warns_fails_only_where_the_rule_says_so(make_run: MakeRun) -> None:
    run = make_run("one", found=checks(memorization="warn"))
    assert _read({"check": "memorization"}, run).holds
    strict = _read({"check": "memorization", "fail_on": "warn"}, run)
    assert not strict.holds
    assert strict.p == 0.0
    assert _read(
        {"check": "memorization", "fail_on": "warn"}, make_run("two", found=checks(memorization="pass"))
    ).holds
    with pytest.raises(ValueError, match="fail_on is for checks"):
        Rule.model_validate({"score": "fid", "max": 1.0, "fail_on": "warn"})


def test_a_check_counts_where_it_was_made_as_the_gate_file_wants(make_run: MakeRun) -> None:
    """A model that is checked at w = 1 and sampled at w = 9 has not been checked as it ships."""
    plain, guided = (make_run(f"w{w:g}", found=checks(ema="pass"), task="check", w=w) for w in (1.0, 9.0))
    assert _read({"check": "ema"}, plain, required={"w": 1.0}).holds
    assert _read({"check": "ema"}, guided, required={"w": 1.0}).missing == (
        "was measured with w 9.0, [protocol] requires 1.0"
    )
    assert "differ in w 9 and 1" in _read({"check": "ema"}, guided, plain).missing
    assert _read({"check": "ema"}, guided, plain, {"may_differ": ["w"]}).holds
    # Scores beside which no check lies say nothing of how it is to be made.
    assert _read({"check": "ema"}, guided, make_run("scores", [score("fid", 3.0, 0.1)])).holds


def test_a_check_of_ready_made_images_is_no_evidence_about_a_model_that_is_sampled(make_run: MakeRun) -> None:
    images = make_run("images", found=checks(memorization="fail"), task="check", source=True)
    sampled = make_run("sampled", [score("fid", 3.0, 0.1)])
    assert "differ in source" in _read({"check": "memorization"}, images, sampled).missing
    allowed = _read({"check": "memorization"}, images, sampled, {"may_differ": ["source"]})
    assert allowed.missing == ""
    assert allowed.p == 0.0
    said = _read({"check": "memorization"}, images, None, {"w": 1.0}).missing
    assert said.startswith("is of ready-made images, [protocol] requires w 1.0")
