"""What guidance is known to break, each with the w at which it starts.

The limits are starting points from the literature and from use, stated with every finding; they are no tests. A limit
counts as crossed only where the whole 95% interval of a value lies beyond it. The error of what real images read is
not in that interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

# Share of clipped pixels above that of real images, and colour saturation relative to theirs.
SATURATED_ABOVE, COLOUR_RATIO = 0.05, 1.25
# Distance within a class, and contrast, relative to real images.
COLLAPSED, LOST = 0.7, 0.5
CONTRAST_LOW, CONTRAST_HIGH = 0.7, 1.4
# Grey levels that guidance moves an image by at least, where w reaches as far as this; and what a class accuracy
# without an interval may change by and be called flat.
LEAST_MOVED, LEAST_REACH, FLAT = 1.0, 2.0, 0.02

Interval = tuple[float, float]
Crossed = list[bool | None]


@dataclass(frozen=True, slots=True)
class Pathology:
    """Something that goes wrong along a sweep over guidance scales.

    Attributes:
        name: in kebab case, e.g. ``over-saturation``.
        starts_at: the first w from which on it holds at all larger ones; where it does not hold at the largest, the
            first at which it holds, and the summary says so.
        summary: one sentence with the number and its limit.
        severity: how grave.
    """

    name: str
    starts_at: float
    summary: str
    severity: Literal["warn", "fail"]


@dataclass(frozen=True, slots=True)
class Readings:
    """What a sweep over guidance scales has measured.

    Attributes:
        at: the scales w, ascending, K of them.
        values: of each score, [K]; None where one could not be computed.
        real: what real images read, of each score that compares to them.
        colour: whether the images are in colour.
        intervals: 95% intervals of each score, [K]; without one the value stands for itself.
        moved: mean absolute difference of the images to those of the same seeds at w = 1, in grey levels, [K]; empty
            where it was not measured.
    """

    at: tuple[float, ...]
    values: Mapping[str, Sequence[float | None]]
    real: Mapping[str, float]
    colour: bool
    intervals: Mapping[str, Sequence[Interval | None]] = field(default_factory=dict)
    moved: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Readings of other points would name the wrong w."""
        if any(left >= right for left, right in zip(self.at, self.at[1:], strict=False)):
            raise ValueError(f"the scales {self.at} do not ascend")
        rows = {**self.values, **{f"intervals of {name}": row for name, row in self.intervals.items()}}
        rows |= {"moved": self.moved} if self.moved else {}
        for name, row in rows.items():
            if len(row) != len(self.at):
                raise ValueError(f"{name}: {len(row)} readings at {len(self.at)} scales")

    def crossed(self, score: str, limit: float, *, above: bool) -> Crossed:
        """Whether the score lies beyond its limit, at every w; None where there is no value."""
        intervals = self.intervals.get(score, [None] * len(self.at))
        found: Crossed = []
        for value, interval in zip(self.values[score], intervals, strict=True):
            if value is None:
                found.append(None)
                continue
            low, high = interval or (value, value)
            found.append(low > limit if above else high < limit)
        return found


def find(readings: Readings) -> tuple[Pathology, ...]:
    """The pathologies that there are; see ``unjudged`` for those that could not be looked for."""
    return tuple(found for lacks, judge in JUDGES.values() if not lacks(readings) for found in judge(readings))


def unjudged(readings: Readings) -> tuple[str, ...]:
    """Which pathologies could not be looked for, and for want of what."""
    lacking = {name: lacks(readings) for name, (lacks, _) in JUDGES.items()}
    return tuple(f"{name} is not judged: {lack}" for name, lack in lacking.items() if lack)


def _needs(
    values: Sequence[str], real: Sequence[str] = (), in_colour: Sequence[str] = ()
) -> Callable[[Readings], str]:
    """Says what of this is lacking; an empty text where nothing is. What is needed in colour, real images have, too."""

    def lacks(readings: Readings) -> str:
        extra = list(in_colour) if readings.colour else []
        for name in (*values, *extra):
            if all(value is None for value in readings.values.get(name, ())):
                return f"there is no {name}"
        for name in (*real, *extra):
            if name not in readings.real:
                return f"there is no {name} of real images"
        return ""

    return lacks


def _over_saturation(readings: Readings) -> list[Pathology]:
    real = readings.real["saturated_pixels"]
    limit = real + SATURATED_ABOVE
    crossed = readings.crossed("saturated_pixels", limit, above=True)
    said = f"limit {limit:.3g}, {SATURATED_ABOVE:g} above real images"
    if readings.colour:
        real_colour = readings.real["colour_saturation"]
        strong = readings.crossed("colour_saturation", COLOUR_RATIO * real_colour, above=True)
        crossed = [
            None if one is None or other is None else one and other for one, other in zip(crossed, strong, strict=True)
        ]
        said += f", and colour_saturation is above {COLOUR_RATIO:g} of theirs"
    return _finding(
        "over-saturation",
        "fail",
        readings,
        crossed,
        lambda index: f"saturated_pixels is {_value(readings, 'saturated_pixels', index):.3g} ({said})",
    )
