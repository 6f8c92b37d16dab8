"""A plotly figure as a small inline SVG: for where there is no JavaScript, for paper, and until plotly has drawn.

What the figures of the page are made of is drawn, and no more: lines, markers, bands, error bars, bars, heat maps,
lines across, annotations and a legend. It takes the colours of text and grid from the page.
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from diffeval.report.figures.marks import bars, colour_of, heat, lines
from diffeval.report.figures.scales import Scale, scale_of

# Pixels that a figure is wide, and that a letter is, on average, at the size of the text.
WIDTH, LETTER, SIZE = 900, 6.9, 12
# A figure that would need more bytes is left to plotly: the page would grow by what few look at.
MOST_BYTES = 25_000
Trace = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes, and what is drawn on it."""

    x: Scale
    y: Scale
    x_axis: Mapping[str, Any]
    y_axis: Mapping[str, Any]
    traces: tuple[Trace, ...]


def drawn(data: Sequence[Trace], layout: Mapping[str, Any], height: int) -> Markup:
    """The figure as SVG; empty where it has more than belongs into a small picture.

    Args:
        data: traces, as plotly takes them.
        layout: as plotly takes it.
        height: pixels.
    """
    legend = list(_legend(data, layout))
    # Titles of panels stand between the legend and them.
    lifted = 20.0 if legend and "domain" in layout.get("xaxis", {}) and layout.get("annotations") else 0.0
    inner = _inner(layout, height, _legend_rows(legend) if legend else 0, lifted)
    panels = {name: _panel(name, data, layout, inner) for name in _names(data)}
    body = [
        *(piece for panel in panels.values() for piece in _frame(panel)),
        *(piece for panel in panels.values() for piece in _marks(panel, layout)),
        *_shapes(layout, panels, inner),
        *_annotations(layout, panels, inner),
        *_drawn_legend(legend, inner, lifted),
    ]
    picture = (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" font-size="{SIZE}" '
        f'xmlns="http://www.w3.org/2000/svg" fill="none">{"".join(body)}</svg>'
    )
    return Markup(picture) if len(picture.encode()) <= MOST_BYTES else Markup("")


