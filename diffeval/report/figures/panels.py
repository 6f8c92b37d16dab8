"""Small panels side by side in one figure."""

from collections.abc import Sequence
from typing import Any

# Panels in a row of the figure, where the window is wide.
COLUMNS = 3
# Pixels: of a panel's y axis, between two rows of panels, between two columns, and around all of them.
HEIGHT, BETWEEN, GAP = 150, 84, 62
MARGIN = {"l": 50, "r": 18, "t": 26, "b": 40}
# Pixels of the page within the margins; the page sets panels in fewer columns where it is narrower.
WIDE = 832


def panel_layout(titles: Sequence[str], columns: int = COLUMNS, *, tall: int = HEIGHT) -> dict[str, Any]:
    """A layout with an x and a y axis for each title; the axes of the first are x and y, of the second x2 and y2.

    Args:
        titles: of the panels, above them.
        columns: panels in a row, at most.
        tall: pixels of a panel's y axis.
    """
    columns = min(columns, len(titles))
    inner = panel_height(len(titles), columns, tall=tall) - MARGIN["t"] - MARGIN["b"]
    gap = GAP / WIDE
    wide = (1 + gap) / columns
    made: dict[str, Any] = {"margin": dict(MARGIN), "annotations": [], "showlegend": False}
    for place, title in enumerate(titles):
        row, column = divmod(place, columns)
        top = 1 - row * (tall + BETWEEN) / inner
        x, y = [column * wide, (column + 1) * wide - gap], [max(top - tall / inner, 0), top]
        x, y = [round(one, 5) for one in x], [round(one, 5) for one in y]
        made[f"xaxis{suffix(place)}"] = {"domain": x, "anchor": f"y{suffix(place)}"}
        made[f"yaxis{suffix(place)}"] = {"domain": y, "anchor": f"x{suffix(place)}"}
        made["annotations"].append(
            {
                "text": title, "xref": "paper", "yref": "paper", "x": x[0], "y": y[1], "xanchor": "left",
                "yanchor": "bottom", "showarrow": False, "font": {"size": 13},
            }
        )  # fmt: skip
    return made


def panel_height(count: int, columns: int = COLUMNS, *, tall: int = HEIGHT) -> int:
    """Of a figure with so many panels, in pixels."""
    rows = -(-count // min(columns, count))
    return MARGIN["t"] + MARGIN["b"] + rows * tall + (rows - 1) * BETWEEN


def suffix(place: int) -> str:
    """What plotly appends to x and y for the panel at this place, from 0."""
    return "" if place == 0 else str(place + 1)
