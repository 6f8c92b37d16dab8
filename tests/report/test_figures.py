"""Figures of the page: what they draw is what the records hold, and what they say is computed from it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from diffeval.report.figures.checks import check_figures
from diffeval.report.figures.classes import by_class, wilson
from diffeval.report.figures.cost import seconds_by_stage
from diffeval.report.figures.features import feature_map
from diffeval.report.figures.fid import fid_against_n, fid_side_by_side
from diffeval.report.figures.fidelity import fidelity
from diffeval.report.figures.fronts import apart, cost_front, front
from diffeval.report.figures.sweep import curves
from diffeval.report.figures.training import smoothed, training_curves
from diffeval.report.view import Figure
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Null, Param, Protocol, Provenance, Results, Score

HOSTILE = "<b onload=x>& co"


def _results(scores: tuple[Score, ...] = (), tables: Mapping[str, Any] | None = None) -> Results:
    protocol = Protocol("eval", "ddim", {}, 10, 1.0, "cyclic", "round", "float32", "digits", None, "digits@train", "0")
    provenance = Provenance("m", "/m", "0" * 64, 0, 1000, 10, "cpu", 1, {}, None, "h", ("diffeval",), "2026-01-01",
                            {"sampling": 20.0, "scoring": 5.0})  # fmt: skip
    return Results(".", protocol, provenance, scores, tables=tables or {})


def _score(name: str, value: float, n: int = 1000, error: float = 0.5, null: float | None = None) -> Score:
    ci = None if name == "fid" else (value - 2 * error, value + 2 * error)
    held = None if null is None else Null(null, 0.1, 100)
    return Score(name, value, error, ci, n, held, higher_is_better=not name.startswith(("fid", "kid")))


def _drawn(figure: Figure | None) -> dict[str, Any]:
    assert figure is not None
    found: dict[str, Any] = json.loads(str(figure.json))
    go.Figure(data=found["data"], layout={key: one for key, one in found["layout"].items() if key != "meta"})
    assert all(len(row) == len(figure.columns) for row in figure.rows)
    return found


def test_the_expected_curve_of_plain_fid_passes_through_what_was_measured() -> None:
    # b = (12 - 10) * 1000 images: at 4000 images 10 + 2000 / 4000.
    made = fid_against_n(_results((_score("fid", 12.0), _score("fid_debiased", 10.0))), "f")
    (expected,) = [one for one in _drawn(made)["data"] if "expected" in str(one.get("name"))]
    assert (expected["x"][0], expected["x"][-1]) == (500, 4000)
    assert (expected["y"][0], expected["y"][-1]) == (14.0, 10.5)
    at = [10 + 2000 / n for n in expected["x"]]
    assert expected["y"] == pytest.approx(at, rel=1e-4)


def test_fid_is_drawn_with_bands_over_counts_and_with_bars_at_one() -> None:
    one = fid_against_n(_results((_score("fid", 12.0), _score("fid_debiased", 10.0, null=1.0))), "f")
    two = fid_against_n(
        _results((_score("fid", 14.0, 500), _score("fid_debiased", 10.0, 500), _score("fid", 12.0),
                  _score("fid_debiased", 10.0, null=1.0))), "f",
    )  # fmt: skip
    assert sum("fill" in trace for trace in _drawn(one)["data"]) == 0
    bars = [trace["error_y"] for trace in _drawn(one)["data"] if "error_y" in trace]
    assert [bar["array"] for bar in bars] == [[1.0], [1.0]]
    assert sum("fill" in trace for trace in _drawn(two)["data"]) == 2
    floor = _drawn(two)["layout"]["shapes"][0]
    assert (floor["y0"], floor["y1"]) == (1.0, 1.0)
    assert two is not None
    assert "95% interval 9 .. 11" in two.sentence
    assert two.static.startswith("<svg")


def test_fid_without_a_value_is_no_figure() -> None:
    assert fid_against_n(_results((_score("fid", 12.0),)), "f") is None
    assert fid_side_by_side([("a", _results((_score("fid_debiased", 1.0),))), ("b", _results())], "f") is None


def test_runs_of_one_protocol_stand_side_by_side_and_the_best_is_named() -> None:
    runs = [(name, _results((_score("fid_debiased", value),))) for name, value in ((HOSTILE, 3.0), ("b", 1.0))]
    made = fid_side_by_side(runs, "f")
    drawn = _drawn(made)
    assert [trace["x"] for trace in drawn["data"]] == [[3.0], [1.0]]
    assert drawn["data"][0]["y"] == ["&lt;b onload=x&gt;&amp; co"]
    assert made is not None
    assert "best: b at 1; highest: <b onload=x>& co at 3" in made.sentence
    assert "<b onload" not in made.static
    many = [(f"run {place}", _results((_score("fid_debiased", place),))) for place in range(11)]
    crowded = fid_side_by_side(many, "f")
    assert len(_drawn(crowded)["data"]) == 8
    assert crowded is not None
    assert len(crowded.rows) == 11


def test_fidelity_is_up_variety_along_and_the_baseline_joined() -> None:
    def run(precision: float, recall: float) -> Results:
        return _results((_score("precision", precision, error=0.01, null=0.9), _score("recall", recall, null=0.8)))

    made = fidelity([("a", run(0.9, 0.5)), ("b", run(0.7, 0.6))], "f", baseline="b")
    joined, real, first, second = _drawn(made)["data"]
    assert (joined["x"], joined["y"]) == ([0.6, 0.5], [0.7, 0.9])
    assert (real["x"], real["y"]) == ([0.8], [0.9])
    assert (first["x"], first["y"]) == ([0.5], [0.9])
    assert first["error_y"]["array"] == pytest.approx([0.02])
    assert (second["x"], second["y"]) == ([0.6], [0.7])
    assert fidelity([("a", _results())], "f") is None


def test_what_is_certain_of_a_share_is_not_what_is_read() -> None:
    low, high = wilson(1.0, 4)
    assert high == 1.0
    assert low == pytest.approx(0.5)  # 1 - z^2 / (n + z^2) with z = 2


def test_bad_classes_are_marked_and_the_worst_stand_on_top() -> None:
    row = {"n": 100, "real": 100, "std_error": 0.1, "class_accuracy": 0.9}
    rows = ({"class": HOSTILE, "kid": 5.0, "p": 0.01, **row}, {"class": "b", "kid": 1.0, "p": 1.0, **row})
    kid, accuracy = by_class(_results(tables={"per_class": rows}), "c")
    drawn = _drawn(kid)
    assert drawn["data"][0]["x"] == [5.0, 1.0]
    assert len(set(drawn["data"][0]["marker"]["color"])) == 2
    # The last of an axis of categories is on top.
    assert drawn["layout"]["yaxis"]["categoryarray"] == ["b", "&lt;b onload=x&gt;&amp; co"]
    assert "1 of 2 classes stand out as bad: <b onload=x>& co" in kid.sentence
    assert _drawn(accuracy)["data"][0]["x"] == [0.9, 0.9]
    assert by_class(_results(), "c") == ()
    many = tuple({"class": str(place), "kid": 1.0, "p": 1.0, **row} for place in range(200))
    assert len(_drawn(by_class(_results(tables={"per_class": many}), "c")[0])["data"][0]["x"]) == 30


def test_what_a_table_of_classes_should_not_hold_is_not_drawn() -> None:
    sound = {"class": "1", "n": 50, "class_accuracy": 0.9, "kid": 0.1, "std_error": 0.01, "p": 1.0}
    wrong = [{**sound, "class_accuracy": 7.0}, {**sound, "n": 0}, {**sound, "class_accuracy": "a", "kid": None}]
    kid, accuracy = by_class(_results(tables={"per_class": [sound, *wrong]}), "c")
    assert _drawn(kid)["data"][0]["x"] == [0.1, 0.1, 0.1]
    assert _drawn(accuracy)["data"][0]["x"] == [0.9]
    bare = {name: value for name, value in sound.items() if name not in ("kid", "std_error")}
    assert [one.title for one in by_class(_results(tables={"per_class": [bare]}), "c")] == [accuracy.title]


def test_the_map_is_of_shares_and_the_difference_has_zero_in_the_middle(tmp_path: Path) -> None:
    real, generated = np.array([[6, 2], [0, 0]]), np.array([[1, 1], [2, 0]])
    edges = np.array([0.0, 1.0, 2.0])
    run = RunDirectory(tmp_path)
    run.save_arrays("feature_map", {"map_real": real, "map_generated": generated, "map_x": edges, "map_y": edges})
    made = feature_map(run, "m")
    left, middle, right = _drawn(made)["data"]
    # Rows of a heat map go along y, the first axis of the counts along x; empty bins stay empty.
    assert left["customdata"] == [[75.0, 0.0], [25.0, 0.0]]
    assert left["z"][0][1] is None
    assert middle["customdata"] == [[25.0, 50.0], [25.0, 0.0]]
    assert right["z"] == [[-50.0, 50.0], [0.0, None]]
    assert (right["zmin"], right["zmid"], right["zmax"]) == (-50, 0, 50)
    assert made is not None
    assert "overlap by 50%" in made.sentence  # min(0.75, 0.25) + min(0.25, 0.25)
    assert "0 of 1 bins with 5 or more real images have no generated one" in made.sentence
    assert feature_map(RunDirectory(tmp_path / "none"), "m") is None


def _point(score: str, value: float, **more: Param) -> dict[str, Param]:
    rest = {"n": 9, "std_error": 0.1, "low": value - 1, "high": value + 1, "real": 0.5, "higher_is_better": False}
    return {**more, "score": score, "value": value, **rest}


def test_a_sweep_over_two_settings_has_a_line_for_each_of_the_second() -> None:
    rows = [_point("fid_debiased", 10.0 / steps + (sampler == "b"), steps=steps, sampler=sampler)
            for sampler in "ab" for steps in (20, 5)]  # fmt: skip
    (made,) = curves(_results(tables={"curve": tuple(rows)}), "c")
    drawn = _drawn(made)
    named = {trace["name"]: trace for trace in drawn["data"] if str(trace.get("name", "")).startswith("sampler")}
    assert named["sampler=a"]["x"] == named["sampler=b"]["x"] == [5, 20]
    assert named["sampler=a"]["y"] == [2.0, 0.5]
    assert named["sampler=b"]["y"] == [3.0, 1.5]
    assert drawn["layout"]["xaxis"]["type"] == "log"
    assert "fid_debiased is lowest at steps=20 sampler=a (0.5)" in made.sentence


def test_scores_of_a_sweep_are_grouped_and_those_that_never_change_left_out() -> None:
    names = ("fid", "fid_debiased", "recall", "contrast_ratio", "clip_score")
    rows = [_point(name, w, w=w) for name in names for w in (1.0, 2.0)]
    rows += [_point("unscored_images", 0.0, w=w) for w in (1.0, 2.0)]
    made = curves(_results(tables={"curve": tuple(rows)}), "c")
    assert [one.title for one in made] == [
        "Quality against w", "Diversity against w", "Text against w", "Pixels against w"
    ]  # fmt: skip
    assert [one.columns[0] for one in made] == ["w"] * 4
    assert len({one.id for one in made}) == 4
    assert "contrast_ratio is closest to real images at w=1 (1)" in made[-1].sentence


def test_fronts_mark_what_nothing_else_beats() -> None:
    rows = ({"w": 1.0, "precision": 0.5, "recall": 0.9, "non_dominated": True, "share_of_draws": 1.0},
            {"w": 2.0, "precision": 0.4, "recall": 0.3, "non_dominated": False, "share_of_draws": 0.0})  # fmt: skip
    made = front(_results(tables={"front": rows}), "f")
    assert _drawn(made)["data"][0]["marker"]["symbol"] == ["circle", "circle-open"]
    assert made is not None
    assert "These are w=1." in made.sentence
    cost = tuple({"steps": steps, "evaluations": steps, "seconds_per_image": steps / 10, "fid_debiased": fid,
                  "std_error": 0.1} for steps, fid in ((5, 3.0), (10, 1.0), (20, 2.0)))  # fmt: skip
    dear = cost_front(_results(tables={"cost": cost}), "c")
    assert _drawn(dear)["data"][0]["marker"]["symbol"] == ["circle", "circle", "circle-open"]
    assert cost_front(_results(), "c") is None


def test_labels_that_would_lie_over_each_other_are_left_out_but_for_the_ends() -> None:
    assert apart([0, 0.01, 0.5, 1], [0, 0, 0, 0], ["a", "b", "c", "d"], wide=0.1, high=0.1) == ["a", "", "c", "d"]


def test_a_smoothed_constant_is_that_constant_from_the_first_step_on() -> None:
    assert smoothed([3.0] * 50, 10) == pytest.approx([3.0] * 50)
    # With a span of 2 each value counts half of what went before: (1/4 * 0 + 1/2 * 3) / (3/4).
    assert smoothed([0.0, 3.0], 2) == pytest.approx([0.0, 2.0])


def test_training_curves_keep_at_most_500_points_and_what_was_logged() -> None:
    log = [{"step": step, "loss": 2.0, "gradient_norm": 1.0, "lr": 0.1} for step in range(1, 4001)]
    loss, norm, rate = training_curves(log, "t")
    for one in (loss, norm, rate):
        assert all(len(trace["x"]) <= 501 for trace in _drawn(one)["data"])
    raw, smooth = _drawn(loss)["data"]
    assert set(raw["y"]) == set(smooth["y"]) == {2.0}
    assert raw["x"][-1] == 4000
    assert "exponential moving average over 80 steps" in loss.sentence


def test_seconds_are_stacked_by_stage() -> None:
    results = _results()
    other = replace(results, provenance=replace(results.provenance, seconds={"sampling": 4.0}))
    made = seconds_by_stage([("a", results), ("b", other)], "c")
    sampling, scoring = _drawn(made)["data"]
    assert (sampling["base"], sampling["x"]) == ([0.0, 0.0], [20.0, 4.0])
    assert (scoring["base"], scoring["x"]) == ([20.0, 4.0], [5.0, 0.0])
    assert made is not None
    assert made.sentence.startswith("a: 25.0 s on cpu; sampling takes most, 50 images per second")
    assert made.rows[0] == ("a", "sampling", "20.0", "50")


def test_long_curves_of_checks_are_thinned_and_failing_ones_have_a_picture() -> None:
    rows = tuple({"timestep": t, "step_to_next": float(t)} for t in range(1999))
    (made,) = check_figures("timestep-embedding", {"timestep-embedding": rows}, 0, static=True)
    assert len(_drawn(made)["data"][0]["x"]) <= 500
    assert made.static.startswith("<svg")
    assert "1 of 1999 steps are none" in made.sentence
    assert "The least step is 0, from t=0, the largest 1998, from t=1998." in made.sentence


@pytest.mark.parametrize(("status", "elsewhere"), [("pass", False), ("fail", True)])
def test_an_embedding_that_is_whole_is_not_blamed_for_what_lies_behind_it(status: str, elsewhere: bool) -> None:
    rows = tuple({"timestep": t, "step_to_next": 0.1 + t / 1000} for t in range(9))
    (made,) = check_figures("timestep-embedding", {"timestep-embedding": rows}, 0, status)
    assert "tells all 10 timesteps apart" in made.sentence
    assert ("lies elsewhere" in made.sentence) == elsewhere


@pytest.mark.parametrize(
    ("status", "said"),
    [("pass", "lie on its line"), ("fail", "another schedule"), ("inconclusive", "no evidence against the schedule")],
)
def test_the_schedule_is_accused_only_where_its_check_fails(status: str, said: str) -> None:
    implied = [{"log_snr": float(level), "best_timestep": 0.0, "declared_timestep": 50} for level in (-1, 0, 1)]
    declared = [{"timestep": t, "log_snr": 1.0 - t / 50} for t in (0, 50, 100)]
    risk = [{"log_snr": 0.0, "timestep": t, "risk": 0.5, "over_least": 1.0} for t in (0, 50, 100)]
    tables = {"noise-schedule": implied, "noise-schedule.declared": declared, "noise-schedule.risk": risk}
    curve, heat = check_figures("noise-schedule", tables, 0, status)
    assert said in curve.sentence
    assert ("another schedule" in curve.sentence) == (status == "fail")
    assert "All rows are flat" in heat.sentence
