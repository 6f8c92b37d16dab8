"""Modes on the page: what is missing, thin or over-produced, where that lies, and pictures of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffeval.report.figures.base import BLUE, GREEN, ORANGE, figure, label, layout
from diffeval.report.images import tiles
from diffeval.report.view import Figure, Gallery, Tile
from diffeval.runs.directory import RunDirectory
from diffeval.runs.records import Param, Results
from diffeval.runs.words import cells, number

Rows = Sequence[Mapping[str, Param]]
# Modes that are drawn, half of them from either end where there are more.
MOST = 30
COLOURS = {"missing": ORANGE, "thin": ORANGE, "over": GREEN, "ok": BLUE}
SYMBOLS = {"missing": "x", "thin": "triangle-down", "over": "triangle-up", "ok": "circle"}
SIDES = ("real", "generated")
# Columns of the table below a figure.
SHOWN = ("mode", "status", "unstable", "generated", "real", "ratio", "low", "high", "p", "diversity", "collapsed")


def mode_figures(results: Results, index: int) -> tuple[Figure, ...]:
    """Occupancy of each kind of modes, and what was asked for against what was drawn."""
    rows = results.tables.get("modes", ())
    kinds = dict.fromkeys(str(row["modes"]) for row in rows)
    figures = [
        _occupancy([row for row in rows if row["modes"] == kind], kind, f"modes-{kind}-{index}") for kind in kinds
    ]
    leaks = results.tables.get("leakage", ())
    return (*figures, *((_confusion(leaks, f"leakage-{index}"),) if leaks else ()))


def _occupancy(rows: Rows, kind: str, identifier: str) -> Figure:
    """Generated over real shares, the largest deficit on top."""
    shown = list(rows if len(rows) <= MOST else [*rows[: MOST // 2], *rows[-MOST // 2 :]])
    traces: list[dict[str, Any]] = []
    for status in ("missing", "thin", "ok", "over"):
        mine = [row for row in reversed(shown) if row["status"] == status and row["ratio"] is not None]
        if mine:
            ratios, lows, highs = ([_value(row[name]) for row in mine] for name in ("ratio", "low", "high"))
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "name": status, "x": ratios,
                    "y": [label(str(row["mode"])) for row in mine],
                    "error_x": {
                        "type": "data", "symmetric": False, "color": COLOURS[status],
                        "array": [high - ratio for high, ratio in zip(highs, ratios, strict=True)],
                        "arrayminus": [ratio - low for low, ratio in zip(lows, ratios, strict=True)],
                    },
                    "marker": {"color": COLOURS[status], "symbol": SYMBOLS[status], "size": 9},
                }
            )  # fmt: skip
    made = layout("generated over real share", "")
    names = [label(str(row["mode"])) for row in reversed(shown)]
    made["yaxis"] = {
        **made["yaxis"],
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names,
        "dtick": 1,
        "range": [-0.6, len(names) - 0.4],
    }
    dotted = {"color": "#888888", "dash": "dot"}
    made["shapes"] = [{"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "line": dotted}]
    differ = sum(row["status"] != "ok" for row in rows)
    sentence = (
        f"{differ} of {len(rows)} modes differ by more than chance and enough to matter. At 1 a mode is drawn as "
        f"often as real images have it; lines are 95% intervals, and the surest deficit stands on top{_least(shown)}."
    )
    if any(row["ratio"] is None for row in shown):
        sentence += " Without a mark: no real image is held out of that mode, so that there is no share."
    table = cells([{name: row[name] for name in SHOWN} for row in rows])
    title = f"Modes by {'class' if kind == 'labels' else 'cluster'}"
    height = 110 + 24 * len(shown)
    return figure(identifier, title, sentence, traces, made, table, height=height, static=True)


def _least(rows: Rows) -> str:
    known = [row for row in rows if row["ratio"] is not None]
    least = min(known, key=lambda row: _value(row["ratio"]), default=None)
    return "" if least is None else f". Least: {least['mode']} with {number(_value(least['ratio']))} of its real share"


def _value(value: Param) -> float:
    return float(value) if isinstance(value, float | int) else 0.0


def _confusion(rows: Rows, identifier: str) -> Figure:
    """Asked against drawn."""
    asked, got = (list(dict.fromkeys(str(row[name]) for row in rows)) for name in ("asked", "got"))
    shares = {(str(row["asked"]), str(row["got"])): _value(row["share"]) for row in rows}
    z = [[shares.get((one, other), 0.0) for other in got] for one in asked]
    trace = {
        "type": "heatmap", "x": list(map(label, got)), "y": list(map(label, asked)), "z": z,
        "colorscale": "Cividis", "zmin": 0, "zmax": 1,
        "hovertemplate": "asked for %{y}, taken for %{x}: %{z:.3~g}<extra></extra>",
        "colorbar": {"title": {"text": "share"}},
    }  # fmt: skip
    made = layout("taken for, by the classifier", "asked for")
    made["xaxis"] = {**made["xaxis"], "type": "category"}
    made["yaxis"] = {**made["yaxis"], "type": "category", "autorange": "reversed"}
    leaks = [row for row in rows if row["leaks"]]
    named = ", ".join(f"{row['asked']} as {row['got']} ({number(100 * _value(row['share']))}%)" for row in leaks[:5])
    right = [row for row in rows if row["asked"] == row["got"] and _value(row["n"]) > 0]
    least = min(right, key=lambda row: _value(row["share"]), default=None)
    worst = "" if least is None else (
        f" Least often drawn as asked: {least['asked']} ({number(100 * _value(least['share']))}%)."
    )  # fmt: skip
    sentence = (
        f"A bright diagonal is good: what was asked for was drawn. What leaks beyond what the classifier mixes up "
        f"itself: {named or 'nothing'}.{worst}"
    )
    off = [row for row in rows if row["asked"] != row["got"] and _value(row["n"]) > 0]
    table = cells(sorted(off, key=lambda row: -_value(row["share"])) or list(rows[:1]))
    return figure(identifier, "Asked for, and drawn", sentence, [trace], made, table, height=420)


def mode_galleries(run: RunDirectory, results: Results) -> tuple[Gallery, ...]:
    """Of each mode that is shown real images and generated ones; those without a finding in one gallery."""
    rows, held = results.tables.get("modes", ()), run.arrays("mode_pictures")
    if held is None:
        return ()
    galleries = []
    for kind in dict.fromkeys(str(row["modes"]) for row in rows):
        if f"{kind}_modes" not in held:
            continue
        by_index = {int(str(row["index"])): row for row in rows if row["modes"] == kind}
        shown = [(by_index[mode], place) for place, mode in enumerate(held[f"{kind}_modes"].tolist())]
        fine = [(row, place) for row, place in shown if row["status"] == "ok" and not row["collapsed"]]
        galleries += [_gallery(row, held, kind, place) for row, place in shown if (row, place) not in fine]
        galleries += [_together(fine, held, kind)] if fine else []
    return tuple(galleries)


def _together(fine: Sequence[tuple[Mapping[str, Param], int]], held: Mapping[str, Any], kind: str) -> Gallery:
    """Modes without a finding, one in a row: real images, then generated ones."""
    shown = [
        tile for row, place in fine for side in SIDES for tile in _tiles(str(row["mode"]), held, kind, place, side)
    ]
    shares = ["" if row["ratio"] is None else f", {_value(row['ratio']):.2f}" for row, _ in fine]
    named = tuple(f"{row['mode']}{share}" for (row, _), share in zip(fine, shares, strict=True))
    columns = tuple(
        side if place == 0 else ""
        for side in SIDES
        for place in range(held[f"{kind}_{side}"].shape[1])
    )  # fmt: skip
    sentence = (
        "Neither missing, thin, over-produced nor too alike; whether they look right is for the eye to say. One in a "
        "row, with its generated share over its real share: real images, then generated ones."
    )
    title = f"{'Classes' if kind == 'labels' else 'Clusters'} without a finding"
    return Gallery(title, sentence, tuple(shown), len(columns), columns, named)


def _gallery(row: Mapping[str, Param], held: Mapping[str, Any], kind: str, place: int) -> Gallery:
    name, status = str(row["mode"]), str(row["status"])
    said = status if status != "ok" or not row["collapsed"] else "there, and too alike"
    share = "real images have none" if row["ratio"] is None else f"{number(_value(row['ratio']))} of its real share"
    sentence = f"{said}: {share}. Real images above, generated ones below."
    shown = [tile for side in SIDES for tile in _tiles(name, held, kind, place, side)]
    title = name if kind == "clusters" else f"class {name}"
    return Gallery(title, sentence, tuple(shown), len(held[f"{kind}_real"][place]))


def _tiles(name: str, held: Mapping[str, Any], kind: str, place: int, side: str) -> tuple[Tile, ...]:
    """Images of a mode; places without an image stay empty: what is missing is to be seen."""
    images, count = held[f"{kind}_{side}"][place], int(held[f"{kind}_{side}_count"][place])
    captions = [f"{name}, {side} image {number}" for number in range(1, len(images) + 1)]
    return tiles(images, [one if at < count else f"{name}: no {side} image" for at, one in enumerate(captions)])