@dataclass(frozen=True, slots=True)
class Inner:
    """The area between the margins, in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    def x(self, share: float) -> float:
        """Pixel of a share of the width."""
        return self.left + share * (self.right - self.left)

    def y(self, share: float) -> float:
        """Pixel of a share of the height, from the bottom."""
        return self.bottom - share * (self.bottom - self.top)


def _inner(layout: Mapping[str, Any], height: int, legend_rows: int, lifted: float) -> Inner:
    margin = {"l": 70, "r": 20, "t": 30, "b": 50, **layout.get("margin", {})}
    left = max(margin["l"], _widest(layout))
    return Inner(left, WIDTH - margin["r"], max(margin["t"], 12 + 18 * legend_rows) + lifted, height - margin["b"])


def _widest(layout: Mapping[str, Any]) -> float:
    """What names of categories along y need."""
    names = layout.get("yaxis", {}).get("categoryarray") or ()
    return 30 + LETTER * max((len(plain(str(name))) for name in names), default=0)


def _names(data: Sequence[Trace]) -> list[str]:
    """Pairs of axes, each by the suffix of its x axis, in the order in which they occur."""
    return list(dict.fromkeys(str(trace.get("xaxis", "x"))[1:] for trace in data))


def _panel(name: str, data: Sequence[Trace], layout: Mapping[str, Any], inner: Inner) -> Panel:
    mine = tuple(trace for trace in data if str(trace.get("xaxis", "x"))[1:] == name)
    x_axis, y_axis = layout.get(f"xaxis{name}", {}), layout.get(f"yaxis{name}", {})
    across, up = x_axis.get("domain", (0, 1)), y_axis.get("domain", (0, 1))
    x_values, y_values = _values(mine, "x"), _values(mine, "y")
    x_values += [shape[end] for shape in layout.get("shapes", ()) for end in ("x0", "x1") if _on(shape, "x", name)]
    y_values += [shape[end] for shape in layout.get("shapes", ()) for end in ("y0", "y1") if _on(shape, "y", name)]
    tight = any(trace["type"] == "heatmap" for trace in mine)
    return Panel(
        scale_of(x_axis, x_values, inner.x(across[0]), inner.x(across[1]), tight=tight),
        scale_of(y_axis, y_values, inner.y(up[0]), inner.y(up[1]), tight=tight),
        x_axis, y_axis, mine,
    )  # fmt: skip


def _on(shape: Mapping[str, Any], letter: str, name: str) -> bool:
    return str(shape.get(f"{letter}ref", letter)) == f"{letter}{name}"


def _values(traces: Sequence[Trace], letter: str) -> list[Any]:
    """Everything that traces put on an axis: values, ends of error bars, feet of bars, edges of cells."""
    found: list[Any] = []
    for trace in traces:
        values = list(trace.get(letter, ()))
        found += values
        numbers = [value for value in values if isinstance(value, int | float)]
        error = trace.get(f"error_{letter}")
        if error:
            minus = error.get("arrayminus", error["array"])
            found += [value + more for value, more in zip(values, error["array"], strict=True) if _both(value, more)]
            found += [value - less for value, less in zip(values, minus, strict=True) if _both(value, less)]
        if trace["type"] == "bar" and (trace.get("orientation") == "h") == (letter == "x"):
            bases = trace.get("base") or [0.0] * len(values)
            found += [*bases, *(base + value for base, value in zip(bases, values, strict=True))]
        if trace["type"] == "heatmap" and len(numbers) > 1 and len(numbers) == len(values):
            found += [numbers[0] - (numbers[1] - numbers[0]) / 2, numbers[-1] + (numbers[-1] - numbers[-2]) / 2]
    return found


def _both(value: Any, length: Any) -> bool:
    return isinstance(value, int | float) and isinstance(length, int | float)


def _frame(panel: Panel) -> Iterator[str]:
    """Grid, ticks and titles of the axes."""
    x, y = panel.x, panel.y
    bottom, top, left, right = max(y.begin, y.end), min(y.begin, y.end), min(x.begin, x.end), max(x.begin, x.end)
    for value, text in y.ticks:
        at = y.at(value)
        if at is not None and top - 1 <= at <= bottom + 1:
            yield f'<path d="M{left:.1f} {at:.1f}H{right:.1f}" stroke="var(--line)"/>'
            yield said(text, left - 6, at + 4, anchor="end")
    free = 0.0
    for value, text in x.ticks:
        at = x.at(value)
        wide = LETTER * len(plain(text)) / 2
        if at is not None and left - 1 <= at <= right + 1:
            yield f'<path d="M{at:.1f} {top:.1f}V{bottom:.1f}" stroke="var(--line)"/>'
            if at - wide > free:
                yield said(text, at, bottom + 17, anchor="middle")
                free = at + wide + 4
    yield f'<path d="M{left:.1f} {bottom:.1f}H{right:.1f}" stroke="var(--muted)"/>'
    yield said(_title(panel.x_axis), (left + right) / 2, bottom + 36, anchor="middle")
    if _title(panel.y_axis):
        wide = max((LETTER * len(plain(text)) for _, text in y.ticks), default=0)
        across, up = max(left - wide - 16, 12), (top + bottom) / 2
        turned = f' transform="rotate(-90 {across:.1f} {up:.1f})"'
        yield said(_title(panel.y_axis), across, up, anchor="middle", more=turned)


def _title(axis: Mapping[str, Any]) -> str:
    title = axis.get("title", "")
    return str(title.get("text", "") if isinstance(title, Mapping) else title)


def _marks(panel: Panel, layout: Mapping[str, Any]) -> Iterator[str]:
    """What lies on the axes, in the order of the traces; bands need the line before theirs."""
    before: Trace | None = None
    bar_traces = [trace for trace in panel.traces if trace["type"] == "bar"]
    for trace in panel.traces:
        if trace["type"] == "scatter":
            yield from lines(trace, before, panel.x, panel.y)
            before = trace
        elif trace["type"] == "heatmap":
            yield from heat(trace, panel.x, panel.y)
        elif trace["type"] == "bar":
            side = 0 if layout.get("barmode") in {"stack", "overlay"} else bar_traces.index(trace)
            beside = 1 if layout.get("barmode") in {"stack", "overlay"} else len(bar_traces)
            yield from bars(trace, panel.x, panel.y, side, beside)
    for trace in panel.traces:  # on top of every mark
        if "text" in str(trace.get("mode", "")):
            for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True):
                across, up = panel.x.at(x), panel.y.at(y)
                if across is not None and up is not None:
                    yield said(str(text), across, up - 9, anchor="middle")


def _placed(ref: str, value: Any, panels: Mapping[str, Panel], inner: Inner) -> float | None:
    """Pixel of a coordinate that is a share of the paper, of an axis' domain, or a value on an axis."""
    letter, name = ref[0], ref[1:].removesuffix(" domain")
    if ref == "paper" or name not in panels:
        return None
    scale = panels[name].x if letter == "x" else panels[name].y
    return scale.begin + value * (scale.end - scale.begin) if ref.endswith(" domain") else scale.at(value)


