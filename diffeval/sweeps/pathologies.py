"""What guidance is known to break, each with the w at which it starts.

The limits come from use and from the literature; they are stated with every finding and are no tests. A limit counts
as crossed only where the whole 95% interval of a value lies beyond it. What real images read is taken as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from diffeval.metrics.metric import LackingError

# Share of saturated pixels above that of real images, and colour saturation relative to theirs.
SATURATED_ABOVE, COLOUR_RATIO = 0.05, 1.25
# Distance within a class, and contrast, relative to real images.
COLLAPSED, LOST = 0.7, 0.5
CONTRAST_LOW, CONTRAST_HIGH = 0.7, 1.4
# Share of the best precision at smaller w that guidance, which is there to raise it, must not lose.
KEPT = 0.8
# Share of real images' class accuracy below which, if it does not rise with w, the class is not heeded.
UNHEEDED = 0.5
# Grey levels by which guidance moves images at least, if w reaches so far; and by how much a class accuracy without
# an interval may change and still be called flat.
LEAST_MOVED, LEAST_REACH, FLAT = 1.0, 2.0, 0.02

Interval = tuple[float, float]
Crossed = Sequence[bool | None]
Severity = Literal["warn", "fail"]


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
    severity: Severity


@dataclass(frozen=True, slots=True)
class Readings:
    """What a sweep over guidance scales has measured.

    Attributes:
        at: the scales w, ascending, K of them.
        values: of each score, [K]; None where one could not be computed.
        real: what real images read, of the scores that are held against them.
        colour: whether the images are in colour.
        intervals: 95% intervals of the scores, [K]; where there is none, the value stands for itself.
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
        rows = [*self.values.items(), *self.intervals.items(), ("moved", self.moved or self.at)]
        for name, row in rows:
            if len(row) != len(self.at):
                raise ValueError(f"{name}: {len(row)} readings at {len(self.at)} scales")

    def of(self, score: str) -> Sequence[float | None]:
        """The values of a score, [K].

        Raises:
            LackingError: if there is none.
        """
        values = self.values.get(score, ())
        if all(value is None for value in values):
            raise LackingError(f"there is no {score}")
        return values

    def real_of(self, score: str) -> float:
        """What real images read.

        Raises:
            LackingError: if that is not known, or is 0, so that nothing has a ratio to it.
        """
        if not self.real.get(score):
            raise LackingError(f"{score} of real images is {'0' if score in self.real else 'not known'}")
        return self.real[score]

    def interval(self, score: str, index: int) -> Interval | None:
        """The interval of a value, or the value twice; None where there is no value."""
        value = self.of(score)[index]
        if value is None:
            return None
        return self.intervals.get(score, [None] * len(self.at))[index] or (value, value)

    def above(self, score: str, limit: float) -> Crossed:
        """Whether the score lies above the limit, [K]; None where there is no value."""
        found = [self.interval(score, index) for index in range(len(self.at))]
        return [None if one is None else one[0] > limit for one in found]

    def below(self, score: str, limit: float) -> Crossed:
        """Whether the score lies below the limit, [K]; None where there is no value."""
        found = [self.interval(score, index) for index in range(len(self.at))]
        return [None if one is None else one[1] < limit for one in found]


def find(readings: Readings) -> tuple[Pathology, ...]:
    """The pathologies that show; ``unjudged`` says which could not be looked for.

    Source: over-saturation and loss of contrast under guidance, Lin, Liu, Li and Yang 2024 and Sadat, Hilliges and
    Weber 2024; loss of diversity, Ho and Salimans 2022. The limits are this package's own.
    """
    found: list[Pathology] = []
    for judge in JUDGES.values():
        try:
            found += judge(readings)
        except LackingError:
            continue
    return tuple(found)


def unjudged(readings: Readings) -> tuple[str, ...]:
    """Which pathologies could not be looked for, and why."""
    found = []
    for name, judge in JUDGES.items():
        try:
            judge(readings)
        except LackingError as reason:
            found.append(f"{name} is not judged: {reason}")
    return tuple(found)


def _over_saturation(readings: Readings) -> list[Pathology]:
    score, colour = "saturated_pixels", "colour_saturation"
    if score not in readings.real:
        raise LackingError(f"{score} of real images is not known")
    limit = readings.real[score] + SATURATED_ABOVE
    crossed, ratio = readings.above(score, limit), 0.0
    if readings.colour:
        ratio = readings.real_of(colour)
        strong = readings.above(colour, COLOUR_RATIO * ratio)
        crossed = [None if None in both else all(both) for both in zip(crossed, strong, strict=True)]

    def say(index: int) -> str:
        said = f"{score} is {readings.of(score)[index]:.3g}, limit {limit:.3g}, real images {readings.real[score]:.3g}"
        if not readings.colour:
            return said
        return said + f"; {colour} {(readings.of(colour)[index] or 0.0) / ratio:.3g} of theirs, limit {COLOUR_RATIO:g}"

    return _findings("over-saturation", "fail", readings.at, crossed, say)


def _diversity_collapse(readings: Readings) -> list[Pathology]:
    score, name = "within_class_distance", "diversity-collapse"
    real = readings.real_of(score)

    def judge(share: float, severity: Severity) -> list[Pathology]:
        def say(index: int) -> str:
            return f"{score} is {(readings.of(score)[index] or 0.0) / real:.3g} of real images', limit {share:g}"

        return _findings(name, severity, readings.at, readings.below(score, share * real), say)

    warned, failed = judge(COLLAPSED, "warn"), judge(LOST, "fail")
    # The graver finding says it all where both start together.
    return failed if [one.starts_at for one in failed] == [one.starts_at for one in warned] else warned + failed


