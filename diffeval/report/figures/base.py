"""What all figures share: colours, labels, axes, bands, and the one function that makes a figure of them.

Figures are plotly's own JSON. The page sets the colours of text and grid, so that they follow its theme.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from diffeval.report.figures.scales import log_ticks as round_ticks
from diffeval.report.figures.scales import tick_text
from diffeval.report.figures.static import drawn
from diffeval.report.view import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart; every series also has its own dash or marker.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
SKY, AMBER, GREY = "#56b4e9", "#e69f00", "#8a8a8a"
# Each colour with a dash and a mark of its own.
STYLES = (
    (BLUE, "solid", "circle"),
    (ORANGE, "dash", "square"),
    (GREEN, "dot", "diamond"),
    (PURPLE, "dashdot", "triangle-up"),
    (SKY, "longdash", "triangle-down"),
    (AMBER, "longdashdot", "x"),
    (GREY, "solid", "star"),
    (BLUE, "dot", "cross"),
)
# Of runs beside real images, which are green.
RUNS = (*(one for one in STYLES if one[0] != GREEN), (ORANGE, "dot", "pentagon"))
MOST_POINTS = 500
# Decades on an axis up to which each tick is written as a number.
MOST_DECADES = 9
Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]


def figure(
    identifier: str,
    title: str,
    sentence: str,
    data: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    table: Table,
    *,
    height: int = 380,
    static: bool = False,
) -> Figure:
    """A figure as the page takes it: its JSON, and where wanted the same as a static picture.

    Args:
        identifier: unique on the page.
        title: in a few words.
        sentence: what there is to see, with the numbers, and what is good.
        data: traces, as plotly takes them.
        layout: as plotly takes it; axes get sane digits here.
        table: columns and rows below the figure.
        height: pixels.
        static: whether it is a headline, which is also shown without JavaScript and on paper.
    """
    made = _readable(data, layout)
    picture = drawn(data, made, height) if static else ""
    return Figure(identifier, title, sentence, embedded(data, made), *table, height=height, static=picture)


def embedded(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> Markup:
    """A figure as JSON that is safe inside a script element."""
    text = json.dumps({"data": data, "layout": layout}, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def label(text: str) -> str:
    """A text that plotly shows as it is: it takes tags in labels for its own, links among them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def layout(x: str, y: str, *, log_x: bool = False, log_y: bool = False) -> dict[str, Any]:
    """Axes with titles, and a legend above the plot."""
    return {
        "margin": {"l": 70, "r": 20, "t": 30, "b": 50},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": {"title": {"text": x}, "type": "log" if log_x else "linear"},
        "yaxis": {"title": {"text": y}, "type": "log" if log_y else "linear"},
    }


def banded(
    x: Sequence[Any], low: Sequence[Any], high: Sequence[Any], colour: str, **axes: str
) -> list[dict[str, Any]]:
    """A band from low to high, without a name; ``axes`` are those of a panel."""
    shared = {
        "type": "scatter", "mode": "lines", "x": list(x), "line": {"width": 0}, "hoverinfo": "skip",
        "showlegend": False, **axes,
    }  # fmt: skip
    return [
        {**shared, "y": list(low)},
        {**shared, "y": list(high), "fill": "tonexty", "fillcolor": faint(colour)},
    ]


def faint(colour: str, share: float = 0.18) -> str:
    """A colour that lets through what lies below it."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share:g})"


def across(y: float, text: str, colour: str = GREEN) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dotted line at a height, and what it is, as a shape and an annotation of a layout."""
    line = {"color": colour, "dash": "dot", "width": 2}
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}
    said = {
        "xref": "paper", "x": 1, "y": y, "xanchor": "right", "yanchor": "top", "showarrow": False, "text": text,
        "font": {"color": colour, "size": 12},
    }  # fmt: skip
    return shape, said


def decades(low: float, high: float) -> dict[str, Any]:
    """Ticks of a colour bar whose values are logarithms to base 10: the values themselves.

    Args:
        low: least logarithm.
        high: largest logarithm.
    """
    values = [10.0**power * factor for power in range(-12, 13) for factor in (1, 2, 5)]
    places = {value: round(math.log10(value), 6) for value in values}
    shown = [value for value in values if low <= places[value] <= high]
    if len(shown) > 8:
        shown = [value for value in shown if f"{value:e}"[0] == "1"]
    return {"tickvals": [places[value] for value in shown], "ticktext": [f"{value:g}" for value in shown]}


def _readable(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> dict[str, Any]:
    """The layout with digits that a reader can take in, on axes and under the pointer."""
    made = dict(layout)
    for key in layout:
        if key[1:5] != "axis" or key[0] not in "xy":
            continue
        axis = f"{key[0]}{key[5:]}"
        values = [one for trace in data if trace.get(f"{key[0]}axis", key[0]) == axis for one in trace[key[0]]]
        whole = all(isinstance(one, int) for one in values if one is not None)
        mine: dict[str, Any] = {}
        if layout[key].get("type") != "category":
            mine |= {
                "hoverformat": ",d" if whole else ",.4~g", "separatethousands": True, "exponentformat": "power",
                "minexponent": 5,
            }  # fmt: skip
        if layout[key].get("type") == "log" and "tickvals" not in layout[key]:
            mine |= _powers(values)
        made[key] = {**mine, **layout[key]}
    return made


def _powers(values: Sequence[Any]) -> dict[str, Any]:
    """Ticks of a logarithmic axis as round numbers: plotly would mix powers of ten with lone digits."""
    known = [math.log10(one) for one in values if isinstance(one, int | float) and one > 0]
    if not known or max(known) - min(known) > MOST_DECADES:
        return {}
    ticks = round_ticks(min(known) - 0.2, max(known) + 0.2, 9)
    return {"tickvals": ticks, "ticktext": [tick_text(one) for one in ticks]}
