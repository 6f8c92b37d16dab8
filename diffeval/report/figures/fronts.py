"""Fronts of a sweep: quality against diversity, against the text, and against cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffeval.report.figures.base import BLUE, GREY, ORANGE, RUNS, figure, label, layout
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.figures.sweep import along_axis, axes, lines_of, text_of
from diffeval.report.view import Figure
from diffeval.runs.records import Param, Results

Row = Mapping[str, Param]
FAINT = "rgba(138,138,138,0.55)"
TALL = 270
# What a sweep over w is drawn against, as the papers draw it: fidelity to the text, and what it costs.
AGAINST_TEXT = ("fid_debiased", "recall", "within_class_distance")


def front(results: Results, identifier: str) -> Figure | None:
    """Quality against diversity, each point with its setting; None where that was not measured."""
    rows = results.tables.get("front", ())
    if not rows:
        return None
    setting, quality, diversity = list(rows[0])[:3]
    errors = _errors(results, setting)
    x, y = [row[diversity] for row in rows], [row[quality] for row in rows]
    texts = [f"{setting}={text_of(row[setting])}" for row in rows]
    trace = {
        "type": "scatter", "mode": "lines+markers+text", "showlegend": False, "x": x, "y": y,
        "text": apart(x, y, texts, wide=0.07, high=0.06), "hovertext": texts, "textposition": "top right",
        "line": {"color": GREY, "width": 1, "dash": "dot"},
        "marker": {
            "size": 11, "color": [BLUE if row["non_dominated"] else ORANGE for row in rows],
            "symbol": ["circle" if row["non_dominated"] else "circle-open" for row in rows],
        },
        "error_x": _bars(errors, diversity, rows, setting), "error_y": _bars(errors, quality, rows, setting),
    }  # fmt: skip
    kept = [text for text, row in zip(texts, rows, strict=True) if row["non_dominated"]]
    sentence = (
        f"Up is better quality, to the right more diversity. Filled blue points are on the front: no other is as "
        f"good in both. These are {', '.join(kept)}. Bars are two standard errors; the share of draws in the table "
        f"says how often a point stays on the front within the errors."
    )
    table = tuple(tuple(text_of(value) for value in row.values()) for row in rows)
    title = f"{quality.capitalize()} against {diversity}"
    columns = tuple(name.replace("_", " ") for name in rows[0])
    made = layout(f"{diversity} ↑", f"{quality} ↑")
    return figure(identifier, title, sentence, [trace], made, (columns, table), static=True)


def against_text(results: Results, identifier: str) -> Figure | None:
    """FID and diversity against CLIP score, point by point; None where that was not measured."""
    rows = results.tables.get("curve", ())
    setting = axes(rows)[0] if rows and len(axes(rows)) == 1 else None
    held = {(str(row["score"]), row[setting]): row for row in rows if setting and isinstance(row["value"], float)}
    at = [point for score, point in held if score == "clip_score"]
    names = [name for name in AGAINST_TEXT if at and all((name, point) in held for point in at)]
    if setting is None or len(at) < 2 or not names:
        return None
    made = panel_layout(names, tall=TALL)
    errors, texts = _errors(results, setting), [text_of(point) for point in at]
    x = [held["clip_score", point]["value"] for point in at]
    traces = []
    for place, name in enumerate(names):
        y = [held[name, point]["value"] for point in at]
        made[f"xaxis{suffix(place)}"]["title"] = {"text": "clip_score ↑"}
        points = [{setting: point} for point in at]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers+text", "x": x, "y": y,
                "text": apart(x, y, texts, wide=0.14, high=0.07), "textposition": "middle left",
                "hovertext": [f"{setting}={text}" for text in texts],
                "error_y": _bars(errors, name, points, setting),
                "line": {"color": GREY, "width": 1, "dash": "dot"}, "marker": {"size": 9, "color": BLUE},
                "xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}",
            }
        )  # fmt: skip
    scores = [float(value or 0.0) for value in x]
    low, high = scores.index(min(scores)), scores.index(max(scores))
    sentence = (
        f"To the right images follow their prompts better: clip_score goes from {text_of(scores[low])} at "
        f"{setting}={texts[low]} to {text_of(scores[high])} at {setting}={texts[high]}. What that costs is how far "
        f"fid_debiased rises and the diversity falls; numbers at points are {setting}, bars two standard errors."
    )
    columns = (setting, "clip_score", *names)
    table = tuple(tuple(text_of(one) for one in (point, *(held[name, point]["value"] for name in columns[1:])))
                  for point in at)  # fmt: skip
    title, height = "Quality and diversity against CLIP score", panel_height(len(names), tall=TALL)
    return figure(identifier, title, sentence, traces, made, (columns, table), height=height)


def cost_front(results: Results, identifier: str) -> Figure | None:
    """Distance against what a point costs, in network evaluations and in seconds; None where that was not measured."""
    rows = [row for row in results.tables.get("cost", ()) if isinstance(row.get("fid_debiased"), float)]
    if not rows:
        return None
    names = list(rows[0])[: list(rows[0]).index("evaluations")]
    costs = [one for one in ("evaluations", "seconds_per_image") if all(row[one] is not None for row in rows)]
    made = panel_layout(["" for _ in costs], columns=2, tall=TALL)
    made["annotations"] = []
    along, lines = lines_of(rows, names)
    traces, kept = [], list[str]()
    for place, cost in enumerate(costs):
        made[f"xaxis{suffix(place)}"] |= along_axis([row[cost] for row in rows], COSTS[cost])
        if cost != "evaluations":  # round ones of their own: no two points cost the same
            made[f"xaxis{suffix(place)}"] = {
                key: value for key, value in made[f"xaxis{suffix(place)}"].items() if not key.startswith("tick")
            }
        made[f"yaxis{suffix(place)}"]["title"] = {"text": "fid_debiased ↓"}
        best = [row for row in rows if _cheapest(rows, row, cost)]
        if cost == "evaluations":
            kept = [" ".join(f"{name}={text_of(row[name])}" for name in names) for row in best]
        for style, (name, mine) in enumerate(lines.items()):
            traces.append(_costs(name, mine, (along, cost), best, style, place, named=place == 0 and len(lines) > 1))
    made["showlegend"] = len(lines) > 1
    sentence = (
        f"Down is better, to the left cheaper; numbers at points are {along}. Filled points are on the front: no "
        f"other is as cheap and reads lower. By network evaluations these are {', '.join(kept)}. Bars are two "
        f"standard errors; what they do not tell apart is said below. Seconds are this machine's."
    )
    table = tuple(tuple(text_of(value) for value in row.values()) for row in rows)
    columns = tuple(name.replace("_", " ") for name in rows[0])
    height = panel_height(len(costs), 2, tall=TALL)
    return figure(
        identifier, "Quality against cost", sentence, traces, made, (columns, table), height=height, static=True
    )


COSTS = {"evaluations": "network evaluations for an image", "seconds_per_image": "seconds for an image"}


def _costs(
    name: str, rows: Sequence[Row], what: tuple[str, str], best: Sequence[Row], style: int, place: int, *, named: bool
) -> dict[str, Any]:
    """The points of one line in one panel, joined in the order of the setting along it."""
    colour, dash, symbol = RUNS[style % len(RUNS)]
    along, cost = what
    x, y = [row[cost] for row in rows], [row["fid_debiased"] for row in rows]
    texts = [text_of(row[along]) for row in rows]
    errors = [2 * float(row["std_error"] or 0) for row in rows]
    symbols = [symbol if row in best else f"{symbol}-open" for row in rows]
    return {
        "type": "scatter", "mode": "lines+markers+text", "name": label(name), "legendgroup": name, "showlegend": named,
        "x": x, "y": y, "text": texts, "hovertext": [f"{along}={text}" for text in texts],
        "textposition": ["top right", "bottom left", "top left", "bottom right"][style % 4],
        "error_y": {"type": "data", "array": errors, "thickness": 1, "width": 3, "color": FAINT},
        "line": {"color": colour, "dash": dash, "width": 1},
        "marker": {"size": 10, "color": colour, "symbol": symbols},
        "xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}",
    }  # fmt: skip


def _cheapest(rows: Sequence[Row], row: Row, cost: str) -> bool:
    """Whether no other point costs as little and reads better, or costs less and reads as well."""
    mine = float(row[cost] or 0), float(row["fid_debiased"] or 0)
    others = [(float(one[cost] or 0), float(one["fid_debiased"] or 0)) for one in rows if one is not row]
    return not any(all(a <= b for a, b in zip(one, mine, strict=True)) and one != mine for one in others)


def apart(x: Sequence[Param], y: Sequence[Param], texts: Sequence[str], *, wide: float, high: float) -> list[str]:
    """Texts of points, without those that would lie over another; both ends come first.

    Args:
        x: of the points.
        y: of the points.
        texts: of the points.
        wide: what a text takes, as a share of the extent along x.
        high: the same along y.
    """
    points = [(float(one or 0), float(other or 0)) for one, other in zip(x, y, strict=True)]
    spans = [(max(one) - min(one)) or 1.0 for one in zip(*points, strict=True)]
    order = [0, len(points) - 1, *range(1, len(points) - 1)]
    kept: list[int] = []
    for place in order:
        away = [
            abs(points[place][0] - points[other][0]) / spans[0] >= wide
            or abs(points[place][1] - points[other][1]) / spans[1] >= high
            for other in kept
        ]
        if all(away):
            kept.append(place)
    return [text if place in kept else "" for place, text in enumerate(texts)]


def _bars(errors: Mapping[tuple[str, Param], float], score: str, rows: Sequence[Row], setting: str) -> dict[str, Any]:
    lengths = [2 * errors.get((score, row[setting]), 0.0) for row in rows]
    return {"type": "data", "array": lengths, "thickness": 1, "width": 3, "color": FAINT}


def _errors(results: Results, setting: str) -> dict[tuple[str, Param], float]:
    return {
        (str(row["score"]), row[setting]): row["std_error"]
        for row in results.tables.get("curve", ())
        if isinstance(row["std_error"], float) and setting in row
    }
