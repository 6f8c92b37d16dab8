"""Axes of a plotly layout as scales: which pixel a value lies at, and where the ticks are."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Ticks that are aimed at, by pixels between two of them; names of categories need fewer.
BETWEEN_X, BETWEEN_Y, BETWEEN_NAMES = 95, 45, 15
# Share of the extent that stays free at either end.
FREE = 0.05


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis.

    Attributes:
        kind: ``linear``, ``log`` or ``category``.
        low: what lies at ``begin``: a value, its logarithm to base 10, or a place among the names.
        high: what lies at ``end``.
        begin: pixel; of a vertical axis the lower end, which is the larger number.
        end: pixel.
        names: of the categories.
        ticks: value and text.
    """

    kind: str
    low: float
    high: float
    begin: float
    end: float
    names: tuple[str, ...] = ()
    ticks: tuple[tuple[float | str, str], ...] = ()

    def at(self, value: Any) -> float | None:
        """The pixel of a value; None where the axis has no place for it."""
        place = self._place(value)
        if place is None or self.high == self.low:
            return None
        return self.begin + (place - self.low) / (self.high - self.low) * (self.end - self.begin)

    def _place(self, value: Any) -> float | None:
        if self.kind == "category":
            return float(self.names.index(str(value))) if str(value) in self.names else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        if self.kind == "log":
            return math.log10(value) if value > 0 else None
        return float(value)


def scale_of(axis: Mapping[str, Any], values: Sequence[Any], begin: float, end: float, *, tight: bool) -> Scale:
    """The scale of an axis.

    Args:
        axis: of the layout.
        values: everything that is to lie on it.
        begin: pixel of its lower end.
        end: pixel of its upper end.
        tight: whether nothing stays free at the ends, as of heat maps.
    """
    kind = str(axis.get("type") or "")
    if kind not in {"linear", "log", "category"}:
        kind = "category" if any(isinstance(value, str) for value in values) else "linear"
    if axis.get("autorange") == "reversed":
        begin, end = end, begin
    if kind == "category":
        return _categories(axis, values, begin, end)
    low, high = _extent(axis, values, kind, free=0.0 if tight else FREE)
    between = BETWEEN_X if _horizontal(begin, end, axis) else BETWEEN_Y
    ticks = _ticks(axis, kind, low, high, max(2, int(abs(end - begin) / between)))
    return Scale(kind, low, high, begin, end, (), ticks)


def _horizontal(begin: float, end: float, axis: Mapping[str, Any]) -> bool:
    """Whether an axis lies along x: those of y begin at the bottom, unless they are turned round."""
    return (begin < end) != (axis.get("autorange") == "reversed")


def _categories(axis: Mapping[str, Any], values: Iterable[Any], begin: float, end: float) -> Scale:
    order = [*map(str, axis.get("categoryarray") or ()), *(str(value) for value in values if value is not None)]
    names = tuple(dict.fromkeys(order))
    stride = max(1, math.ceil(len(names) * BETWEEN_NAMES / max(abs(end - begin), 1)))
    ticks = tuple((name, name) for name in names[::stride])
    return Scale("category", -0.5, len(names) - 0.5, begin, end, names, ticks)


def _extent(axis: Mapping[str, Any], values: Sequence[Any], kind: str, free: float) -> tuple[float, float]:
    """Ends of a linear or logarithmic axis; of the latter as logarithms, as in plotly's own ranges."""
    known = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    if kind == "log":
        known = [math.log10(value) for value in known if value > 0]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if axis.get("rangemode") == "tozero" and kind == "linear":
        low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        pad = 0.5 if kind == "log" or high == 0 else abs(high) / 2
        low, high = low - pad, high + pad
    pad = free * (high - low)
    given = list(axis.get("range") or (None, None))
    begin = low - pad if given[0] is None else float(given[0])
    end = high + pad if given[1] is None else float(given[1])
    if axis.get("rangemode") == "tozero" and low == 0 and given[0] is None:
        begin = 0.0
    return begin, end


def _ticks(
    axis: Mapping[str, Any], kind: str, low: float, high: float, count: int
) -> tuple[tuple[float | str, str], ...]:
    if axis.get("tickvals") is not None:
        texts = axis.get("ticktext") or [tick_text(float(value)) for value in axis["tickvals"]]
        return tuple((value, str(text)) for value, text in zip(axis["tickvals"], texts, strict=True))
    values = log_ticks(low, high, count) if kind == "log" else linear_ticks(low, high, count)
    return tuple((value, tick_text(value)) for value in values)


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """About so many round values from low to high: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(count, 1)
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{place * step:.10g}") for place in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Powers of ten between 10^low and 10^high; 1, 2 and 5 times these where there are few."""
    first, last = math.floor(low), math.ceil(high)
    powers = [power for power in range(first, last + 1) if low - 1e-9 <= power <= high + 1e-9]
    if len(powers) >= 3:
        stride = max(1, math.ceil(len(powers) / max(count, 2)))
        return [10.0**power for power in powers[::stride]]
    fine = [10.0**power * factor for power in range(first, last + 1) for factor in (1, 2, 5)]
    found = [value for value in fine if low - 1e-9 <= math.log10(value) <= high + 1e-9]
    return found if len(found) >= 2 else [float(f"{10.0**end:.2g}") for end in (low, high)]


def tick_text(value: float) -> str:
    """A round value as text: thousands apart, no more digits than it has."""
    if value != 0 and not 1e-5 <= abs(value) < 1e7:
        return f"{value:.3g}"
    return f"{value:,.10f}".rstrip("0").rstrip(".") or "0"
