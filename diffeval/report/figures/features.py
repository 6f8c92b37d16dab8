"""The map of features: where real images lie, where generated ones, and where there are too few or too many."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from diffeval.report.figures.base import figure
from diffeval.report.figures.panels import panel_height, panel_layout, suffix
from diffeval.report.view import Figure
from diffeval.runs.directory import RunDirectory

NAMES = ("map_real", "map_generated", "map_x", "map_y")
# From too few over as many as there should be to too many, in colours that colour-blind readers tell apart; the
# middle is seen on light and on dark paper.
DIVERGING = [[0.0, "#b35806"], [0.25, "#e0924a"], [0.5, "#c9c9c9"], [0.75, "#6fa8d6"], [1.0, "#2166ac"]]
TALL = 250
# Images in a bin from which on its share says something.
LEAST = 5
Array = npt.NDArray[np.float64]


def feature_map(run: RunDirectory, identifier: str) -> Figure | None:
    """Both sides and their difference, in bins; None where the run holds no map."""
    held = _held(run)
    if held is None:
        return None
    real, generated = (held[name].astype(np.float64) for name in NAMES[:2])
    if not real.sum() or not generated.sum():
        return None
    shares = real / real.sum(), generated / generated.sum()
    x, y = _middles(held["map_x"]), _middles(held["map_y"])
    made = panel_layout(("real images", "generated images", "generated − real"), tall=TALL)
    for place in range(3):
        bare = {"showticklabels": False, "tickvals": [], "zeroline": False, "showgrid": False}
        made[f"xaxis{suffix(place)}"] |= {"title": {"text": "component 1"}, **bare}
        made[f"yaxis{suffix(place)}"] |= bare
    made["yaxis"]["title"] = {"text": "component 2"}
    traces = [*(_counted(share, x, y, place, shares) for place, share in enumerate(shares))]
    traces.append(_difference(shares, x, y))
    rows = tuple(
        (name, f"{int(one.sum()):,}", str(int((one > 0).sum())))
        for name, one in (("real", real), ("generated", generated))
    )
    columns = ("side", "images on the map", "bins with any")
    sentence = _sentence(real, generated)
    height = panel_height(1, tall=TALL)
    return figure(
        identifier, "Where real and generated images lie", sentence, traces, made, (columns, rows), height=height
    )


def _held(run: RunDirectory) -> Mapping[str, Any] | None:
    """The arrays of a map: an evaluation's own, or those of mode coverage."""
    held = run.arrays("feature_map")
    if held is not None and all(name in held for name in NAMES):
        return held
    terms = run.arrays("terms") or {}
    found = {name: terms.get(f"mode_coverage.{name}") for name in NAMES}
    return None if any(one is None for one in found.values()) else found


def _counted(share: Array, x: list[float], y: list[float], place: int, both: tuple[Array, Array]) -> dict[str, Any]:
    """Shares of one side, on a logarithmic colour scale; empty bins stay empty."""
    least = min(float(one[one > 0].min()) for one in both)
    most = max(float(one.max()) for one in both)
    low, high = float(np.log10(least)), float(np.log10(most))
    logs = np.log10(np.maximum(share, least)).round(3)
    z = [[value if held else None for value, held in zip(row, some, strict=True)]
         for row, some in zip(logs.T.tolist(), (share > 0).T.tolist(), strict=True)]  # fmt: skip
    return {
        "type": "heatmap", "x": x, "y": y, "z": z, "colorscale": "Cividis", "zmin": round(low, 3),
        "zmax": round(high, 3), "showscale": False, "customdata": _digits(100 * share),
        "hovertemplate": "%{customdata:.2~g}% of the images<extra></extra>",
        "xaxis": f"x{suffix(place)}", "yaxis": f"y{suffix(place)}",
    }  # fmt: skip


def _difference(shares: tuple[Array, Array], x: list[float], y: list[float]) -> dict[str, Any]:
    """Generated less real, in per cent of the images, around 0; where neither side is, nothing."""
    difference = 100 * (shares[1] - shares[0])
    most = float(f"{max(float(np.abs(difference).max()), 1e-6):.2g}")
    anywhere = (shares[0] + shares[1]).T > 0
    z = [[value if held else None for value, held in zip(row, some, strict=True)]
         for row, some in zip(_digits(difference), anywhere.tolist(), strict=True)]  # fmt: skip
    return {
        "type": "heatmap", "x": x, "y": y, "z": z, "colorscale": DIVERGING,
        "zmin": -most, "zmax": most, "zmid": 0, "xaxis": "x3", "yaxis": "y3",
        "hovertemplate": "%{z:+.2~g}% of the images<extra></extra>",
        "colorbar": {"title": {"text": "%"}, "tickvals": [-most, 0, most],
                     "ticktext": [f"−{most:g}", "0", f"+{most:g}"]},
    }  # fmt: skip


def _digits(values: Array) -> list[list[float]]:
    found: list[list[float]] = values.T.round(4).tolist()
    return found


def _middles(edges: Any) -> list[float]:
    found: list[float] = ((edges[1:] + edges[:-1]) / 2).round(4).tolist()
    return found


def _sentence(real: Array, generated: Array) -> str:
    shares = real / real.sum(), generated / generated.sum()
    overlap = float(np.minimum(*shares).sum())
    crowded = real >= LEAST
    empty = crowded & (generated == 0)
    lost = 100 * float(shares[0][empty].sum())
    return (
        f"Each image's features along the two principal components in which real images differ most, counted in bins. "
        f"The maps overlap by {100 * overlap:.0f}%; {int(empty.sum())} of {int(crowded.sum())} bins with {LEAST} or "
        f"more real images have no generated one ({lost:.2g}% of the real images). Brighter is more. Right: orange is "
        f"missing, blue is too much, grey is as it should be; single specks are chance, patches are not."
    )
