"""How often the gate errs, from synthetic values with known truth: normal scores whose errors are known."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gate_records import MakeRun, score

from diffeval.gate.config import Required, Rule
from diffeval.gate.evidence import Evidence, read_runs
from diffeval.gate.question import Reading
from diffeval.gate.rules import Against, read_rule
from diffeval.gate.starter import starter_text
from diffeval.gate.verdict import outcomes_of, status_of

REPEATS = 1500
ERROR, MARGIN = 0.1, 0.6
# Three standard errors of a rate of 5% over so many repeats.
SLACK = 3 * (0.05 * 0.95 / REPEATS) ** 0.5


def _with_values(run: Evidence, values: np.ndarray) -> Evidence:
    side = run.sides[0]
    scores = tuple(
        score(one.name, float(value), ERROR) for one, value in zip(side.results.scores, values, strict=True)
    )
    return replace(run, sides=(replace(side, results=replace(side.results, scores=scores)),))


def _statuses(make_run: MakeRun, truth: float, rules: int) -> list[str]:
    """Verdicts over many pairs of runs, each rule about a score of its own that is worse by ``truth``."""
    names = [f"score_{index}" for index in range(rules)]
    run = read_runs([make_run("new", [score(name, 0.0, ERROR) for name in names])])
    base = read_runs([make_run("old", [score(name, 0.0, ERROR) for name in names], seed=1)])
    made = [Rule.model_validate({"score": name, "max_regression": {"abs": MARGIN}}) for name in names]
    draw = np.random.Generator(np.random.Philox(rules))
    found = []
    for _ in range(REPEATS):
        new = _with_values(run, truth + ERROR * draw.normal(size=rules))
        old = _with_values(base, ERROR * draw.normal(size=rules))
        against = Against(Required.model_validate({}), old, "", None)
        readings: list[Reading] = [read_rule(rule.named, rule, new, against) for rule in made]
        found.append(status_of(outcomes_of(readings)))
    return found


def _rate(statuses: list[str], status: str) -> float:
    return statuses.count(status) / len(statuses)


def test_a_regression_of_the_margin_passes_5_percent_of_the_time(make_run: MakeRun) -> None:
    found = _statuses(make_run, MARGIN, 1)
    assert _rate(found, "pass") == pytest.approx(0.05, abs=SLACK)
    # At the margin it is no worse than allowed, either, and must not be failed more often.
    assert _rate(found, "fail") == pytest.approx(0.05, abs=SLACK)


def test_with_several_rules_at_the_margin_the_gate_passes_and_fails_at_most_5_percent(make_run: MakeRun) -> None:
    found = _statuses(make_run, MARGIN, 3)
    assert _rate(found, "pass") <= 0.05 + SLACK
    assert _rate(found, "fail") <= 0.05 + SLACK
    assert _rate(found, "fail") >= 0.05 - 2 * SLACK  # Holm's correction is not wasteful for independent rules


def test_a_model_that_is_no_worse_passes_and_hardly_ever_fails(make_run: MakeRun) -> None:
    found = _statuses(make_run, 0.0, 1)
    # The margin is 4.24 standard errors of the difference: it passes with the probability Phi(4.24 - 1.64) = 99.5%.
    assert _rate(found, "pass") >= 0.98
    assert _rate(found, "fail") == 0


def test_a_regression_of_twice_the_margin_fails(make_run: MakeRun) -> None:
    assert _rate(_statuses(make_run, 2 * MARGIN, 1), "fail") >= 0.98


def test_the_margins_whose_rates_are_published_are_those_of_the_starter_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import gate_calibration as published

    monkeypatch.setattr(published, "N", 300)
    world = published.synthetic()
    reference = published.FeatureSet(world.reference)
    image_set = world.draw(0.0, published.random(7, 0), published.N)
    run = published.scored(image_set, reference, 0, ("fid", "precision", "recall"))
    rules = tomllib.loads(starter_text(run))["rule"]
    written = {one["score"]: one["max_regression"]["abs"] for one in rules}
    assert published.pilot(world, reference) == written
