"""Small panels side by side in one figure."""

from collections.abc import Sequence
from typing import Any

# Panels in a row of the figure, where the window is wide.
COLUMNS = 3
# Pixels of a panel: its axes, its title above, ticks and the axis' title below, ticks to the left, space to the right.
HEIGHT, ABOVE, BELOW, LEFT, RIGHT = 150, 28, 54, 58, 18
# Width of the page that shares are taken of; the page sets panels in fewer columns where it is narrower.
WIDE = 880
EDGE = 8


def panel_layout(titles: Sequence[str], columns: int = COLUMNS, *, tall: int = HEIGHT) -> dict[str, Any]:
    """A layout with an x and a y axis for each title; the axes of the first are x and y, of the second x2 and y2.

    Args:
        titles: of the panels, above them.
        columns: panels in a row, at most.
        tall: pixels of a panel's y axis.
    """
    columns = min(columns, len(titles))
    depth = -(-len(titles) // columns)
    cell, wide = tall + ABOVE + BELOW, WIDE / columns
    margin = {"l": EDGE, "r": EDGE, "t": EDGE, "b": EDGE}
    made: dict[str, Any] = {"margin": margin, "annotations": [], "showlegend": False}
    for place, title in enumerate(titles):
        row, column = divmod(place, columns)
        x = [(column * wide + LEFT) / WIDE, ((column + 1) * wide - RIGHT) / WIDE]
        y = [1 - (row * cell + ABOVE + tall) / (depth * cell), 1 - (row * cell + ABOVE) / (depth * cell)]
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
    return 2 * EDGE + (tall + ABOVE + BELOW) * -(-count // min(columns, count))


def suffix(place: int) -> str:
    """What plotly appends to x and y for the panel at this place, from 0."""
    return "" if place == 0 else str(place + 1)
