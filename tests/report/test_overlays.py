"""Curves of health checks on one pair of axes: what is drawn is what the table holds."""

import json

from diffeval.report.figures.checks import check_figures

ROWS = (
    {"log_snr": 2.0, "true": 0.2, "wrong": 0.3, "null": None, "mean_of_classes": 0.25},
    {"log_snr": 0.0, "true": 0.1, "wrong": 0.2, "null": 0.15, "mean_of_classes": 0.18},
)


def test_risks_by_class_share_their_axes_and_leave_gaps_out() -> None:
    (figure,) = check_figures("guidance-branch", {"guidance-branch": ROWS}, 0)
    drawn = json.loads(figure.json)
    assert [one["name"] for one in drawn["data"]] == ["true class", "a wrong class", "null class", "mean of all"]
    assert drawn["data"][0]["x"] == [2.0, 0.0]
    assert drawn["data"][0]["y"] == [0.2, 0.1]
    assert drawn["data"][2]["x"] == [0.0]
    assert len({one["line"]["dash"] for one in drawn["data"]}) == 4
    assert figure.rows[0] == ("2", "0.2", "0.3", "–", "0.25")


def test_ranges_are_named_beside_their_dots_the_declared_one_on_top() -> None:
    rows = ({"map": "declared", "log_snr 2": 0.2}, {"map": "images in 0 to 1", "log_snr 2": 0.9})
    (figure,) = check_figures("data-range", {"data-range": rows}, 0)
    drawn = json.loads(figure.json)
    assert drawn["data"][0]["y"] == ["images in 0 to 1", "declared"]
    assert drawn["data"][0]["x"] == [0.9, 0.2]
    assert drawn["layout"]["yaxis"]["type"] == "category"
