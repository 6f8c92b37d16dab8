"""Curves of health checks: every column of a check's table against its first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffeval.report.figures.base import BLUE, GREEN, MOST_POINTS, figure, layout
from diffeval.report.figures.overlays import OVERLAYS, by_name, overlaid
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.figures.schedule import implied_schedule
from diffeval.report.view import Figure
from diffeval.runs.records import Param
from diffeval.runs.words import cells, number

Rows = Sequence[Mapping[str, Param]]
# Points of a line up to which each has a mark.
MOST_MARKERS = 60
# Steps of an embedding below this share of its length are rounding.
STILL = 1e-6


def check_figures(
    name: str, tables: Mapping[str, Rows], index: int, status: str = "pass", *, static: bool = False
) -> tuple[Figure, ...]:
    """What is drawn of a check; nothing without a table.

    Args:
        name: of the check.
        tables: of the whole run; the check's own are called after it, with more words behind a dot.
        index: of the run on the page.
        status: how the check ended: a figure must not accuse where the check does not.
        static: whether it is also shown without JavaScript, as where the check fails.
    """
    rows = tables.get(name, ())
    if not rows:
        return ()
    identifier = f"{name}-{index}"
    if name == "noise-schedule" and tables.get(f"{name}.risk"):
        risk, declared = tables[f"{name}.risk"], tables[f"{name}.declared"]
        return implied_schedule(rows, declared, risk, identifier, status, static=static)
    if name in OVERLAYS:
        return overlaid(OVERLAYS[name], rows, identifier, static=static)
    if name == "timestep-embedding":
        return _embedding(rows, identifier, status, static=static)
    if name in _DRAWN:
        return _DRAWN[name](rows, identifier, static=static)
    return _panels(PANELS.get(name, Panels()), rows, identifier, static=static)


@dataclass(frozen=True, slots=True)
class Panels:
    """How a check's table is drawn, a panel for each column.

    Attributes:
        title: of the figure.
        sentence: what there is to see; the numbers come behind it.
        kept: columns that are drawn, with the titles of their panels; all but the first where it is empty.
        right: what a column should read, where that is one number.
        reversed: whether x falls from left to right, as timesteps do while sampling.
    """

    title: str = "Curves"
    sentence: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)
    right: Mapping[str, float] = field(default_factory=dict)
    reversed: bool = False


PANELS: Mapping[str, Panels] = {
    "untrained": Panels(
        "Risk over that of the best affine denoiser",
        "A network that has learnt anything lies below 1, dotted; random weights lie on it.",
        {"risk_ratio": "risk ratio"},
        {"risk_ratio": 1.0},
    ),
    "trajectory": Panels(
        "On the way from noise to image",
        "From left to right, as the sampler goes. Moment ratio: mean of x_t^2 over that of the forward process, 1 is "
        "right. Spread: variance of the predicted images of one class, as a share of real images'. Detail: their "
        "energy at high frequencies. Both should grow towards 1.",
        {"moment_ratio": "moment ratio", "spread": "spread", "detail": "detail"},
        {"moment_ratio": 1.0},
        reversed=True,
    ),
}  # fmt: skip


def _panels(one: Panels, rows: Rows, identifier: str, *, static: bool) -> tuple[Figure, ...]:
    """A panel for each column."""
    first, *others = list(rows[0])
    wanted = [name for name in one.kept if name in rows[0]] if one.kept else others
    names = [name for name in wanted if any(isinstance(row[name], float | int) for row in rows)]
    if not names:
        return ()
    made = panel_layout([one.kept.get(name, name.replace("_", " ")) for name in names])
    made["shapes"], traces, said = [], list[dict[str, Any]](), list[str]()
    for place, name in enumerate(names):
        shown = [row for row in rows if row[first] is not None and row[name] is not None]
        said.append(_ends(name, shown, first))
        shown = shown[:: -(-len(shown) // MOST_POINTS)]
        axis = made[f"xaxis{suffix(place)}"]
        axis |= {"title": {"text": first.replace("_", " ")}, **({"autorange": "reversed"} if one.reversed else {})}
        at = {"xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}"}
        traces.append({**_line([row[first] for row in shown], [row[name] for row in shown]), **at})
        if name in one.right:
            made["shapes"].append(_level(one.right[name], suffix(place)))
    sentence = f"{one.sentence or 'Each column against the first.'} {'; '.join(said)}."
    height = panel_height(len(names))
    return (figure(identifier, one.title, sentence, traces, made, cells(rows), height=height, static=static),)


def _ends(name: str, rows: Rows, first: str) -> str:
    """What a column reads at both ends of the table."""
    begin, end = ((number(float(row[name] or 0)), number(float(row[first] or 0))) for row in (rows[0], rows[-1]))
    return f"{name.replace('_', ' ')} goes from {begin[0]} at {first}={begin[1]} to {end[0]} at {first}={end[1]}"


def _level(value: float, panel: str) -> dict[str, Any]:
    """A dotted line at what a panel should read."""
    line = {"color": GREEN, "dash": "dot", "width": 2}
    across = {"xref": f"x{panel} domain", "x0": 0, "x1": 1}
    return {"type": "line", "yref": f"y{panel}", "y0": value, "y1": value, "line": line, **across}


def _convergence(rows: Rows, identifier: str, *, static: bool) -> tuple[Figure, ...]:
    """Errors against steps, both on logarithmic axes: the order is the slope."""
    first, error = list(rows[0])[:2]
    made = layout("sampling steps N", "|x^N - x^2N|", log_x=True, log_y=True)
    made["xaxis"] |= {"tickvals": [row[first] for row in rows], "ticktext": [str(row[first]) for row in rows]}
    trace = _line([row[first] for row in rows], [row[error] for row in rows])
    sentence = (
        "How far doubling the steps moves an image (median over seeds, in units of x); it should fall steadily. Both "
        f"axes are logarithmic. {_ends(error, rows, first).replace(error.replace('_', ' '), 'It', 1)}."
    )
    return (
        figure(identifier, "Error against steps", sentence, [trace], made, cells(rows), height=300, static=static),
    )


def _embedding(rows: Rows, identifier: str, status: str, *, static: bool) -> tuple[Figure, ...]:
    """Steps of the embedding from each timestep to the next, and whether what is wrong is to be seen in them."""
    steps = [(float(row["step_to_next"] or 0.0), row["timestep"]) for row in rows]
    (low, quiet), (high, loud) = min(steps), max(steps)
    still = sum(step < STILL for step, _ in steps)
    if still:
        seen = f"{still} of {len(steps)} steps are none: the embedding does not tell these timesteps apart"
    else:
        seen = f"No step is none: the embedding tells all {len(steps) + 1} timesteps apart"
        seen += ", so that what is wrong lies elsewhere; the check says where" if status in {"fail", "warn"} else ""
    sentence = (
        f"A step as a share of the embedding's own length; spikes are breaks. {seen}. The least step is "
        f"{number(low)}, from t={quiet}, the largest {number(high)}, from t={loud}."
    )
    shown = rows[:: -(-len(rows) // MOST_POINTS)]
    made = layout("timestep", "step to the next")
    made["yaxis"]["rangemode"] = "tozero"
    trace = _line([row["timestep"] for row in shown], [row["step_to_next"] for row in shown])
    title = "How far the time embedding moves from one timestep to the next"
    return (figure(identifier, title, sentence, [trace], made, cells(rows), height=260, static=static),)


def _line(x: Sequence[Param], y: Sequence[Param]) -> dict[str, Any]:
    mode = "lines+markers" if len(x) <= MOST_MARKERS else "lines"
    marks = {"line": {"color": BLUE, "width": 2}, "marker": {"size": 7, "color": BLUE}}
    return {"type": "scatter", "mode": mode, "x": list(x), "y": list(y), **marks}


# Checks whose curves say more when drawn otherwise.
_DRAWN: Mapping[str, Callable[..., tuple[Figure, ...]]] = {
    "step-convergence": _convergence,
    "data-range": by_name,
}
