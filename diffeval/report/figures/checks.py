"""Curves of health checks: every column of a check's table against its first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from diffeval.report.figures.base import BLUE, embedded, layout
from diffeval.report.figures.overlays import OVERLAYS, by_name, overlaid
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.figures.schedule import implied_schedule
from diffeval.report.view import Figure
from diffeval.runs.records import Param
from diffeval.runs.words import cells

Rows = Sequence[Mapping[str, Param]]


def check_figures(name: str, tables: Mapping[str, Rows], index: int) -> tuple[Figure, ...]:
    """What is drawn of a check; nothing without a table.

    Args:
        name: of the check.
        tables: of the whole run; the check's own are called after it, with more words behind a dot.
        index: of the run on the page.
    """
    rows = tables.get(name, ())
    if not rows:
        return ()
    identifier = f"{name}-{index}"
    if name == "noise-schedule" and tables.get(f"{name}.risk"):
        return implied_schedule(rows, tables[f"{name}.declared"], tables[f"{name}.risk"], identifier)
    if name in OVERLAYS:
        return overlaid(OVERLAYS[name], rows, identifier)
    return _DRAWN.get(name, _panels)(rows, identifier)


def _panels(rows: Rows, identifier: str) -> tuple[Figure, ...]:
    """A panel for each column."""
    first, *others = list(rows[0])
    names = [name for name in others if any(isinstance(row[name], float | int) for row in rows)]
    made = panel_layout([name.replace("_", " ") for name in names])
    traces = []
    for place, name in enumerate(names):
        shown = [row for row in rows if row[first] is not None and row[name] is not None]
        made[f"xaxis{suffix(place)}"]["title"] = {"text": first}
        traces.append(
            {
                **_line([row[first] for row in shown], [row[name] for row in shown]),
                "xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}",
            }
        )  # fmt: skip
    sentence = f"{', '.join(name.replace('_', ' ') for name in names)} against {first}."
    drawn = embedded(traces, made)
    return (Figure(identifier, "Curves", sentence, drawn, *cells(rows), height=panel_height(len(names))),)


def _convergence(rows: Rows, identifier: str) -> tuple[Figure, ...]:
    """Errors against steps, both on logarithmic axes: the order is the slope."""
    first, error = list(rows[0])[:2]
    made = layout("sampling steps N", "|x^N - x^2N|", log_x=True, log_y=True)
    made["xaxis"] |= {"tickvals": [row[first] for row in rows], "ticktext": [str(row[first]) for row in rows]}
    drawn = embedded([_line([row[first] for row in rows], [row[error] for row in rows])], made)
    sentence = (
        "How far doubling the steps moves an image (median over seeds, in units of x). Both axes are logarithmic."
    )
    return (Figure(identifier, "Error against steps", sentence, drawn, *cells(rows), height=300),)


def _line(x: Sequence[Param], y: Sequence[Param]) -> dict[str, Any]:
    marks = {"line": {"color": BLUE, "width": 2}, "marker": {"size": 7}}
    return {"type": "scatter", "mode": "lines+markers", "x": list(x), "y": list(y), **marks}


def _trajectory(rows: Rows, identifier: str) -> tuple[Figure, ...]:
    """What there is to see of x_t and of the predicted image; their errors and levels stay in the table."""
    kept = ("t", "moment_ratio", "spread", "detail")
    figures = _panels([{name: row[name] for name in kept if name in row} for row in rows], identifier)
    sentence = (
        "From right to left, as the sampler goes. Moment ratio: mean of x_t^2 over that of the forward process, 1 is "
        "right. Spread: variance of the predicted images of one class, as a share of real images'. Detail: their "
        "energy at high frequencies."
    )
    return tuple(replace(one, sentence=sentence) for one in figures)


# Checks whose curves say more when drawn otherwise.
_DRAWN: Mapping[str, Callable[[Rows, str], tuple[Figure, ...]]] = {
    "step-convergence": _convergence,
    "trajectory": _trajectory,
    "data-range": by_name,
}
