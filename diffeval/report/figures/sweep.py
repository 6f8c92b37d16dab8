"""Every score of a sweep against what was varied, by what the scores are about."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffeval.report.figures.base import GREEN, RUNS, banded, figure, label
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.view import Figure
from diffeval.runs.records import Param, Results
from diffeval.runs.words import interval_text, number

Row = Mapping[str, Param]
# Plain fid is biased by n alone, and is the same curve.
LEFT_OUT = ("fid",)
# Right where real images are, neither high nor low.
ABOUT_REAL = ("saturated_pixels", "colour_saturation", "contrast_ratio", "brightness_ratio")
# What is shown together, the first of which a reader looks for; what is in no group stands in the first.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Quality", ()),
    ("Diversity", ("recall", "coverage", "within_class_distance", "within_prompt_diversity", "vendi")),
    ("Text", ("clip_score", "clip_margin", "r_precision", "unscored_images")),
    ("Pixels", ABOUT_REAL),
)
# Said once.
HOW = (
    "↑ higher is better, ↓ lower is better; dotted green is what real images read. Bands are 95% intervals of each "
    "point alone: the points share seeds, so that differences are known better."
)
# Points of a setting span so much from which on its axis is logarithmic.
SPAN = 4
# Curves whose bands are drawn, at most: more would hide each other.
BANDS = 3


def curves(results: Results, identifier: str) -> tuple[Figure, ...]:
    """Every score that varies, with its 95% interval and what real images read; a figure for each group."""
    rows = [row for row in results.tables.get("curve", ()) if row["score"] not in LEFT_OUT]
    rows = [row for row in rows if isinstance(row["value"], float)]
    names = [name for name in dict.fromkeys(str(row["score"]) for row in rows) if _varies(rows, name)]
    placed = {name for _, members in GROUPS for name in members}
    found = []
    for place, (title, members) in enumerate(GROUPS):
        mine = [name for name in names if (name in members if members else name not in placed)]
        if mine:
            kept = [row for row in rows if row["score"] in mine]
            found.append(_group(title, mine, kept, f"{identifier}-{title.lower()}", static=place == 0))
    return tuple(found)


def axes(rows: Sequence[Row]) -> tuple[str, ...]:
    """What was varied: the columns before the score."""
    names = list(rows[0])
    return tuple(names[: names.index("score")])


def lines_of(rows: Sequence[Row], settings: Sequence[str]) -> tuple[str, dict[str, list[Row]]]:
    """The setting that lies along x, and the rows of each line: of one combination of all other settings.

    The first setting whose values are numbers lies along x, in ascending order; without one the first.
    """
    numbers = [one for one in settings if all(isinstance(row[one], int | float) for row in rows)]
    along = numbers[0] if numbers else settings[0]
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = " ".join(f"{one}={text_of(row[one])}" for one in settings if one != along)
        found.setdefault(name, []).append(row)
    if numbers:
        found = {name: sorted(mine, key=lambda row: float(row[along] or 0)) for name, mine in found.items()}
    return along, found


def along_axis(values: Sequence[Param], title: str) -> dict[str, Any]:
    """An axis for the values of a setting: logarithmic where they span much, with a tick at each."""
    numbers = sorted({float(value) for value in values if isinstance(value, int | float)})
    if len(numbers) < len({str(value) for value in values}):
        return {"title": {"text": title}, "type": "category"}
    log = numbers[0] > 0 and numbers[-1] >= SPAN * numbers[0]
    shown = _apart(numbers, log=log)
    ticks = {"tickvals": shown, "ticktext": [f"{one:g}" for one in shown]}
    return {"title": {"text": title}, "type": "log" if log else "linear", **ticks}


def _apart(values: Sequence[float], *, log: bool) -> list[float]:
    """Those whose ticks have room beside each other; both ends always do."""

    def place(value: float) -> float:
        low, high = (values[0], values[-1]) if not log else (math.log(values[0]), math.log(values[-1]))
        return ((math.log(value) if log else value) - low) / ((high - low) or 1.0)

    kept = [values[0]]
    for value in values[1:-1]:
        if place(value) - place(kept[-1]) >= 0.1 and place(value) <= 0.9:
            kept.append(value)
    return [*kept, *values[-1:]] if len(values) > 1 else kept


def _group(title: str, names: Sequence[str], rows: Sequence[Row], identifier: str, *, static: bool) -> Figure:
    settings = axes(rows)
    made = panel_layout([_titled(name, rows) for name in names])
    traces: list[dict[str, Any]] = []
    along = ""
    for place, name in enumerate(names):
        mine = [row for row in rows if row["score"] == name]
        along, lines = lines_of(mine, settings)
        made[f"xaxis{suffix(place)}"] |= along_axis([row[along] for row in mine], along)
        traces += _panel(lines, along, suffix(place))
    made["showlegend"] = len(settings) > 1
    if made["showlegend"]:
        made["legend"] = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    columns = (*settings, "score", "value", "std error", "95% interval", "real images")
    table = tuple(
        (*(text_of(row[one]) for one in settings), str(row["score"]), text_of(row["value"]),
         text_of(row["std_error"]), _interval(row["low"], row["high"]), text_of(row["real"]))
        for row in rows
    )  # fmt: skip
    height = panel_height(len(names))
    shown = f"{title} against {' and '.join(settings)}"
    sentence = _sentence(names, rows, settings) + (f" {HOW}" if static else "")
    return figure(identifier, shown, sentence, traces, made, (columns, table), height=height, static=static)


def _titled(name: str, rows: Sequence[Row]) -> str:
    """A score with the direction in which it is better."""
    first = next(row for row in rows if row["score"] == name)
    arrow = "≈ real" if name in ABOUT_REAL else "↑" if first["higher_is_better"] else "↓"
    return f"{name} {arrow}"


def _sentence(names: Sequence[str], rows: Sequence[Row], settings: Sequence[str]) -> str:
    """Where each score is best, in numbers, and what the picture does not say."""
    said = []
    for name in names[:4]:
        mine = [row for row in rows if row["score"] == name]
        if name in ABOUT_REAL:
            real = mine[0]["real"]
            goal = float(real) if isinstance(real, float) else 1.0
            best = min(mine, key=lambda row: abs(float(row["value"] or 0) - goal))
            word = "closest to real images"
        else:
            ahead = max if mine[0]["higher_is_better"] else min
            best = ahead(mine, key=lambda row: float(row["value"] or 0))
            word = "highest" if mine[0]["higher_is_better"] else "lowest"
        at = " ".join(f"{one}={text_of(best[one])}" for one in settings)
        said.append(f"{name} is {word} at {at} ({text_of(best['value'])})")
    return f"{'; '.join(said)}."


def _varies(rows: Sequence[Row], name: str) -> bool:
    values = {row["value"] for row in rows if row["score"] == name}
    return len(values) > 1


def _panel(lines: Mapping[str, Sequence[Row]], along: str, number_: str) -> list[dict[str, Any]]:
    """Bands, what real images read, and the lines of one score."""
    at = {"xaxis": f"x{number_}", "yaxis": f"y{number_}"}
    traces: list[dict[str, Any]] = []
    for place, rows in enumerate(lines.values()):
        if len(lines) <= BANDS and len(rows) > 1 and all(isinstance(row["low"], float) for row in rows):
            x, low, high = ([row[name] for row in rows] for name in (along, "low", "high"))
            traces += banded(x, low, high, RUNS[place % len(RUNS)][0], **at)
    first = max(lines.values(), key=len)
    if all(isinstance(row["real"], float) for row in first):
        traces.append(
            {
                "type": "scatter", "mode": "lines", "x": [row[along] for row in first], "name": "real images",
                "y": [row["real"] for row in first], "line": {"color": GREEN, "dash": "dot", "width": 2},
                "legendgroup": "real", "showlegend": not number_ and len(lines) > 1, **at,
            }
        )  # fmt: skip
    for place, (name, rows) in enumerate(lines.items()):
        colour, dash, symbol = RUNS[place % len(RUNS)]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": label(name), "legendgroup": name,
                "showlegend": not number_ and len(lines) > 1,
                "x": [row[along] for row in rows], "y": [row["value"] for row in rows],
                "line": {"color": colour, "dash": dash, "width": 2},
                "marker": {"color": colour, "symbol": symbol, "size": 7}, **at,
            }
        )  # fmt: skip
    return traces


def _interval(low: Param, high: Param) -> str:
    return interval_text((low, high)) if isinstance(low, float) and isinstance(high, float) else "–"


def text_of(value: Param) -> str:
    """A value of a table as text."""
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)
