"""The training log as figures: loss, gradients and learning rate over steps, and by timestep."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffeval.report.figures.base import BLUE, GREEN, MOST_POINTS, ORANGE, decades, faint, figure, layout
from diffeval.report.view import Figure
from diffeval.runs.words import number

Row = Mapping[str, Any]
# Share of the training that a smoothed value looks back over.
LOOK_BACK = 0.02
GOOD = {
    "loss": "Every row should darken to the right; one that does not is a range of timesteps that is not learnt.",
    "gradient_norm": "A row that is far brighter than the others decides what the steps do.",
}
LEGENDS = {"loss": "training loss", "gradient_norm": "gradient norm", "lr": "learning rate"}


def training_curves(log: Sequence[Row], identifier: str) -> list[Figure]:
    """Loss, gradient norm and learning rate against the optimiser step; at most ``MOST_POINTS`` points each."""
    return [
        _curve(log, "loss", "Training loss", BLUE, f"{identifier}-loss"),
        _curve(log, "gradient_norm", "Gradient norm before clipping", ORANGE, f"{identifier}-gradient_norm"),
        _rate(log, f"{identifier}-lr"),
    ]


def smoothed(values: Sequence[float], span: int) -> list[float]:
    """An exponential moving average that forgets over ``span`` values; its start is corrected for starting from 0."""
    keep = 1 - 1 / max(span, 1)
    found, held, weight = [], 0.0, 0.0
    for value in values:
        held, weight = keep * held + (1 - keep) * value, keep * weight + 1 - keep
        found.append(held / weight)
    return found


def _curve(log: Sequence[Row], key: str, title: str, colour: str, identifier: str) -> Figure:
    """A noisy quantity, as logged and smoothed, on a logarithmic axis."""
    span = max(2, round(LOOK_BACK * len(log)))
    raw = [float(row[key]) for row in log]
    smooth = smoothed(raw, span)
    stride = max(1, math.ceil(len(log) / MOST_POINTS))
    starts = range(0, len(log), stride)
    steps = [int(log[min(start + stride, len(log)) - 1]["step"]) for start in starts]
    # What is drawn of the noise is its mean over a stretch; the smoothed line is read at the end of each.
    means = [sum(raw[start : start + stride]) / len(raw[start : start + stride]) for start in starts]
    kept = [smooth[min(start + stride, len(log)) - 1] for start in starts]
    name = "as logged" if stride == 1 else f"mean of {stride} steps"
    shared = {"type": "scatter", "mode": "lines", "x": steps}
    traces = [
        {**shared, "name": name, "y": _short(means), "line": {"color": faint(colour, 0.35), "width": 1}},
        {**shared, "name": f"smoothed over {span} steps", "y": _short(kept), "line": {"color": colour, "width": 2.5}},
    ]
    low = min(kept)
    sentence = (
        f"Smoothed (exponential moving average over {span} steps) it goes from {number(kept[0])} to "
        f"{number(kept[-1])} over {steps[-1]:,} steps; the least is {number(low)} at step "
        f"{steps[kept.index(low)]:,}. "
    ) + (
        "It should fall and then level off; a rise at the end is a training that diverges."
        if key == "loss"
        else "It should stay within bounds; spikes are steps that may have done harm."
    )
    every = max(1, len(steps) // 20)
    rows = tuple((f"{step:,}", number(one), number(other)) for step, one, other in
                 list(zip(steps, means, kept, strict=True))[::every])  # fmt: skip
    made = layout("optimiser step", LEGENDS[key], log_y=all(value > 0 for value in means))
    return figure(identifier, title, sentence, traces, made, (("step", name, "smoothed"), rows), height=300)


def _rate(log: Sequence[Row], identifier: str) -> Figure:
    """The learning rate, which has no noise."""
    rows = log[:: max(1, math.ceil(len(log) / MOST_POINTS))]
    rows = [*rows, log[-1]] if rows[-1] is not log[-1] else list(rows)
    steps, rates = [int(row["step"]) for row in rows], [float(row["lr"]) for row in rows]
    trace = {"type": "scatter", "mode": "lines", "x": steps, "y": rates, "line": {"color": GREEN, "width": 2}}
    sentence = (
        f"It begins at {number(rates[0])}, is at most {number(max(rates))} and ends at {number(rates[-1])} at step "
        f"{steps[-1]:,}."
    )
    every = max(1, len(steps) // 20)
    table = tuple((f"{step:,}", number(rate)) for step, rate in list(zip(steps, rates, strict=True))[::every])
    made = layout("optimiser step", LEGENDS["lr"])
    made["yaxis"]["rangemode"] = "tozero"
    return figure(identifier, "Learning rate", sentence, [trace], made, (("step", "learning rate"), table), height=240)


def probe_heatmaps(probe: Sequence[Row], identifier: str) -> list[Figure]:
    """Loss and gradient norm by timestep bucket over training, on a logarithmic colour scale."""
    return [
        _by_timestep(probe, "loss", "Loss by timestep over training", f"{identifier}-by-t-loss"),
        _by_timestep(
            probe, "gradient_norm", "Gradient norm by timestep over training", f"{identifier}-by-t-gradient_norm"
        ),
    ]


def _by_timestep(probe: Sequence[Row], key: str, title: str, identifier: str) -> Figure:
    buckets = len(probe[0][key])
    names = [f"{100 * bucket // buckets}–{100 * (bucket + 1) // buckets}%" for bucket in range(buckets)]
    kept = probe[:: math.ceil(len(probe) / MOST_POINTS)]
    steps = [int(row["step"]) for row in kept]
    values = [[float(f"{float(row[key][bucket]):.4g}") for row in kept] for bucket in range(buckets)]
    logs = [[round(math.log10(max(value, 1e-12)), 4) for value in row] for row in values]
    low, high = min(map(min, logs)), max(map(max, logs))
    trace = {
        "type": "heatmap", "x": steps, "y": names, "z": logs, "colorscale": "Cividis",
        "customdata": values, "hovertemplate": "step %{x:,d}, t %{y}: %{customdata:.4~g}<extra></extra>",
        "colorbar": {"title": {"text": LEGENDS[key].removeprefix("training ")}, **decades(low, high)},
    }  # fmt: skip
    first, last = [row[0] for row in values], [row[-1] for row in values]
    worst, best = last.index(max(last)), last.index(min(last))
    sentence = (
        f"On one fixed batch of real images, by timestep: 0% of T is a clean image, 100% is noise. At step "
        f"{steps[-1]:,} it is largest at {names[worst]} ({number(last[worst])}, {number(first[worst])} at first) and "
        f"smallest at {names[best]} ({number(last[best])}). {GOOD[key]}"
    )
    rows = tuple((names[at], number(first[at]), number(last[at])) for at in range(buckets))
    made = layout("optimiser step", "timestep, share of T")
    made["yaxis"]["type"] = "category"
    made["xaxis"]["range"] = [steps[0], steps[-1]]
    columns = ("timesteps", f"at step {steps[0]:,}", f"at step {steps[-1]:,}")
    return figure(identifier, title, sentence, [trace], made, (columns, rows), height=340)


def _short(values: Sequence[float]) -> list[float]:
    """Values with the digits that can be seen."""
    return [float(f"{value:.4g}") for value in values]
