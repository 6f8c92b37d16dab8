"""Curves of a health check that mean something beside each other, on one pair of axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffeval.report.figures.base import MOST_POINTS, STYLES, figure, label, layout
from diffeval.report.view import Figure
from diffeval.runs.records import Param
from diffeval.runs.words import cells, number

Rows = Sequence[Mapping[str, Param]]


@dataclass(frozen=True, slots=True)
class Overlay:
    """How a check's table is drawn.

    Attributes:
        title: of the figure.
        sentence: what there is to see.
        x: title of the axis; the table's first column is along it.
        y: title of the other.
        curves: columns that are drawn, with their names in the legend; all but the first where it is empty.
        log_y: whether that axis is logarithmic.
    """

    title: str
    sentence: str
    x: str
    y: str
    curves: Mapping[str, str]
    log_y: bool = True


RISK, LEVEL = "risk of the noise prediction", "log-SNR"

OVERLAYS: Mapping[str, Overlay] = {
    "loss-profile": Overlay(
        "Risk against the Wiener floor",
        "A network that is worth training lies below the floor, which needs no training, where images are noisy.",
        LEVEL, RISK, {"risk": "risk of the network", "floor": "best affine denoiser"},
    ),
    "guidance-branch": Overlay(
        "Risk by the class that the network is told",
        "The true class must lie below a wrong one, and the null class below the mean of the predictions under all.",
        LEVEL, RISK,
        {"true": "true class", "wrong": "a wrong class", "null": "null class", "mean_of_classes": "mean of all"},
    ),
    "prediction-type": Overlay(
        "Risk by what the output is taken for",
        "The type that the weights were trained for lies lowest, each at the timestep that suits it best.",
        LEVEL, RISK, {},
    ),
    "memorization": Overlay(
        "Risk on training images and on held-out ones",
        "A network that treats both alike has one curve; what lies between the two is what it knows by heart.",
        LEVEL, RISK, {"train": "training images", "held_out": "held-out images"},
    ),
    "ema": Overlay(
        "Risk of averaged and of raw weights", "The average should lie on the raw weights' curve, or below.",
        LEVEL, RISK, {"ema": "averaged weights", "raw": "raw weights"},
    ),
    "batch-norm": Overlay(
        "Risk by what BatchNorm normalises with",
        "Running statistics that suit the network cost no more than those of a batch.",
        LEVEL, RISK, {"running": "running statistics", "batch": "statistics of a batch"},
    ),
    "receptive-field": Overlay(
        "Influence of what lies beyond a radius",
        "How much the centre of the output moves when everything further away is another image's; 1 when all is. "
        "With more noise it must reach further.",
        "radius in pixels", "influence", {}, log_y=False,
    ),
}  # fmt: skip


def overlaid(one: Overlay, rows: Rows, identifier: str, *, static: bool = False) -> tuple[Figure, ...]:
    """The figure, with the table below it."""
    first, *others = list(rows[0])
    curves = one.curves or {name: name.replace("_", " ") for name in others}
    thinned = rows[:: -(-len(rows) // MOST_POINTS)]
    traces = []
    for (name, called), (colour, dash, symbol) in zip(curves.items(), STYLES, strict=False):
        shown = [row for row in thinned if row.get(name) is not None]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": label(called),
                "x": [row[first] for row in shown], "y": [row[name] for row in shown],
                "line": {"color": colour, "width": 2, "dash": dash},
                "marker": {"size": 7, "symbol": symbol, "color": colour},
            }
        )  # fmt: skip
    made = layout(one.x, one.y, log_y=one.log_y)
    sentence = f"{one.sentence}{_furthest(one, rows, first, curves)}"
    return (figure(identifier, one.title, sentence, traces, made, cells(rows), height=300, static=static),)


def _furthest(one: Overlay, rows: Rows, first: str, curves: Mapping[str, str]) -> str:
    """Where the curves lie furthest apart, in numbers: by their ratio on a logarithmic axis."""
    apart: tuple[float, Mapping[str, Param]] | None = None
    for row in rows:
        known = [float(row[name] or 0.0) for name in curves if isinstance(row.get(name), float | int)]
        if len(known) > 1 and (not one.log_y or min(known) > 0):
            length = max(known) / min(known) if one.log_y else max(known) - min(known)
            apart = (length, row) if apart is None or length > apart[0] else apart
    if apart is None:
        return ""
    row = apart[1]
    read = ", ".join(f"{called} {number(float(row[name] or 0.0))}" for name, called in curves.items()
                     if isinstance(row.get(name), float | int))  # fmt: skip
    return f" Furthest apart at {one.x} {number(float(row[first] or 0.0))}: {read}."


def by_name(rows: Rows, identifier: str, *, static: bool = False) -> tuple[Figure, ...]:
    """Risk by the map of the images, one line of dots each: the names are long."""
    first, *levels = list(rows[0])
    names = [label(str(row[first])) for row in rows]
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": level.replace("log_snr", LEVEL),
            "x": [row[level] for row in reversed(rows)], "y": names[::-1],
            "marker": {"color": colour, "size": 10, "symbol": symbol},
        }
        for level, (colour, _, symbol) in zip(levels, STYLES, strict=False)
    ]  # fmt: skip
    made = layout(RISK, "", log_x=True)
    made["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "dtick": 1}
    said = []
    for level in levels:
        known = [row for row in rows if isinstance(row[level], float)]
        least = min(known, key=lambda row: float(row[level] or 0.0), default=None)
        if least is not None:
            beside = f", {known[0][first]} {number(float(known[0][level] or 0.0))}" if least is not known[0] else ""
            read = number(float(least[level] or 0.0))
            said.append(f"at {level.replace('log_snr', LEVEL)} it is {least[first]} with {read}{beside}")
    sentence = (
        f"The range of images with the least risk is the one that the network was trained on: {'; '.join(said)}."
    )
    height = 100 + 35 * len(rows)
    title = "Risk by the range of the images"
    return (figure(identifier, title, sentence, traces, made, cells(rows), height=height, static=static),)
