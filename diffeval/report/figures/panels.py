"""Small panels side by side in one figure."""

from collections.abc import Sequence
from typing import Any

# Panels in a row of the figure, and the height of one.
COLUMNS, HEIGHT = 3, 230


def panel_layout(titles: Sequence[str], columns: int = COLUMNS) -> dict[str, Any]:
    """A layout with an x and a y axis for each title; the axes of the first are x and y, of the second x2 and y2."""
    made: dict[str, Any] = {"margin": {"l": 55, "r": 15, "t": 35, "b": 45}, "showlegend": False, "annotations": []}
    depth = -(-len(titles) // columns)
    for place, title in enumerate(titles):
        row, column = divmod(place, columns)
        left, top = column / columns, 1 - row / depth
        x = [left + 0.03, left + 1 / columns - 0.03]
        y = [top - 1 / depth + 0.16 / depth, top - 0.14 / depth]
        made[f"xaxis{suffix(place)}"] = {"domain": x, "anchor": f"y{suffix(place)}"}
        made[f"yaxis{suffix(place)}"] = {"domain": y, "anchor": f"x{suffix(place)}"}
        made["annotations"].append(
            {
                "text": title, "xref": "paper", "yref": "paper", "x": x[0], "y": y[1], "xanchor": "left",
                "yanchor": "bottom", "showarrow": False, "font": {"size": 12},
            }
        )  # fmt: skip
    return made


def panel_height(count: int, columns: int = COLUMNS) -> int:
    """Of a figure with so many panels, in pixels."""
    return HEIGHT * -(-count // columns)


def suffix(place: int) -> str:
    """What plotly appends to x and y for the panel at this place, from 0."""
    return "" if place == 0 else str(place + 1)
