"""Precision against recall and density against coverage: each run with its intervals, beside real images."""

from collections.abc import Sequence
from typing import Any

from diffeval.report.figures.base import GREEN, GREY, RUNS, Table, figure, label
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.view import Figure
from diffeval.runs.records import Results, Score
from diffeval.runs.words import interval_text, number

# What is drawn up a panel, and along it.
PANELS = (("precision", "recall"), ("density", "coverage"))
MOST, TALL = len(RUNS), 290
Read = tuple[str, dict[str, Score]]


def fidelity(runs: Sequence[tuple[str, Results]], identifier: str, baseline: str = "") -> Figure | None:
    """Fidelity up, diversity along; None where neither pair was measured.

    Args:
        runs: name and results of each, all of one protocol and of as many images.
        identifier: of the figure.
        baseline: name of the run that the others are joined to by a line; none is where it is empty.
    """
    read = [(name, _last(results)) for name, results in runs]
    panels = [panel for panel in PANELS if any(panel[0] in scores and panel[1] in scores for _, scores in read)]
    if not panels:
        return None
    shown = read[:MOST]
    made = panel_layout(["" for _ in panels], columns=2, tall=TALL)
    traces: list[dict[str, Any]] = []
    for place, (up, along) in enumerate(panels):
        made[f"xaxis{suffix(place)}"]["title"] = {"text": f"{along} (variety)"}
        made[f"yaxis{suffix(place)}"]["title"] = {"text": f"{up} (fidelity)"}
        axes = {"xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}"}
        both = [(at, name, one[up], one[along]) for at, (name, one) in enumerate(shown) if up in one and along in one]
        traces += _joined(both, baseline, axes)
        traces += _real(both, axes, named=place == 0)
        traces += [_point(*one, axes, named=place == 0) for one in both]
    made["showlegend"] = len(shown) > 1 or any(trace.get("name") for trace in traces)
    made["annotations"] = []  # the axes say what is drawn, and the legend needs the place
    title = "Precision and recall, density and coverage"
    sentence = _sentence(read, panels, len(read) - len(shown))
    height = panel_height(len(panels), 2, tall=TALL)
    return figure(identifier, title, sentence, traces, made, _table(read), height=height, static=True)


def _last(results: Results) -> dict[str, Score]:
    names = {name for up, along in PANELS for name in (up, along)}
    found: dict[str, Score] = {}
    for score in sorted(results.scores, key=lambda one: one.n):
        if score.name in names and score.value is not None:
            found[score.name] = score
    return found


Both = tuple[int, str, Score, Score]


def _point(style: int, name: str, up: Score, along: Score, axes: dict[str, str], *, named: bool) -> dict[str, Any]:
    colour, _, symbol = RUNS[style]
    return {
        "type": "scatter", "mode": "markers", "name": label(name), "legendgroup": str(style), "showlegend": named,
        "x": [along.value], "y": [up.value], "error_x": _bars(along, colour), "error_y": _bars(up, colour),
        "marker": {"color": colour, "symbol": symbol, "size": 11}, **axes,
    }  # fmt: skip


def _bars(score: Score, colour: str) -> dict[str, Any]:
    """A 95% interval; two standard errors where there is none."""
    value, error = score.value or 0.0, 2 * (score.std_error or 0.0)
    low, high = score.ci95 or (value - error, value + error)
    return {
        "type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low], "color": colour,
        "thickness": 1.5, "width": 5,
    }  # fmt: skip


def _real(both: Sequence[Both], axes: dict[str, str], *, named: bool) -> list[dict[str, Any]]:
    """What real images read, which is as good as it gets."""
    for _, _, up, along in both:
        if up.null is not None and along.null is not None:
            trace = {
                "type": "scatter", "mode": "markers", "name": "held-out real images", "legendgroup": "real",
                "showlegend": named, "x": [along.null.value], "y": [up.null.value],
                "error_x": _null_bars(along), "error_y": _null_bars(up),
                "marker": {"color": GREEN, "symbol": "cross", "size": 12}, **axes,
            }  # fmt: skip
            return [trace]
    return []


def _null_bars(score: Score) -> dict[str, Any]:
    """Two standard errors; a share does not exceed 1, and density is none."""
    assert score.null is not None, "there is one to be drawn"
    length, value = 2 * (score.null.std_error or 0.0), score.null.value
    more = length if score.name == "density" else min(length, max(1.0 - value, 0.0))
    bars = {"type": "data", "symmetric": False, "color": GREEN, "thickness": 1.5, "width": 5}
    return {**bars, "array": [more], "arrayminus": [length]}


def _joined(both: Sequence[Both], baseline: str, axes: dict[str, str]) -> list[dict[str, Any]]:
    """Lines from the baseline to the other runs."""
    first = next((one for one in both if one[1] == baseline), None)
    if first is None:
        return []
    return [
        {
            "type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip",
            "x": [first[3].value, along.value], "y": [first[2].value, up.value],
            "line": {"color": GREY, "width": 1.5, "dash": "dot"}, **axes,
        }
        for _, name, up, along in both
        if name != baseline
    ]  # fmt: skip


def _sentence(read: Sequence[Read], panels: Sequence[tuple[str, str]], more: int) -> str:
    first, said = read[0], []
    for up, along in panels:
        if up in first[1] and along in first[1]:
            told = [f"{name} {_with_real(first[1][name])}" for name in (up, along)]
            said.append(" and ".join(told))
    named = f"{first[0]}: " if len(read) > 1 else ""
    text = (
        f"{named}{'; '.join(said)}. Up is more faithful, to the right more varied; good is where real images are. "
        "Low precision: images that no real one resembles. Low recall: real ones that no image resembles."
    )
    return text + (f" {more} more runs are in the table." if more > 0 else "")


def _with_real(score: Score) -> str:
    real = f", real images {number(score.null.value)}" if score.null else ""
    interval = f"{interval_text(score.ci95)}" if score.ci95 else ""
    inside = ", ".join(part for part in (interval, real.removeprefix(", ")) if part)
    return f"{number(score.value or 0.0)}{f' ({inside})' if inside else ''}"


def _table(read: Sequence[Read]) -> Table:
    rows = tuple(
        (
            name, title, f"{score.n:,}", number(score.value or 0.0), interval_text(score.ci95) or "–",
            number(score.null.value) if score.null else "–",
        )
        for name, scores in read
        for title, score in scores.items()
    )  # fmt: skip
    return ("run", "score", "n", "value", "95% interval", "real images"), rows
