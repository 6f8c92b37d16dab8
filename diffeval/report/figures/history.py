"""Scores of several checkpoints: against the training step, or release by release; small panels with bands."""

from collections.abc import Sequence
from typing import Any

from diffeval.compare.records import Compared
from diffeval.report.figures.base import BLUE, GREEN, banded, figure, label
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.training_steps import Places
from diffeval.report.view import Figure
from diffeval.runs.records import Null
from diffeval.runs.words import interval_text, number


def history(
    scores: Sequence[Compared], places: Places, nulls: Sequence[Null | None], identifier: str
) -> Figure | None:
    """Each score over the checkpoints; None without a score that two of them have.

    Args:
        scores: of all checkpoints, in one order.
        places: where each stands.
        nulls: what real images read of each score, where that is known.
        identifier: unique on the page.
    """
    shown = [
        (one, null)
        for one, null in zip(scores, nulls, strict=True)
        if sum(value is not None for value in one.values) > 1
    ]
    if not shown:
        return None
    titles = [f"{label(one.score)} ({'higher' if one.higher_is_better else 'lower'} is better)" for one, _ in shown]
    layout = panel_layout(titles)
    traces: list[dict[str, Any]] = []
    for place, (one, null) in enumerate(shown):
        traces += _panel(one, places, null, place)
        layout[f"xaxis{suffix(place)}"] |= _x_axis(places)
    columns = ("score", places.title or "checkpoint", "n", "value", "95% interval")
    rows = tuple(
        (
            one.score,
            _at(places.at[run]) if places.steps else places.columns[run],
            f"{one.counts[run]:,}",
            number(value),
            interval_text(one.ci95[run]),
        )
        for one, _ in shown
        for run, value in enumerate(one.values)
        if value is not None
    )
    title = "Scores over training" if places.steps else "Scores by checkpoint"
    sentence = _sentence([one for one, _ in shown], places)
    return figure(
        identifier, title, sentence, traces, layout, (columns, rows), height=panel_height(len(shown)), static=True
    )


def _x_axis(places: Places) -> dict[str, Any]:
    if places.steps:
        steps = sorted(int(one) for one in places.at)
        few = {"tickvals": steps, "ticktext": [f"{step:,}" for step in steps]} if len(steps) <= 4 else {}
        return {"title": {"text": places.title}, **few}
    return {"type": "category", "range": [-0.5, len(places.at) - 0.5]}


def _panel(one: Compared, places: Places, null: Null | None, place: int) -> list[dict[str, Any]]:
    """One score: a line with its band over steps, or markers with bars where no order is known."""
    axes = {"xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}"}
    known = [run for run, value in enumerate(one.values) if value is not None]
    known.sort(key=lambda run: int(places.at[run]) if places.steps else run)
    x = [places.at[run] for run in known]
    y = [one.values[run] or 0.0 for run in known]
    ends = [one.ci95[run] or (value, value) for run, value in zip(known, y, strict=True)]
    found: list[dict[str, Any]] = []
    if places.steps:
        found += banded(x, [low for low, _ in ends], [high for _, high in ends], BLUE, **axes)
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "lines+markers" if places.steps else "markers", "x": x, "y": y,
        "name": label(one.score), "line": {"color": BLUE, "width": 2}, "marker": {"color": BLUE, "size": 8}, **axes,
    }  # fmt: skip
    if not places.steps:
        trace["error_y"] = {
            "type": "data", "array": [high - value for value, (_, high) in zip(y, ends, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(y, ends, strict=True)], "color": BLUE,
        }  # fmt: skip
    found.append(trace)
    if null is not None:
        found.append(
            {
                "type": "scatter", "mode": "lines", "x": [x[0], x[-1]], "y": [null.value, null.value],
                "name": "real images", "line": {"color": GREEN, "dash": "dot", "width": 2}, **axes,
            }
        )  # fmt: skip
    return found


def _at(place: int | str) -> str:
    return f"{place:,}" if isinstance(place, int) else place


def _sentence(shown: Sequence[Compared], places: Places) -> str:
    """What the first score does, and which way each score goes from the first checkpoint to the last."""
    lead = shown[0]
    known = [run for run, value in enumerate(lead.values) if value is not None]
    real = "dotted: what real images read"
    if not places.steps:
        best = lead.order[0]
        named = ", ".join(places.columns)
        return (
            f"{lead.score} is best for {places.at[best]}, {number(lead.values[best] or 0.0)} "
            f"({interval_text(lead.ci95[best]) or 'no interval'}). Bars are 95% intervals, {real}; which runs are "
            f"told apart, the table of scores says. {named}."
        )
    first = min(known, key=lambda run: int(places.at[run]))
    last = max(known, key=lambda run: int(places.at[run]))
    begun, ended = lead.values[first] or 0.0, lead.values[last] or 0.0
    better = sum(_improves(one, places) for one in shown)
    return (
        f"{lead.score} goes from {number(begun)} at {places.title} {_at(places.at[first])} to {number(ended)} at "
        f"{_at(places.at[last])}; {better} of {len(shown)} scores end better than they began. Bands "
        f"are 95% intervals, {real}."
    )


def _improves(one: Compared, places: Places) -> bool:
    known = [(int(places.at[run]), value) for run, value in enumerate(one.values) if value is not None]
    change = max(known)[1] - min(known)[1]
    return change > 0 if one.higher_is_better else change < 0
