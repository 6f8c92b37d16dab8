"""Static pictures of figures: where a point lies is worked out by hand."""

import re
from typing import Any

import pytest

from diffeval.report.figures.base import figure, label, layout
from diffeval.report.figures.panels import panel_height, panel_layout
from diffeval.report.figures.scales import linear_ticks, log_ticks, scale_of, tick_text
from diffeval.report.figures.static import MOST_BYTES, WIDTH, drawn

HEIGHT = 300
POINT = re.compile(r"translate\(([\d.]+) ([\d.]+)\)")


def _dots(x: list[Any], y: list[Any], **more: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, **more}


def _at(picture: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in POINT.findall(picture)]


def test_a_point_in_the_middle_of_both_axes_lies_in_the_middle_of_the_plot() -> None:
    made = layout("x", "y")
    low, middle, high = _at(drawn([_dots([0, 5, 10], [-1, 0, 1])], made, HEIGHT))
    left, right = made["margin"]["l"], WIDTH - made["margin"]["r"]
    top, bottom = made["margin"]["t"], HEIGHT - made["margin"]["b"]
    assert middle == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.1)
    # A twentieth of the extent stays free at either end: 1/22 of the axis.
    assert low == pytest.approx((left + (right - left) / 22, bottom - (bottom - top) / 22), abs=0.1)
    assert high == pytest.approx((right - (right - left) / 22, top + (bottom - top) / 22), abs=0.1)


def test_ten_lies_halfway_between_one_and_a_hundred_on_a_logarithmic_axis() -> None:
    low, middle, high = _at(drawn([_dots([1, 10, 100], [1, 10, 100])], layout("x", "y", log_x=True), HEIGHT))
    assert middle[0] == pytest.approx((low[0] + high[0]) / 2, abs=0.1)
    assert low[1] - middle[1] == pytest.approx((low[1] - high[1]) * 9 / 99, abs=0.1)


def test_categories_stand_at_even_distances_in_the_order_given() -> None:
    scale = scale_of({"type": "category", "categoryarray": ["b", "a"]}, ["a", "b", "c"], 0, 300, tight=False)
    assert [scale.at(name) for name in ("b", "a", "c", "d")] == [50, 150, 250, None]


def test_ticks_are_round_and_within_the_axis() -> None:
    assert linear_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert linear_ticks(-0.03, 0.11, 4) == [0, 0.05, 0.1]
    assert log_ticks(-2, 2, 9) == [0.01, 0.1, 1, 10, 100]
    assert log_ticks(0, 1, 9) == [1, 2, 5, 10]
    assert [tick_text(value) for value in (0.30000000000000004, 20000.0, 0, 1e-7)] == ["0.3", "20,000", "0", "1e-07"]


@pytest.mark.parametrize("escaped", [True, False])
def test_hostile_labels_are_text(escaped: bool) -> None:
    hostile = "</svg><script>alert(1)</script>\"'"
    said = label(hostile) if escaped else hostile
    made = layout(said, said)
    made["annotations"] = [{"text": said, "xref": "paper", "yref": "paper", "x": 0, "y": 0}]
    data = [_dots([said, "b"], [1, 2], name=said, line={"color": '"><script>'}), _dots(["b"], [1], name="other")]
    picture = drawn(data, made, HEIGHT)
    assert "<script" not in picture
    assert picture.count("</svg>") == 1
    assert ("&lt;script&gt;alert(1)" in picture) == escaped
    assert not re.search(r"(href|src|style|on\w+)=", picture)


def test_bars_reach_from_zero_to_their_value() -> None:
    bar = {"type": "bar", "orientation": "h", "x": [2.0, 4.0], "y": ["a", "b"]}
    made = layout("", "")
    made["xaxis"]["rangemode"] = "tozero"
    made["yaxis"]["type"] = "category"
    boxes = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn([bar], made, HEIGHT))
    (first, short), (second, long) = [(float(x), float(wide)) for x, wide in boxes]
    assert first == second == made["margin"]["l"]
    assert long == pytest.approx(2 * short, abs=0.1)


