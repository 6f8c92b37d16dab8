"""Figures of a sweep: every score against what was varied, and quality against diversity."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diffeval.report.figures.base import BLUE, GREEN, ORANGE, embedded, layout
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.view import Figure
from diffeval.runs.records import Param, Results
from diffeval.runs.words import interval_text, number

Row = Mapping[str, Param]
# Plain fid is biased by n alone, and is the same curve.
LEFT_OUT = ("fid",)


def curves(results: Results, identifier: str) -> Figure | None:
    """Every score at every point, with its 95% interval and what real images read; None without points."""
    rows = [row for row in results.tables.get("curve", ()) if row["score"] not in LEFT_OUT]
    rows = [row for row in rows if isinstance(row["value"], float)]
    names = [name for name in dict.fromkeys(str(row["score"]) for row in rows) if _varies(rows, name)]
    if not names:
        return None
    axis = axes(rows)
    traces: list[dict[str, Any]] = []
    titles = []
    for name in names:
        mine = [row for row in rows if row["score"] == name]
        arrow = "higher is better" if mine[0]["higher_is_better"] else "lower is better"
        titles.append(name if name in ABOUT_REAL else f"{name} ({arrow})")
    figure_layout = panel_layout(titles)
    for place, name in enumerate(names):
        mine = [row for row in rows if row["score"] == name]
        if len(axis) != 1 or not isinstance(mine[0][axis[0]], float | int):
            figure_layout[f"xaxis{suffix(place)}"]["type"] = "category"
        traces += _panel(mine, axis, suffix(place))
    sentence = (
        "Bands are 95% intervals of each point by itself; the points share seeds and labels, so that differences are "
        "known better than the bands say. Dotted: what real images read."
    )
    table = tuple(
        (
            *(_text(row[one]) for one in axis),
            str(row["score"]),
            _text(row["value"]),
            _text(row["std_error"]),
            _interval(row["low"], row["high"]),
        )
        for row in rows
    )
    return Figure(
        identifier,
        f"Every score against {', '.join(axis)}",
        sentence,
        embedded(traces, figure_layout),
        (*axis, "score", "value", "std error", "95% interval"),
        table,
        height=panel_height(len(names)),
    )


# Right where real images are, neither high nor low.
ABOUT_REAL = ("saturated_pixels", "colour_saturation", "contrast_ratio", "brightness_ratio")


def axes(rows: Sequence[Row]) -> tuple[str, ...]:
    """What was varied: the columns before the score."""
    names = list(rows[0])
    return tuple(names[: names.index("score")])


def front(results: Results, identifier: str) -> Figure | None:
    """Quality against diversity, each point with its setting; None where that was not measured."""
    rows = results.tables.get("front", ())
    if not rows:
        return None
    setting, quality, diversity = list(rows[0])[:3]
    errors = _errors(results, setting)
    colours = [BLUE if row["non_dominated"] else ORANGE for row in rows]
    trace = {
        "type": "scatter", "mode": "lines+markers+text", "showlegend": False,
        "x": [row[diversity] for row in rows], "y": [row[quality] for row in rows],
        "text": [f"{setting}={_text(row[setting])}" for row in rows], "textposition": "top center",
        "line": {"color": "#8a8a8a", "width": 1, "dash": "dot"}, "marker": {"size": 10, "color": colours},
        "error_x": _bars(errors, diversity, rows, setting),
        "error_y": _bars(errors, quality, rows, setting),
    }  # fmt: skip
    kept = [f"{setting}={_text(row[setting])}" for row in rows if row["non_dominated"]]
    sentence = (
        f"Blue: no other point is as good in both. These are {', '.join(kept)}. Bars are two standard errors; the "
        f"share of draws says how often a point stays on the front within the errors."
    )
    table = tuple(tuple(_text(value) for value in row.values()) for row in rows)
    return Figure(
        identifier,
        f"{quality} against {diversity}",
        sentence,
        embedded([trace], layout(diversity, quality)),
        tuple(name.replace("_", " ") for name in rows[0]),
        table,
    )


# What a sweep over w is drawn against, as the papers draw it: fidelity to the text, and what it costs.
AGAINST_TEXT = ("fid_debiased", "recall", "within_class_distance")


def against_text(results: Results, identifier: str) -> Figure | None:
    """FID and diversity against CLIP score, point by point; None where that was not measured."""
    rows = results.tables.get("curve", ())
    setting = axes(rows)[0] if rows and len(axes(rows)) == 1 else None
    held = {(str(row["score"]), row[setting]): row for row in rows if setting and isinstance(row["value"], float)}
    at = [point for score, point in held if score == "clip_score"]
    names = [name for name in AGAINST_TEXT if at and all((name, point) in held for point in at)]
    if setting is None or len(at) < 2 or not names:
        return None
    made = panel_layout([f"{name} against clip_score" for name in names], columns=len(names))
    texts = [f"{setting}={_text(point)}" for point in at]
    traces = [
        {
            "type": "scatter", "mode": "lines+markers+text", "text": texts,
            # In turn on either side: where the score has reached its end, points stand one over the other.
            "textposition": ["middle right" if place % 2 else "middle left" for place in range(len(at))],
            "x": [held["clip_score", point]["value"] for point in at],
            "y": [held[name, point]["value"] for point in at],
            "error_y": _bars(_errors(results, setting), name, [{setting: point} for point in at], setting),
            "line": {"color": "#8a8a8a", "width": 1, "dash": "dot"}, "marker": {"size": 9, "color": BLUE},
            "xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}",
        }
        for place, name in enumerate(names)
    ]  # fmt: skip
    low, high = (min(at, key=_text_score(held)), max(at, key=_text_score(held)))
    sentence = (
        f"To the right images follow their prompts better: clip_score goes from "
        f"{_text(held['clip_score', low]['value'])} at {setting}={_text(low)} to "
        f"{_text(held['clip_score', high]['value'])} at {setting}={_text(high)}. Bars are two standard errors."
    )
    columns = (setting, "clip_score", *names)
    table = tuple(
        tuple(_text(one) for one in (point, *(held[name, point]["value"] for name in columns[1:]))) for point in at
    )
    title, drawn = "Quality and diversity against CLIP score", embedded(traces, made)
    return Figure(identifier, title, sentence, drawn, columns, table, height=330)


def _text_score(held: Mapping[tuple[str, Param], Row]) -> Callable[[Param], float]:
    return lambda point: float(held["clip_score", point]["value"] or 0.0)


def cost_front(results: Results, identifier: str) -> Figure | None:
    """Distance against what a point costs, in network evaluations and in seconds; None where that was not measured."""
    rows = [row for row in results.tables.get("cost", ()) if isinstance(row["fid_debiased"], float)]
    if not rows:
        return None
    names = list(rows[0])[: list(rows[0]).index("evaluations")]
    labels = [" ".join(_text(row[name]) for name in names) for row in rows]
    costs = [one for one in ("evaluations", "seconds_per_image") if all(row[one] is not None for row in rows)]
    made = panel_layout([f"fid_debiased against {cost.replace('_', ' ')}" for cost in costs], columns=len(costs))
    traces, kept = [], list[str]()
    errors = [2 * float(row["std_error"] or 0) for row in rows]
    bars = {"type": "data", "array": errors, "thickness": 1, "color": "#8a8a8a"}
    for place, cost in enumerate(costs):
        best = [_cheapest(rows, row, cost) for row in rows]
        if cost == "evaluations":
            kept = [label for label, one in zip(labels, best, strict=True) if one]
        made[f"xaxis{suffix(place)}"]["type"] = "log"
        traces.append(
            {
                "type": "scatter", "mode": "markers+text", "text": labels, "textposition": "top center",
                "x": [row[cost] for row in rows], "y": [row["fid_debiased"] for row in rows],
                "error_y": bars,
                "marker": {"size": 10, "color": [BLUE if one else ORANGE for one in best]},
                "xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}",
            }
        )  # fmt: skip
    sentence = (
        f"Blue: no point is as cheap and reads better. By network evaluations these are {', '.join(kept)}. Bars are "
        f"two standard errors; what they do not tell apart is said below. Seconds are this machine's."
    )
    table = tuple(tuple(_text(value) for value in row.values()) for row in rows)
    columns = tuple(name.replace("_", " ") for name in rows[0])
    return Figure(identifier, "Quality against cost", sentence, embedded(traces, made), columns, table, height=320)


def _cheapest(rows: Sequence[Row], row: Row, cost: str) -> bool:
    """Whether no other point costs as little and reads better, or costs less and reads as well."""
    mine = float(row[cost] or 0), float(row["fid_debiased"] or 0)
    others = [(float(one[cost] or 0), float(one["fid_debiased"] or 0)) for one in rows if one is not row]
    return not any(all(a <= b for a, b in zip(one, mine, strict=True)) and one != mine for one in others)


def _bars(errors: Mapping[tuple[str, Param], float], score: str, rows: Sequence[Row], setting: str) -> dict[str, Any]:
    lengths = [2 * errors.get((score, row[setting]), 0.0) for row in rows]
    return {"type": "data", "array": lengths, "thickness": 1, "color": "#8a8a8a"}


def _varies(rows: Sequence[Row], name: str) -> bool:
    values = {row["value"] for row in rows if row["score"] == name}
    return len(values) > 1


def _errors(results: Results, setting: str) -> dict[tuple[str, Param], float]:
    return {
        (str(row["score"]), row[setting]): row["std_error"]
        for row in results.tables.get("curve", ())
        if isinstance(row["std_error"], float)
    }


def _panel(rows: Sequence[Row], axis: Sequence[str], number_: str) -> list[dict[str, Any]]:
    at = [row[axis[0]] if len(axis) == 1 else " ".join(_text(row[one]) for one in axis) for row in rows]
    shared = {"type": "scatter", "x": at, "xaxis": f"x{number_}", "yaxis": f"y{number_}"}
    line = {**shared, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    traces: list[dict[str, Any]] = []
    if all(isinstance(row["low"], float) for row in rows):
        traces += [
            {**line, "y": [row["low"] for row in rows]},
            {**line, "y": [row["high"] for row in rows], "fill": "tonexty", "fillcolor": "rgba(0,114,178,0.18)"},
        ]
    if all(isinstance(row["real"], float) for row in rows):
        real = {**line, "y": [row["real"] for row in rows], "line": {"color": GREEN, "dash": "dot", "width": 2}}
        traces.append(real)
    marks = {"line": {"color": BLUE, "width": 2}, "marker": {"size": 7}}
    traces.append({**shared, **marks, "mode": "lines+markers", "y": [row["value"] for row in rows]})
    return traces


def _interval(low: Param, high: Param) -> str:
    return interval_text((low, high)) if isinstance(low, float) and isinstance(high, float) else ""


def _text(value: Param) -> str:
    return number(value) if isinstance(value, float) else str(value)
