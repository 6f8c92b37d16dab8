"""Scores by class, the worst first."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from diffeval.report.figures.base import BLUE, GREY, ORANGE, figure, label, layout
from diffeval.report.view import Figure
from diffeval.runs.records import Param, Results
from diffeval.runs.words import cells, number, shortened

Rows = Sequence[Mapping[str, Param]]
# Classes that are drawn, at most, and the probability from which on one is called bad.
MOST, LEVEL = 30, 0.05
LONGEST = 28
# Pixels of a class, and of what is around all of them.
EACH, AROUND = 21, 90


def by_class(results: Results, identifier: str) -> tuple[Figure, ...]:
    """Distance and accuracy of each class, the worst on top; nothing without classes."""
    rows = results.tables.get("per_class", ())
    if not rows:
        return ()
    drawn = (_distances(rows, f"{identifier}-kid"), _accuracies(rows, results, f"{identifier}-accuracy"))
    return tuple(one for one in drawn if one is not None)


def _distances(rows: Rows, identifier: str) -> Figure | None:
    """Kernel distance of each class to the real images of it, as bars."""
    rows = [row for row in rows if _value(row.get("kid")) is not None]
    if not rows:
        return None
    shown = rows[:MOST]
    trace = {
        "type": "bar", "orientation": "h", "x": [_value(row["kid"]) for row in shown], "y": _names(shown),
        "marker": {"color": [ORANGE if _bad(row) else BLUE for row in shown]},
        "error_x": {"type": "data", "array": [2 * (_value(row.get("std_error")) or 0.0) for row in shown],
                    "thickness": 1.2, "width": 3, "color": GREY},
    }  # fmt: skip
    bad, first = [str(row["class"]) for row in rows if _bad(row)], rows[0]
    named = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    said = f"{len(bad)} of {len(rows)} classes stand out as bad: {named} (orange)." if bad else (
        f"None of {len(rows)} classes stands out as bad."
    )  # fmt: skip
    sentence = (
        f"{said} On top is class {first['class']} with {number(_value(first['kid']) or 0.0)}. Lower is better; 0 is "
        f"as close as other real images would be. Lines are two standard errors."
    )
    return _figure(identifier, "Kernel distance (KID) by class", sentence, rows, trace, "kid", zero=True)


def _accuracies(rows: Rows, results: Results, identifier: str) -> Figure | None:
    """How often the classifier takes images for their class, as points: only what is missing to 1 matters."""
    known = [row for row in rows if _is_share(row.get("class_accuracy")) and (_value(row.get("n")) or 0) >= 1]
    if not known:
        return None
    shown = known[:MOST]
    values = [_value(row["class_accuracy"]) or 0.0 for row in shown]
    ends = [wilson(value, int(_value(row["n"]) or 1)) for value, row in zip(values, shown, strict=True)]
    trace = {
        "type": "scatter", "mode": "markers", "x": values, "y": _names(shown),
        "error_x": {"type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": GREY,
                    "array": [high - value for (_, high), value in zip(ends, values, strict=True)],
                    "arrayminus": [value - low for (low, _), value in zip(ends, values, strict=True)]},
        "marker": {"color": [ORANGE if _bad(row) else BLUE for row in shown], "size": 9},
    }  # fmt: skip
    low = min(known, key=lambda row: _value(row["class_accuracy"]) or 0.0)
    real = _real(results)
    sentence = (
        f"Least: class {low['class']}, of which {100 * (_value(low['class_accuracy']) or 0.0):.1f}% are taken for it. "
        f"Higher is better; lines are intervals of two standard errors (Wilson)."
        + (f" Dotted: {100 * real:.1f}%, held-out real images of all classes." if real is not None else "")
    )
    return _figure(identifier, "Accuracy by class", sentence, known, trace, "class_accuracy", real=real)


def _figure(
    identifier: str,
    title: str,
    sentence: str,
    rows: Rows,
    trace: Mapping[str, Any],
    name: str,
    *,
    real: float | None = None,
    zero: bool = False,
) -> Figure:
    shown = rows[:MOST]
    made = layout(name, "")
    made["xaxis"] |= {"rangemode": "tozero"} if zero else {}
    order = {"categoryorder": "array", "categoryarray": _names(shown)[::-1], "dtick": 1}
    made["yaxis"] |= {"type": "category", **order}
    if real is not None:
        line = {"color": "#009e73", "dash": "dot", "width": 2}
        made["shapes"] = [{"type": "line", "x0": real, "x1": real, "yref": "paper", "y0": 0, "y1": 1, "line": line}]
    if len(rows) > MOST:
        sentence += f" Drawn are the first {MOST} of {len(rows)} classes; the table has more."
    height = AROUND + EACH * len(shown)
    return figure(identifier, title, sentence, [trace], made, cells(rows), height=height, static=True)


def wilson(share: float, n: int, z: float = 2.0) -> tuple[float, float]:
    """Wilson's interval of a share: no errors among few do not mean that there are none.

    Args:
        share: between 0 and 1.
        n: images.
        z: standard errors to either side.
    """
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return min(share, middle - half), max(share, middle + half)


def _names(rows: Rows) -> list[str]:
    """Names in the order of the rows, no two alike after shortening."""
    found: list[str] = []
    for place, row in enumerate(rows):
        name = label(shortened(str(row["class"]), LONGEST))
        found.append(name if name not in found else f"{name} ({place + 1})")
    return found


def _real(results: Results) -> float | None:
    """Accuracy of held-out real images of all classes together."""
    known = [one for one in results.scores if one.name == "class_accuracy" and one.null is not None]
    null = known[-1].null if known else None
    return None if null is None else null.value


def _bad(row: Mapping[str, Param]) -> bool:
    p = row.get("p")
    return isinstance(p, float) and p < LEVEL


def _value(value: Param) -> float | None:
    return float(value) if isinstance(value, float | int) else None


def _is_share(value: Param) -> bool:
    """A table that somebody wrote by hand may hold anything."""
    return isinstance(value, float | int) and 0 <= value <= 1