def _contrast_collapse(readings: Readings) -> list[Pathology]:
    crossed = readings.below("contrast_ratio", CONTRAST_LOW)
    return _findings("contrast-collapse", "fail", readings.at, crossed, _contrast(readings, CONTRAST_LOW))


def _contrast_explosion(readings: Readings) -> list[Pathology]:
    crossed = readings.above("contrast_ratio", CONTRAST_HIGH)
    return _findings("contrast-explosion", "fail", readings.at, crossed, _contrast(readings, CONTRAST_HIGH))


def _contrast(readings: Readings, limit: float) -> Callable[[int], str]:
    return lambda index: f"contrast is {readings.of('contrast_ratio')[index]:.3g} of real images', limit {limit:g}"


def _quality_collapse(readings: Readings) -> list[Pathology]:
    """Guidance gives diversity away for quality; where that falls, too, w is more than the model or sampler bears."""
    score = "precision"
    values = readings.of(score)
    best = 0
    crossed: list[bool | None] = []
    reached: list[int] = []
    for index, value in enumerate(values):
        interval = readings.interval(score, index)
        if value is not None and value > (values[best] or 0.0):
            best = index
        reached.append(best)
        crossed.append(None if interval is None else interval[1] < KEPT * (values[best] or 0.0))

    def say(index: int) -> str:
        top = reached[index]
        share = (values[index] or 0.0) / (values[top] or 1.0)
        return f"{score} is {share:.2g} of what it is at w={readings.at[top]:g}, limit {KEPT:g}"

    return _findings("quality-collapse", "fail", readings.at, crossed, say)


def _no_effect(readings: Readings) -> list[Pathology]:
    guided = [index for index, w in enumerate(readings.at) if w >= 1]
    if not readings.moved:
        raise LackingError("how far guidance moves images was not measured")
    if not guided or readings.at[-1] < LEAST_REACH:
        raise LackingError(f"no w reaches {LEAST_REACH:g}")
    farthest = max(readings.moved[index] for index in guided)
    if not _flat(readings, guided[0]):
        return []
    first, last = readings.at[guided[0]], readings.at[-1]
    if farthest >= LEAST_MOVED:
        return _unheeded(readings, first, last)
    said = (
        f"between w={first:g} and w={last:g} images of the same seeds differ from those at w=1 by at most"
        f" {farthest:.2g} grey levels on average, limit {LEAST_MOVED:g}"
    )
    return [Pathology("guidance-has-no-effect", first, said, "fail")]


def _unheeded(readings: Readings, first: float, last: float) -> list[Pathology]:
    """Images move with w, and are no more of their classes for it, few of which they are of."""
    score, real = "class_accuracy", readings.real.get("class_accuracy")
    try:
        start, end, between = readings.of(score)[0], readings.of(score)[-1], readings.interval(score, -1)
    except LackingError:
        return []
    if real is None or start is None or end is None or between is None or between[1] >= UNHEEDED * real:
        return []
    said = (
        f"between w={first:g} and w={last:g} {score} stays where it is, from {start:.2g} to {end:.2g}, below "
        f"{UNHEEDED:g} of real images' {real:.2g}: the class that is asked for is not heeded"
    )
    return [Pathology("guidance-has-no-effect", first, said, "fail")]


def _flat(readings: Readings, first: int) -> bool:
    """Whether the class accuracy is the same at both ends; so it is where nobody knows it."""
    try:
        start, end = readings.interval("class_accuracy", first), readings.interval("class_accuracy", -1)
    except LackingError:
        return True
    if start is None or end is None:
        return True
    apart = max(end[0] - start[1], start[0] - end[1])
    return apart <= (FLAT if start[0] == start[1] or end[0] == end[1] else 0.0)


def _findings(
    name: str, severity: Severity, at: Sequence[float], crossed: Crossed, say: Callable[[int], str]
) -> list[Pathology]:
    """One finding where the limit is crossed at all, told at the w where it starts."""
    judged = [index for index, one in enumerate(crossed) if one is not None]
    held = [index for index in judged if crossed[index]]
    if not held:
        return []
    tail = list(takewhile(lambda index: crossed[index], reversed(judged)))[::-1]
    start = (tail or held)[0]
    where = _where(at, judged, [index for index in held if index not in tail], tail)
    return [Pathology(name, at[start], f"{where}: at w={at[start]:g} {say(start)}", severity)]


def _where(at: Sequence[float], judged: Sequence[int], before: Sequence[int], tail: Sequence[int]) -> str:
    """Where a limit is crossed: at scales ``before`` that larger ones do not share, and from ``tail`` to the end."""
    alone = "at w=" + ", ".join(f"{at[index]:g}" for index in before)
    if not tail:
        return f"{alone} alone, not at larger w"
    if len(tail) == len(judged) and at[tail[0]] <= 1:
        return "at every w, also without guidance, which is then not the cause"
    found = f"from w={at[tail[0]]:g} on" if len(tail) > 1 else "at the largest w judged"
    return f"{found}, and {alone} alone" if before else found


JUDGES: Mapping[str, Callable[[Readings], list[Pathology]]] = {
    "over-saturation": _over_saturation,
    "diversity-collapse": _diversity_collapse,
    "contrast-collapse": _contrast_collapse,
    "contrast-explosion": _contrast_explosion,
    "quality-collapse": _quality_collapse,
    "guidance-has-no-effect": _no_effect,
}
