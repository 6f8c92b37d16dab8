"""Figures as plotly's own JSON. The page sets their colours, so that they follow its theme."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from diffeval.report.view import Figure
from diffeval.runs.records import Results, Score
from diffeval.runs.words import advice_sentence, interval_text, number

# Okabe and Ito's palette, which colour-blind readers can tell apart; every series also has its own dash or marker.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
MOST_POINTS = 500


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
        "legend": {"orientation": "h", "y": 1.12, "x": 0},
        "xaxis": {"title": {"text": x}, "type": "log" if log_x else "linear"},
        "yaxis": {"title": {"text": y}, "type": "log" if log_y else "linear"},
    }


def fid_against_n(results: Results, identifier: str) -> Figure | None:
    """Plain and debiased FID against the number of images, with bands; None without two counts of both."""
    plain = [score for score in results.scores if score.name == "fid" and score.value is not None]
    debiased = [score for score in results.scores if score.name == "fid_debiased" and score.value is not None]
    if not plain or len(debiased) < 2:
        return None
    traces = [
        *_band(debiased, [score.ci95 or (0.0, 0.0) for score in debiased], BLUE),
        _line("fid_debiased, 95% interval", debiased, BLUE, "solid", "circle"),
        *_band(plain, [_within_two(score) for score in plain], ORANGE),
        _line("fid (plain, biased upwards at small n), ± 2 standard errors", plain, ORANGE, "dash", "square"),
    ]
    figure_layout = layout("images n", "Fréchet distance", log_x=True)
    ticks = [score.n for score in debiased]
    figure_layout["xaxis"] |= {"tickvals": ticks, "ticktext": [f"{tick:,}" for tick in ticks]}
    null = debiased[-1].null
    if null is not None:
        figure_layout["shapes"] = [
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": null.value, "y1": null.value,
                "line": {"color": GREEN, "dash": "dot", "width": 2},
            }
        ]  # fmt: skip
        figure_layout["annotations"] = [
            {
                "xref": "paper", "x": 1, "y": null.value, "xanchor": "right", "yanchor": "bottom", "showarrow": False,
                "text": f"held-out real images, debiased (n={null.n})", "font": {"color": GREEN, "size": 12},
            }
        ]  # fmt: skip
    last = debiased[-1]
    sentence = (
        f"At n={last.n:,} fid_debiased is {number(last.value or 0.0)} (95% interval {interval_text(last.ci95)}), "
        f"plain fid {number(plain[-1].value or 0.0)}. "
        "Plain fid falls with n because its bias does; the debiased value should not."
    )
    advice = advice_sentence(results)
    if advice is not None:
        sentence += f" {advice}."
    rows = tuple(
        (
            score.name,
            str(score.n),
            number(score.value or 0.0),
            number(score.std_error or 0.0),
            interval_text(score.ci95),
        )
        for score in (*debiased, *plain)
    )
    columns = ("score", "n", "value", "std error", "95% interval")
    return Figure(
        identifier, "FID against the number of images", sentence, embedded(traces, figure_layout), columns, rows
    )


def _within_two(score: Score) -> tuple[float, float]:
    value, error = score.value or 0.0, score.std_error or 0.0
    return value - 2 * error, value + 2 * error


def _line(name: str, scores: Sequence[Score], colour: str, dash: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines+markers", "name": name,
        "x": [score.n for score in scores], "y": [score.value for score in scores],
        "line": {"color": colour, "dash": dash, "width": 2}, "marker": {"symbol": symbol, "size": 8},
    }  # fmt: skip


def _band(scores: Sequence[Score], bounds: Sequence[tuple[float, float]], colour: str) -> list[dict[str, Any]]:
    n = [score.n for score in scores]
    shared = {
        "type": "scatter",
        "mode": "lines",
        "x": n,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    low, high = [bound[0] for bound in bounds], [bound[1] for bound in bounds]
    return [
        {**shared, "y": low},
        {**shared, "y": high, "fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},0.18)"},
    ]


Row = Mapping[str, Any]


def training_curves(log: Sequence[Row], identifier: str) -> list[Figure]:
    """Loss, gradient norm and learning rate against the optimiser step; at most ``MOST_POINTS`` points each."""
    figures = []
    for key, title, colour, log_y in (
        ("loss", "Training loss", BLUE, True),
        ("gradient_norm", "Gradient norm before clipping", ORANGE, True),
        ("lr", "Learning rate", GREEN, False),
    ):
        stride = max(1, math.ceil(len(log) / MOST_POINTS))
        blocks = [log[start : start + stride] for start in range(0, len(log), stride)]
        steps = [int(block[-1]["step"]) for block in blocks]
        values = [sum(float(row[key]) for row in block) / len(block) for block in blocks]
        trace = {"type": "scatter", "mode": "lines", "x": steps, "y": values, "line": {"color": colour, "width": 1.5}}
        averaged = f", means of {stride} steps" if stride > 1 else ""
        sentence = f"From {number(values[0])} to {number(values[-1])} over {steps[-1]:,} steps{averaged}."
        table = tuple(
            (str(step), number(value))
            for step, value in list(zip(steps, values, strict=True))[:: max(1, len(steps) // 20)]
        )
        drawn = embedded([trace], layout("optimiser step", title.lower(), log_y=log_y))
        figures.append(Figure(f"{identifier}-{key}", title, sentence, drawn, ("step", key), table, height=260))
    return figures


def probe_heatmaps(probe: Sequence[Row], identifier: str) -> list[Figure]:
    """Loss and gradient norm by timestep bucket over training, on a logarithmic colour scale."""
    figures = []
    buckets = len(probe[0]["loss"])
    names = [f"{100 * bucket // buckets}–{100 * (bucket + 1) // buckets}% of T" for bucket in range(buckets)]
    steps = [int(row["step"]) for row in probe]
    for key, title in (
        ("loss", "Loss by timestep over training"),
        ("gradient_norm", "Gradient norm by timestep over training"),
    ):
        values = [[float(row[key][bucket]) for row in probe] for bucket in range(buckets)]
        logs = [[math.log10(max(value, 1e-12)) for value in row] for row in values]
        trace = {
            "type": "heatmap", "x": steps, "y": names, "z": logs, "colorscale": "Cividis",
            "customdata": values, "hovertemplate": "step %{x}, t %{y}: %{customdata:.4g}<extra></extra>",
            "colorbar": {"title": {"text": "log10"}},
        }  # fmt: skip
        last = [row[-1] for row in values]
        worst, best = last.index(max(last)), last.index(min(last))
        sentence = (
            f"On one fixed batch of real images. At step {steps[-1]:,} it is largest at {names[worst]} "
            f"({number(last[worst])}) and smallest at {names[best]} ({number(min(last))})."
        )
        rows = tuple(
            (names[bucket], *(number(values[bucket][index]) for index in (0, -1))) for bucket in range(buckets)
        )
        figure_layout = layout("optimiser step", "timestep (0% is clean)")
        figure_layout["margin"]["l"] = 150
        figure_layout["yaxis"]["type"] = "category"
        columns = ("timesteps", f"at step {steps[0]}", f"at step {steps[-1]}")
        figures.append(
            Figure(f"{identifier}-by-t-{key}", title, sentence, embedded([trace], figure_layout), columns, rows, 340)
        )
    return figures
