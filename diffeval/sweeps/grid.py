"""Which points a sweep visits, as the command line writes them: guidance scales, and grids of sampling settings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product

from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean

Value = str | int | float | bool

# More points than this in one list are a slip of the step.
MOST = 100
KINDS: Mapping[Callable[[str], Value], str] = {int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting and the values that it takes: numbers ascending, words as they were written; each once."""

    name: str
    values: tuple[Value, ...]


def parse_scales(text: str) -> tuple[float, ...]:
    """``1,1.5,2:8:0.5`` as guidance scales w, ascending, each once.

    A range is start:end:step, its end included where a step falls on it. It is reckoned in decimals, so that its
    points are the numbers that one would have written.

    Raises:
        DiffevalError: for what is no number or no range, for a w below 0, and for more than 100 points.
    """
    scales = sorted({float(point) + 0.0 for part in _parts(text, "--scales") for point in _points(part, "--scales")})
    if scales[0] < 0:
        raise DiffevalError(f"--scales: w={scales[0]:g} is below 0; w=1 is no guidance, w=0 unconditional")
    if len(scales) > MOST:
        raise _too_many("--scales")
    return tuple(scales)


def parse_over(texts: Sequence[str], parsers: Mapping[str, Callable[[str], Value]]) -> tuple[Axis, ...]:
    """What ``--over steps=5,10,20 --over sampler=ddim,dpm++`` asks for, in that order.

    Args:
        texts: NAME=VALUE,VALUE of each axis. Where values are of type int or float, ranges are values, too.
        parsers: what makes a value of its text, of every setting there is. It may raise ValueError; ``bool`` reads
            true and false.

    Raises:
        DiffevalError: for an unknown setting, one given twice, a value that is none, and for more than 100 values.
    """
    axes: dict[str, Axis] = {}
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals:
            raise DiffevalError(f"--over: {text!r} has no values; write e.g. --over steps=5,10,20")
        if name not in parsers:
            raise DiffevalError(f"--over: unknown setting {name!r};{did_you_mean(name, parsers)}")
        if name in axes:
            raise DiffevalError(f"--over: {name} is given twice; write all its values at once, {name}=VALUE,VALUE")
        axes[name] = Axis(name, _values(name, values, parsers[name]))
    return tuple(axes.values())


def points(axes: Sequence[Axis]) -> tuple[Mapping[str, Value], ...]:
    """Every combination of the axes' values, the last axis fastest; without axes, one point that sets nothing."""
    names = [axis.name for axis in axes]
    return tuple(dict(zip(names, values, strict=True)) for values in product(*(axis.values for axis in axes)))


def _values(name: str, text: str, parse: Callable[[str], Value]) -> tuple[Value, ...]:
    option = f"--over {name}"
    parts = _parts(text, option)
    numbers = parse in (int, float)
    if numbers:
        parts = [word for part in parts for word in (_words(part, option) if ":" in part else [part])]
    values = tuple(dict.fromkeys(_value(part, option, parse) for part in parts))
    if len(values) > MOST:
        raise _too_many(option)
    return tuple(sorted(values)) if numbers else values


def _value(text: str, option: str, parse: Callable[[str], Value]) -> Value:
    try:
        value = _truth(text) if parse is bool else parse(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("it is not finite")
    except ValueError as error:
        why = f"is no {KINDS[parse]}" if parse in KINDS else f"is no value: {error}"
        raise DiffevalError(f"{option}: {text!r} {why}") from None
    return value


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _parts(text: str, option: str) -> list[str]:
    """What stands between commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise DiffevalError(f"{option}: {text!r} has an empty place; write values with commas between them")
    return parts


def _words(part: str, option: str) -> list[str]:
    """The points of a range as plain decimals: 10 and not 1E+1."""
    return [format(point.normalize(), "f") for point in _points(part, option)]


def _points(part: str, option: str) -> list[Decimal]:
    """A number, or the points of a range."""
    numbers = [_decimal(word, option) for word in part.split(":")]
    if len(numbers) == 1:
        return numbers
    if len(numbers) != 3:
        raise DiffevalError(f"{option}: {part!r} is no range; write start:end:step, e.g. 1:8:0.5")
    start, end, step = numbers
    if step <= 0:
        raise DiffevalError(f"{option}: the step of {part!r} is not above 0; write start:end:step, e.g. 1:8:0.5")
    if end < start:
        raise DiffevalError(f"{option}: {part!r} ends before it starts; write start:end:step, e.g. 1:8:0.5")
    # Before the points are made: there may be very many.
    if end - start >= step * MOST:
        raise _too_many(option)
    return [start + index * step for index in range(MOST) if start + index * step <= end]


def _decimal(text: str, option: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except ArithmeticError:
        number = Decimal("nan")
    if not number.is_finite() or not math.isfinite(float(number)):
        raise DiffevalError(f"{option}: {text.strip()!r} is no number; write numbers or ranges, e.g. 1,1.5,2:8:0.5")
    return number


def _too_many(option: str) -> DiffevalError:
    return DiffevalError(f"{option}: more than {MOST} points; take a larger step, or fewer values")