def _across(one: Mapping[str, Any], key: str, panels: Mapping[str, Panel], inner: Inner) -> float | None:
    ref = str(one.get("xref", "x"))
    return inner.x(one[key]) if ref == "paper" else _placed(ref, one[key], panels, inner)


def _up(one: Mapping[str, Any], key: str, panels: Mapping[str, Panel], inner: Inner) -> float | None:
    ref = str(one.get("yref", "y"))
    return inner.y(one[key]) if ref == "paper" else _placed(ref, one[key], panels, inner)


def _shapes(layout: Mapping[str, Any], panels: Mapping[str, Panel], inner: Inner) -> Iterator[str]:
    for one in layout.get("shapes", ()):
        x0, x1 = _across(one, "x0", panels, inner), _across(one, "x1", panels, inner)
        y0, y1 = _up(one, "y0", panels, inner), _up(one, "y1", panels, inner)
        if x0 is None or x1 is None or y0 is None or y1 is None:
            continue
        if one["type"] == "rect":
            corner = f'x="{min(x0, x1):.1f}" y="{min(y0, y1):.1f}"'
            size = f'width="{abs(x1 - x0):.1f}" height="{abs(y1 - y0):.1f}"'
            yield f'<rect {corner} {size} fill="{colour_of(one.get("fillcolor", "none"))}"/>'
        elif one["type"] == "line":
            line = one.get("line", {})
            dash = ' stroke-dasharray="4 4"' if line.get("dash") else ""
            stroke = f'stroke="{colour_of(line.get("color"))}" stroke-width="{float(line.get("width", 1)):g}"'
            yield f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" {stroke}{dash}/>'


ANCHORS = {"left": "start", "center": "middle", "right": "end"}
BELOW = {"bottom": -4.0, "middle": 4.0, "top": 13.0}


def _annotations(layout: Mapping[str, Any], panels: Mapping[str, Panel], inner: Inner) -> Iterator[str]:
    for one in layout.get("annotations", ()):
        x, y = _across(one, "x", panels, inner), _up(one, "y", panels, inner)
        if x is None or y is None:
            continue
        colour = str(one.get("font", {}).get("color", "currentColor"))
        anchor = ANCHORS.get(str(one.get("xanchor")), "middle")
        yield said(str(one["text"]), x, y + BELOW.get(str(one.get("yanchor")), 4.0), anchor=anchor, colour=colour)


Entry = tuple[str, Trace, int, float]


def _legend(data: Sequence[Trace], layout: Mapping[str, Any]) -> Iterator[Entry]:
    """Name, trace, row and left end of each entry."""
    shown = [trace for trace in data if trace.get("name") and trace.get("showlegend") is not False]
    if layout.get("showlegend", len(shown) > 1) is False:
        return
    row, at = 0, 0.0
    for trace in shown:
        wide = 44 + LETTER * len(plain(str(trace["name"])))
        if at and at + wide > WIDTH - 90:
            row, at = row + 1, 0.0
        yield str(trace["name"]), trace, row, at
        at += wide


def _legend_rows(legend: Sequence[Entry]) -> int:
    return 1 + max(row for _, _, row, _ in legend)


def _drawn_legend(legend: Sequence[Entry], inner: Inner, lifted: float) -> Iterator[str]:
    for name, trace, row, at in legend:
        y = inner.top - lifted - 10 - 18 * (_legend_rows(legend) - 1 - row)
        x, flat = Scale("linear", 0, 1, inner.left + at, inner.left + at + 26), Scale("linear", 0, 1, y, y - 1)
        mode = str(trace.get("mode", "lines"))
        if trace["type"] != "scatter":
            colour = trace.get("marker", {}).get("color")
            yield f'<rect x="{x.begin + 7:.1f}" y="{y - 6:.1f}" width="12" height="12" fill="{colour_of(colour)}"/>'
        elif "lines" in mode:
            yield from lines({"line": trace.get("line", {}), "x": [0, 1], "y": [0, 0]}, None, x, flat)
        if trace["type"] == "scatter" and "markers" in mode:
            marker = {"marker": trace.get("marker", {}), "line": trace.get("line", {})}
            yield from lines({**marker, "mode": "markers", "x": [0.5], "y": [0]}, None, x, flat)
        yield said(name, inner.left + at + 31, y + 4, anchor="start")


def plain(text: str) -> str:
    """A label of plotly as it is read: its tags are no text, its entities are letters."""
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def said(text: str, x: float, y: float, *, anchor: str, colour: str = "currentColor", more: str = "") -> str:
    """A text in the picture, escaped; nothing of an empty one."""
    shown = escape(plain(text))
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour_of(colour)}"{more}'
    return f"<text {place}>{shown}</text>" if shown else ""
