"""Scores of several checkpoints: against the training step, or release by release; small panels with bands.

Runs of other settings do not compare: their marks are hollow, and no line leads from one to the other.
"""

from collections.abc import Sequence
from typing import Any

from diffeval.compare.protocols import DIFFER
from diffeval.compare.records import Compared
from diffeval.report.figures.base import BLUE, GREEN, GREY, banded, figure, label
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
    """One score: lines with bands over steps, or markers with bars where no order is known."""
    axes = {"xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}"}
    found: list[dict[str, Any]] = []
    for runs in alike(one):
        found += _measured(one, places, runs, BLUE if not found else GREY, axes)
    known = [run for runs in alike(one) for run in runs]
    known.sort(key=lambda run: int(places.at[run]) if places.steps else run)
    if null is not None:
        found.append(
            {
                "type": "scatter", "mode": "lines", "x": [places.at[known[0]], places.at[known[-1]]],
                "y": [null.value, null.value], "name": "real images",
                "line": {"color": GREEN, "dash": "dot", "width": 2}, **axes,
            }
        )  # fmt: skip
    return found


def alike(one: Compared) -> list[list[int]]:
    """Places of the runs that have a score, by what compares: runs of the first one's settings, then of others."""
    apart = {frozenset(pair.runs) for pair in one.pairs if pair.why.startswith(DIFFER)}
    found: list[list[int]] = []
    for run in (run for run, value in enumerate(one.values) if value is not None):
        mine = next((runs for runs in found if not any({run, other} in apart for other in runs)), None)
        if mine is None:
            found.append([run])
        else:
            mine.append(run)
    return found


def _measured(
    one: Compared, places: Places, runs: Sequence[int], colour: str, axes: dict[str, str]
) -> list[dict[str, Any]]:
    """Runs of the same settings, in one colour; full marks for the first such."""
    runs = sorted(runs, key=lambda run: int(places.at[run]) if places.steps else run)
    x = [places.at[run] for run in runs]
    y = [one.values[run] or 0.0 for run in runs]
    ends = [one.ci95[run] or (value, value) for run, value in zip(runs, y, strict=True)]
    found: list[dict[str, Any]] = []
    if places.steps:
        found += banded(x, [low for low, _ in ends], [high for _, high in ends], colour, **axes)
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "lines+markers" if places.steps else "markers", "x": x, "y": y,
        "name": label(one.score), "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 8, **({} if colour == BLUE else {"symbol": "circle-open"})}, **axes,
    }  # fmt: skip
    if not places.steps:
        trace["error_y"] = {
            "type": "data", "array": [high - value for value, (_, high) in zip(y, ends, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(y, ends, strict=True)], "color": colour,
        }  # fmt: skip
    return [*found, trace]


def _at(place: int | str) -> str:
    return f"{place:,}" if isinstance(place, int) else place


def _sentence(shown: Sequence[Compared], places: Places) -> str:
    """What the first score does among the runs that compare, and which runs do not."""
    lead = shown[0]
    runs, *others = alike(lead)
    real = "dotted: what real images read"
    if not places.steps or len(runs) == 1:
        said = f"{lead.score} {_best(lead, places, runs)}. Bars are 95% intervals of each run alone, {real}; "
        said += f"which runs are told apart, the table of scores says.{_hollow(others, places)}"
        return said if places.steps else f"{said} {', '.join(places.columns)}."
    first = min(runs, key=lambda run: int(places.at[run]))
    last = max(runs, key=lambda run: int(places.at[run]))
    begun, ended = lead.values[first] or 0.0, lead.values[last] or 0.0
    better = sum(_improves(one, places) for one in shown)
    return (
        f"{lead.score} goes from {number(begun)} at {places.title} {_at(places.at[first])} to {number(ended)} at "
        f"{_at(places.at[last])}; {better} of {len(shown)} scores end with a better value than they began with; what "
        f"is proven, the table of scores says. Bands are 95% intervals of each run alone, {real}."
        f"{_hollow(others, places)}"
    )


def _best(one: Compared, places: Places, runs: Sequence[int]) -> str:
    """The best value among runs that compare; of a single one its value."""
    best = next(run for run in one.order if run in runs)
    value = f"{number(one.values[best] or 0.0)} ({interval_text(one.ci95[best]) or 'no interval'})"
    if len(runs) == 1:
        return f"of {places.called[best]} is {value}"
    way = "highest" if one.higher_is_better else "lowest"
    return f"reads {way}, which is better, for {places.called[best]}: {value}"


def _hollow(others: Sequence[Sequence[int]], places: Places) -> str:
    """Which runs were measured otherwise than the first."""
    if not others:
        return ""
    named = "; ".join(", ".join(places.called[run] for run in runs) for runs in others)
    return f" Hollow marks are runs of other settings, which do not compare with the full ones: {named}."


def _improves(one: Compared, places: Places) -> bool:
    runs = alike(one)[0]
    known = [(int(places.at[run]), value) for run in runs if (value := one.values[run]) is not None]
    change = max(known)[1] - min(known)[1]
    return change > 0 if one.higher_is_better else change < 0
