"""The noise schedule that the weights imply, and the risks that it was read from."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffeval.report.figures.base import BLUE, ORANGE, figure, layout
from diffeval.report.view import Figure
from diffeval.runs.records import Param
from diffeval.runs.words import number

Rows = Sequence[Mapping[str, Param]]
# Excess risk, as a power of ten over the least, at which the colours end.
BRIGHTEST = 2.0
# Up to this ratio to the least a row is flat to the eye.
FLAT = 1.05
# What best timesteps say, by how the check ended: those of weights that do not heed the timestep are chance.
SEEN: Mapping[str, str] = {
    "pass": "It is the one that the declared schedule tells them there: the diamonds lie on its line.",
    "warn": "Where the diamonds leave the declared line, the weights were trained along another schedule.",
    "fail": "Where the diamonds leave the declared line, the weights were trained along another schedule.",
    "inconclusive": "The check is inconclusive, so that where the diamonds lie is no evidence against the schedule.",
}


def implied_schedule(
    implied: Rows, declared: Rows, risk: Rows, identifier: str, status: str = "pass", *, static: bool = False
) -> tuple[Figure, ...]:
    """Best timesteps on the declared curve, and risk over noise level and timestep.

    Args:
        implied: ``log_snr``, ``best_timestep``, ``declared_timestep``, ``excess`` and more, by level.
        declared: ``timestep`` and ``log_snr`` of the declared schedule.
        risk: ``log_snr``, ``timestep``, ``risk`` and ``over_least``.
        identifier: of the figures.
        status: how the check ended, which decides what the curve may be taken for.
        static: whether the curves are also shown without JavaScript.
    """
    last = max(_value(row, "timestep") for row in declared)
    return (
        _curves(implied, declared, f"{identifier}-curve", status, static=static),
        _map(implied, [row for row in risk if _value(row, "timestep") <= 1.2 * last], f"{identifier}-map"),
    )


def _curves(implied: Rows, declared: Rows, identifier: str, status: str, *, static: bool) -> Figure:
    traces = [
        {
            "type": "scatter", "mode": "lines", "name": "declared", "line": {"color": ORANGE, "width": 2},
            "x": [row["timestep"] for row in declared], "y": [row["log_snr"] for row in declared],
        },
        {
            "type": "scatter", "mode": "markers", "name": "implied by the weights",
            "marker": {"color": BLUE, "size": 10, "symbol": "diamond"},
            "x": [row["best_timestep"] for row in implied], "y": [row["log_snr"] for row in implied],
        },
    ]  # fmt: skip
    sentence = (
        "At each noise level there is a timestep with which the weights predict noise best. "
        f"{SEEN.get(status, SEEN['inconclusive'])}{_off(implied)}"
    )
    columns = tuple(implied[0])
    table = tuple(tuple(_text(row[name]) for name in columns) for row in implied)
    names = tuple(name.replace("_", " ") for name in columns)
    made = layout("timestep", "log-SNR")
    return figure(identifier, "Schedule that the weights imply", sentence, traces, made, (names, table), static=static)


def _off(implied: Rows) -> str:
    """Where the two lie furthest apart, in timesteps."""
    known = [row for row in implied if row.get("declared_timestep") is not None and row["best_timestep"] is not None]
    if not known:
        return ""
    worst = max(known, key=lambda row: abs(_value(row, "best_timestep") - _value(row, "declared_timestep")))
    return (
        f" Furthest off at log-SNR {_text(worst['log_snr'])}: best told t={_text(worst['best_timestep'])}, declared "
        f"t={_text(worst['declared_timestep'])}."
    )


def _map(implied: Rows, risk: Rows, identifier: str) -> Figure:
    heat = [min(math.log10(max(_value(row, "over_least"), 1.0)), BRIGHTEST) for row in risk]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "markers", "showlegend": False,
            "x": [row["timestep"] for row in risk], "y": [row["log_snr"] for row in risk],
            "customdata": [row["over_least"] for row in risk],
            "hovertemplate": "log-SNR %{y}, t=%{x}: %{customdata:.3g} of the least<extra></extra>",
            "marker": {
                "symbol": "square", "size": 14, "color": heat, "colorscale": "Cividis", "cmin": 0, "cmax": BRIGHTEST,
                "colorbar": {"title": {"text": "risk / least"}, "tickvals": [0, 1, 2], "ticktext": ["1", "10", "100"]},
            },
        },
        {
            "type": "scatter", "mode": "lines+markers", "name": "least risk", "line": {"color": ORANGE, "width": 2},
            "x": [row["best_timestep"] for row in implied], "y": [row["log_snr"] for row in implied],
        },
    ]  # fmt: skip
    worst = max(risk, key=lambda row: _value(row, "over_least"))
    most = _value(worst, "over_least")
    where = f"at log-SNR {_text(worst['log_snr'])} told t={_text(worst['timestep'])}"
    if most > FLAT:
        read = f"The worst is {number(most)} times the least, {where}."
    else:
        above = 100 * (most - 1)
        told = "0.01%" if above < 0.01 else f"{number(above)}%"  # less than that is rounding
        read = f"All rows are flat: no timestep costs more than {told} above the best of its row."
    sentence = (
        "Risk of the noise prediction at each noise level (rows) and timestep that the network is told, over the "
        "least of its row. A sharp dark valley: the network heeds the timestep. A flat row: it does not. "
        f"{read}"
    )
    rows = tuple(
        (_text(row["log_snr"]), _text(row["timestep"]), _text(row["risk"]), _text(row["over_least"]))
        for row in risk[:: max(1, len(risk) // 40)]
    )
    columns = ("log snr", "timestep", "risk", "over least")
    made = layout("timestep told", "log-SNR")
    return figure(identifier, "Risk over noise level and timestep", sentence, traces, made, (columns, rows))


def _value(row: Mapping[str, Param], name: str) -> float:
    value = row[name]
    assert isinstance(value, float | int), "a table of numbers"
    return float(value)


def _text(value: Param) -> str:
    return number(value) if isinstance(value, float) else str(value)
