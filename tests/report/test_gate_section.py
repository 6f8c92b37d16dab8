"""The gate on the page: shares of margins worked out by hand, and tables that say what is left of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from report_records import score, write_run

from diffeval.gate.verdict import RuleOutcome
from diffeval.report.compose import compose
from diffeval.report.figures.gate import MOST, limit_plot, margin_plot
from diffeval.report.judged import read_story
from diffeval.report.sections.gate import gate
from diffeval.report.story import Story
from diffeval.report.view import Figure, Mark, Rows

Z95 = 1.644854
RULES = """
[[rule]]
score = "fid"
max_regression = { abs = 0.4 }
why = "as noisy as that"
[[rule]]
score = "kid"
max_regression = { abs = 0.01 }
level = "warn"
[[rule]]
score = "recall"
window = [0.5, 0.9]
"""


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """fid: worse by 0.2 with the error 0.05; kid: worse by 12.5 margins; recall: well inside its window."""
    ours = [score("fid", 1.2, 0.03), score("kid", 0.135, 0.0003), score("recall", 0.7, 0.01)]
    theirs = [score("fid", 1.0, 0.04), score("kid", 0.01, 0.0004), score("recall", 0.7, 0.01)]
    run = write_run(tmp_path / "new", ours)
    base = write_run(tmp_path / "old", theirs, seed=1, sha="ef" * 32, checkpoint="old")
    (tmp_path / "gate.toml").write_text(RULES)
    return read_story([run], gate=tmp_path / "gate.toml", baseline=[base])


def _drawn(figure: Figure | None) -> dict[str, Any]:
    assert figure is not None
    found: dict[str, Any] = json.loads(figure.json)
    return found


def _outcome(**changes: Any) -> RuleOutcome:
    made: dict[str, Any] = {
        "name": "fid.regression", "subject": "fid", "kind": "regression", "level": "error", "status": "pass",
        "sentence": "", "change": 0.1, "bound": 0.3, "other_bound": -0.1, "limit": 0.4,
    }  # fmt: skip
    return RuleOutcome(**{**made, **changes})


def test_a_change_and_its_bounds_are_shares_of_the_margin(story: Story) -> None:
    # Independent: sqrt(0.03^2 + 0.04^2) = 0.05. 0.2 / 0.4 = 0.5, and 0.05 z95 / 0.4 to either side.
    plot = _drawn(margin_plot(story.verdicts[0].verdict.outcomes, "m"))
    (passed,) = [one for one in plot["data"] if one["name"] == "pass"]
    assert passed["x"] == [pytest.approx(0.5)]
    assert passed["error_x"]["array"] == [pytest.approx(0.05 * Z95 / 0.4, rel=1e-5)]
    assert passed["error_x"]["arrayminus"] == [pytest.approx(0.05 * Z95 / 0.4, rel=1e-5)]
    lines = [one["x0"] for one in plot["layout"]["shapes"] if one["type"] == "line"]
    assert lines == [0, 1], "the baseline and the margin"


def test_a_change_outside_of_the_picture_stands_at_its_edge_and_says_how_far(story: Story) -> None:
    plot = _drawn(margin_plot(story.verdicts[0].verdict.outcomes, "m"))
    (failed,) = [one for one in plot["data"] if one["name"].startswith("fail")]
    assert (failed["x"], failed["error_x"]["array"]) == ([MOST], [0.0])
    assert "warn: fail, 12.5× →" in [one["text"] for one in plot["layout"]["annotations"]]


def test_statuses_differ_in_marker_and_warnings_are_hollow(story: Story) -> None:
    plot = _drawn(margin_plot(story.verdicts[0].verdict.outcomes, "m"))
    assert {one["name"]: one["marker"]["symbol"] for one in plot["data"]} == {
        "pass": "circle",
        "fail, only a warning": "x-open",
    }


def test_the_sentence_has_the_numbers_of_the_worst_rule_that_decides(story: Story) -> None:
    figure = margin_plot(story.verdicts[0].verdict.outcomes, "m")
    assert figure is not None
    assert figure.sentence.startswith(
        "Of 2 rules about a change: 1 PASS, 1 warn: fail. The nearest to its margin, fid, is worse by 0.2 "
        "(0.1178 .. 0.2822), 0.4 is allowed; it may reach 0.7056 times its margin."
    )


def test_fixed_limits_are_drawn_in_their_own_units_with_both_ends(story: Story) -> None:
    plot = _drawn(limit_plot(story.verdicts[0].verdict.outcomes, "l"))
    dashed = [one["x"][0] for one in plot["data"] if one.get("line", {}).get("dash") == "dash"]
    assert dashed == [0.5, 0.9]
    (value,) = [one for one in plot["data"] if one["mode"] == "markers"]
    assert value["x"] == [0.7]
    assert value["error_x"]["array"] == [pytest.approx(0.01 * Z95, rel=1e-5)]
    low, high = plot["layout"]["xaxis"]["range"]
    assert low < 0.5
    assert high > 0.9


def test_the_table_says_what_is_left(story: Story) -> None:
    (rules,) = [one for one in gate(story) if isinstance(one, Rows) and one.title == "Rules"]
    cells = {str(row[1]): dict(zip(rules.columns, row, strict=True)) for row in rules.rows}
    # 1 - 0.2822 / 0.4 = 29%; the kid may be worse by 0.1258, 12.6 times its margin; 0.7 - 0.01645 - 0.5 = 0.1836.
    assert {name: row["room"] for name, row in cells.items()} == {
        "fid": "29%",
        "kid": "none, 12.6×",
        "recall.window": "0.1836",
    }
    assert cells["fid"][""] == Mark("pass", "PASS")
    assert cells["kid"][""] == Mark("warn", "warn: fail"), "what decides nothing does not look as if it did"
    assert cells["recall.window"]["limit"] == "0.5 .. 0.9"
    assert "n needed" not in rules.columns, "nothing is open"


def test_rules_without_numbers_are_in_the_table_and_in_no_picture() -> None:
    missing = _outcome(status="no-evidence", change=None, bound=None, other_bound=None, limit=None)
    assert margin_plot([missing], "m") is None
    assert margin_plot([_outcome(limit=0.0)], "m") is None, "no change is a share of nothing"


def test_names_are_no_markup() -> None:
    figure = margin_plot([_outcome(name="<b>bold</b>.regression")], "m")
    assert "&lt;b&gt;bold" in _drawn(figure)["layout"]["yaxis"]["ticktext"][0]


def test_without_a_gate_the_section_is_named_with_what_brings_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "new", [score("fid", 1.2, 0.03)])
    missing = dict(compose(read_story([run], gate=None, baseline=())).missing)
    assert missing["Gate"] == (
        f"diffeval gate init {run} -o gate.toml && diffeval report {run} --gate gate.toml --baseline RUN"
    )


def test_a_verdict_without_rules_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path / "new", [score("fid", 1.2, 0.03)])
    (tmp_path / "gate.toml").write_text('[[rule]]\nscore = "fidd"\nmax = 1\n')
    page = compose(read_story([run], gate=tmp_path / "gate.toml", baseline=()))
    assert page.banners[0].word == "ERROR"
    (section,) = [one for one in page.sections if one.id == "gate"]
    assert "did you mean 'fid'?" in section.blocks[0].text  # type: ignore[union-attr]
