"""Lines, markers, bands, bars and cells of a plotly trace as SVG."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from diffeval.report.figures.scales import Scale

Trace = Mapping[str, Any]
Points = Sequence[tuple[float, float] | None]
DASHES = {"dash": "8 5", "dot": "2 4", "dashdot": "8 4 2 4", "longdash": "12 5", "longdashdot": "12 4 2 4"}
# Markers as paths around 0, at a radius of 1.
SYMBOLS = {
    "circle": "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0 -2 0z",
    "square": "M-.9 -.9H.9V.9H-.9z",
    "diamond": "M0 -1.2L1.2 0L0 1.2L-1.2 0z",
    "triangle-up": "M0 -1.1L1 .8H-1z",
    "triangle-down": "M0 1.1L1 -.8H-1z",
    "x": "M-1 -.6L-.6 -1L0 -.4L.6 -1L1 -.6L.4 0L1 .6L.6 1L0 .4L-.6 1L-1 .6L-.4 0z",
    "line-ns": "M-.2 -1.6H.2V1.6H-.2z",
    "star": "M0 -1.3L.4 -.4L1.3 -.3L.6 .3L.8 1.2L0 .7L-.8 1.2L-.6 .3L-1.3 -.3L-.4 -.4z",
    "cross": "M-.35 -1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35z",
    "pentagon": "M0 -1.1L1.05 -.3L.65 .9H-.65L-1.05 -.3z",
}
DEFAULT = "#0072b2"
COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|rgba?\([0-9., ]+\)|[a-z]+")
# Colour scales, by evenly spaced stops.
SCALES = {
    "Cividis": ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55",
                "#fee838"),
}  # fmt: skip
# Colours that cells are rounded to, so that those of one colour share a path.
LEVELS = 24


def lines(trace: Trace, before: Trace | None, x: Scale, y: Scale) -> Iterator[str]:
    """A scatter trace: its band towards the trace before, its line, error bars and markers."""
    points = _points(trace, x, y)
    mode = str(trace.get("mode", "lines"))
    line, marker = trace.get("line", {}), trace.get("marker", {})
    if trace.get("fill") == "tonexty" and before is not None:
        around = [*_known(points), *reversed(_known(_points(before, x, y)))]
        if around:
            yield f'<path d="{_path(around)}z" fill="{colour_of(trace.get("fillcolor"))}"/>'
    if "lines" in mode and line.get("width", 2) > 0:
        dash = DASHES.get(str(line.get("dash", "")), "")
        stroke = f'stroke="{colour_of(line.get("color"))}" stroke-width="{float(line.get("width", 2)):g}"'
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        path = _path(points, steps=line.get("shape") == "hvh")
        if path:
            yield f'<path d="{path}" {stroke}{dashed} stroke-linejoin="round"/>'
    for letter in ("x", "y"):
        if trace.get(f"error_{letter}"):
            yield from _errors(trace, letter, x, y)
    if "markers" in mode:
        yield from _markers(points, marker, line)


def _points(trace: Trace, x: Scale, y: Scale) -> Points:
    found: list[tuple[float, float] | None] = []
    for one, other in zip(trace["x"], trace["y"], strict=True):
        across, up = x.at(one), y.at(other)
        found.append(None if across is None or up is None else (across, up))
    return found


def _known(points: Points) -> list[tuple[float, float]]:
    return [point for point in points if point is not None]


def _path(points: Points, *, steps: bool = False) -> str:
    """Lines from point to point; gaps stay gaps."""
    found, begun, before = [], False, (0.0, 0.0)
    for point in points:
        if point is None:
            begun = False
            continue
        if begun and steps:
            found.append(f"H{(before[0] + point[0]) / 2:.1f}V{point[1]:.1f}H{point[0]:.1f}")
        else:
            found.append(f"{'L' if begun else 'M'}{point[0]:.1f} {point[1]:.1f}")
        begun, before = True, point
    return "".join(found)


def _markers(points: Points, marker: Mapping[str, Any], line: Mapping[str, Any]) -> Iterator[str]:
    colours = marker.get("color", line.get("color"))
    symbols = marker.get("symbol", "circle")
    size = float(marker.get("size", 7)) / 2
    for place, point in enumerate(points):
        if point is None:
            continue
        colour = colours if isinstance(colours, str) or colours is None else colours[place]
        if not isinstance(colour, str):
            colour = _shade(float(colour), marker) if colour is not None else DEFAULT
        name = str(symbols if isinstance(symbols, str) else symbols[place]).removesuffix("-open")
        moved = f"translate({point[0]:.1f} {point[1]:.1f}) scale({size:g})"
        hollow = str(symbols if isinstance(symbols, str) else symbols[place]).endswith("-open")
        paint = f'stroke="{colour_of(colour)}" stroke-width=".45"' if hollow else f'fill="{colour_of(colour)}"'
        yield f'<path d="{SYMBOLS.get(name, SYMBOLS["circle"])}" transform="{moved}" {paint}/>'


def _errors(trace: Trace, letter: str, x: Scale, y: Scale) -> Iterator[str]:
    """Error bars of a trace along one axis, in one path."""
    error = trace[f"error_{letter}"]
    marker = trace.get("marker", {}).get("color")
    colour = error.get("color") or (marker if isinstance(marker, str) else None)
    found = []
    for one, other, more, less in zip(
        trace["x"], trace["y"], error["array"], error.get("arrayminus", error["array"]), strict=True
    ):
        middle = one if letter == "x" else other
        if not all(isinstance(value, int | float) for value in (middle, more, less)):
            continue
        scale = x if letter == "x" else y
        fixed = y.at(other) if letter == "x" else x.at(one)
        low, high = scale.at(middle - less), scale.at(middle + more)
        low = scale.begin if low is None and scale.kind == "log" else low  # below zero on a logarithmic axis
        if fixed is None or low is None or high is None:
            continue
        found.append(f"M{low:.1f} {fixed:.1f}H{high:.1f}" if letter == "x" else f"M{fixed:.1f} {low:.1f}V{high:.1f}")
    if found:
        yield f'<path d="{"".join(found)}" stroke="{colour_of(colour)}" stroke-width="1.5"/>'


def bars(trace: Trace, x: Scale, y: Scale, side: int, beside: int) -> Iterator[str]:
    """A bar trace; ``side`` is its place among the ``beside`` traces that share a category."""
    flat = trace.get("orientation") == "h"
    along, across = (x, y) if flat else (y, x)
    values, names = (trace["x"], trace["y"]) if flat else (trace["y"], trace["x"])
    colours = trace.get("marker", {}).get("color")
    room = abs(across.end - across.begin) / max(len(across.names) or len(names), 1)
    wide = 0.8 * room / beside
    for place, (value, name) in enumerate(zip(values, names, strict=True)):
        base = trace["base"][place] if trace.get("base") else 0.0
        middle, foot = across.at(name), along.at(base)
        head = along.at(base + value) if isinstance(value, int | float) else None
        if middle is None or head is None:
            continue
        foot = along.begin if foot is None else foot
        edge = middle - 0.4 * room + side * wide
        colour = colour_of(colours if isinstance(colours, str) or colours is None else colours[place])
        low, long = min(foot, head), abs(head - foot)
        box = (low, edge, long, wide) if flat else (edge, low, wide, long)
        corner, size = f'x="{box[0]:.1f}" y="{box[1]:.1f}"', f'width="{box[2]:.1f}" height="{box[3]:.1f}"'
        yield f'<rect {corner} {size} fill="{colour}"/>'
    for letter in ("x", "y"):
        if trace.get(f"error_{letter}"):
            yield from _errors({**trace, "marker": {"color": "currentColor"}}, letter, x, y)


def heat(trace: Trace, x: Scale, y: Scale) -> Iterator[str]:
    """Cells of a heat map; those of one colour share a path."""
    left, top = _edges(trace["x"], x), _edges(trace["y"], y)
    known = [value for row in trace["z"] for value in row if value is not None]
    ends = {"cmin": trace.get("zmin", min(known, default=0)), "cmax": trace.get("zmax", max(known, default=1)),
            "colorscale": trace.get("colorscale", "Cividis")}  # fmt: skip
    paths: dict[str, list[str]] = {}
    for row, (y0, y1) in zip(trace["z"], top, strict=True):
        for value, (x0, x1) in zip(row, left, strict=True):
            if value is not None:
                cell = f"M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}z"
                paths.setdefault(_shade(float(value), ends), []).append(cell)
    for colour, cells in paths.items():
        yield f'<path d="{"".join(cells)}" fill="{colour}"/>'


def _edges(values: Sequence[Any], scale: Scale) -> list[tuple[float, float]]:
    """Pixels of both ends of each cell: halfway to its neighbours."""
    middles = [scale.at(value) or 0.0 for value in values]
    if len(middles) < 2:
        return [(scale.begin, scale.end)] * len(middles)
    between = [(one + other) / 2 for one, other in pairwise(middles)]
    first, last = 2 * middles[0] - between[0], 2 * middles[-1] - between[-1]
    return list(zip([first, *between], [*between, last], strict=True))


def _shade(value: float, ends: Mapping[str, Any]) -> str:
    """The colour of a value on a colour scale, rounded to one of ``LEVELS``."""
    low, high = float(ends.get("cmin", 0)), float(ends.get("cmax", 1))
    share = min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.0
    share = round(share * LEVELS) / LEVELS
    given = ends.get("colorscale", "Cividis")
    if isinstance(given, str):
        names = SCALES.get(given, SCALES["Cividis"])
        stops: list[tuple[float, str]] = [(place / (len(names) - 1), one) for place, one in enumerate(names)]
    else:
        stops = [(float(place), str(one)) for place, one in given]
    after = next(place for place, (at, _) in enumerate(stops) if at >= share - 1e-9)
    before = max(after - 1, 0)
    wide = stops[after][0] - stops[before][0]
    part = (share - stops[before][0]) / wide if wide else 0.0
    pairs = zip(_rgb(stops[before][1]), _rgb(stops[after][1]), strict=True)
    return "#" + "".join(f"{math.floor(one + part * (other - one) + 0.5):02x}" for one, other in pairs)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[start : start + 2], 16) for start in (1, 3, 5))


def colour_of(given: Any) -> str:
    """A colour as it may stand in an attribute; the first of the palette where there is none."""
    if given == "currentColor":
        return "currentColor"
    return given if isinstance(given, str) and COLOUR.fullmatch(given) else DEFAULT