def test_stacked_bars_begin_where_the_one_before_ends() -> None:
    shared = {"type": "bar", "orientation": "h", "y": ["a"]}
    made = {**layout("", ""), "barmode": "overlay"}
    made["yaxis"]["type"] = "category"
    data = [{**shared, "x": [3.0], "base": [0.0]}, {**shared, "x": [1.0], "base": [3.0]}]
    boxes = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn(data, made, HEIGHT))
    (first, wide), (second, _) = [(float(x), float(size)) for x, size in boxes]
    assert second == pytest.approx(first + wide, abs=0.1)


def test_a_band_goes_along_its_upper_edge_and_back_along_the_lower() -> None:
    low = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 0], "line": {"width": 0}}
    high = {**low, "y": [1, 1], "fill": "tonexty", "fillcolor": "rgba(0,114,178,0.18)"}
    (band,) = re.findall(
        r'<path d="(M[^"]*z)" fill="rgba\(0,114,178,0.18\)"', drawn([low, high], layout("", ""), HEIGHT)
    )
    corners = [tuple(map(float, one.split())) for one in re.split("[MLz]", band) if one]
    assert len(corners) == 4
    assert corners[0][1] == corners[1][1] < corners[2][1] == corners[3][1]
    assert corners[0][0] == corners[3][0] < corners[1][0] == corners[2][0]


def test_error_bars_have_the_lengths_that_they_are_given() -> None:
    error = {"type": "data", "symmetric": False, "array": [1.0], "arrayminus": [3.0]}
    picture = drawn([_dots([0.0], [0.0], error_y=error)], layout("", ""), HEIGHT)
    ((x, y),) = _at(picture)
    ((at, low, high),) = re.findall(r'd="M([\d.]+) ([\d.]+)V([\d.]+)" stroke="#', picture)
    assert float(at) == x
    assert float(low) - y == pytest.approx(3 * (y - float(high)), abs=0.3)


def test_panels_stand_beside_each_other() -> None:
    made = panel_layout(("left", "right"), 2)
    other = {"xaxis": "x2", "yaxis": "y2"}
    picture = drawn([_dots([0, 1, 2], [0, 1, 2]), _dots([5, 6, 7], [5, 6, 7], **other)], made, panel_height(2, 2))
    points = _at(picture)
    assert max(x for x, _ in points[:3]) < WIDTH / 2 < min(x for x, _ in points[3:])
    assert [y for _, y in points[:3]] == [y for _, y in points[3:]]
    assert ">left</text>" in picture
    assert ">right</text>" in picture


def test_cells_of_a_heat_map_fill_the_plot() -> None:
    heat = {"type": "heatmap", "x": [0, 1], "y": [0, 1], "z": [[0, 1], [None, 1]], "colorscale": "Cividis"}
    made = layout("", "")
    picture = drawn([heat], made, HEIGHT)
    dark, bright = (re.findall(rf'd="([^"]*)" fill="{colour}"', picture) for colour in ("#00224e", "#fee838"))
    assert [one.count("z") for one in dark] == [1]
    assert [one.count("z") for one in bright] == [2]
    assert f"M{made['margin']['l']:.1f} {HEIGHT - made['margin']['b']:.1f}" in dark[0]


def test_what_is_too_large_has_no_picture() -> None:
    n = MOST_BYTES // 40
    assert drawn([_dots(list(range(n)), list(range(n)))], layout("", ""), HEIGHT) == ""


def test_a_figure_has_both_only_where_it_is_a_headline() -> None:
    table = (("x",), (("1",),))
    made = [
        figure("id", "T", "S", [_dots([1, 2], [1, 2])], layout("x", "y"), table, static=static)
        for static in (True, False)
    ]
    assert made[0].static.startswith("<svg")
    assert made[1].static == ""
    assert made[0].json == made[1].json
    assert "viewBox" in made[0].static
    assert "currentColor" in made[0].static
