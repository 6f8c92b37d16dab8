"""From plain data to a record: every field is of the type that the record declares, or is named."""

import dataclasses
import math
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

# Larger whole numbers than a seed may be are damage.
_MOST = 2**64


def record(kind: type[T], data: Any) -> T:
    """The record of a JSON object.

    Raises:
        TypeError: for an object with a field too many, one too few, or one of another type than it declares.
        ValueError: for a number that is not finite, or what the record itself refuses.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{kind.__name__} is a {type(data).__name__}, needs an object")
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    unknown = [name for name in data if name not in hints]
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {str(unknown[0])[:40]!r}")
    return kind(**{name: _typed(value, hints[name], f"{kind.__name__}.{name}") for name, value in data.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """The value, with tuples for arrays."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, inner, where)
    if origin is Literal:
        if value in inner:
            return value
        raise TypeError(f"{where} is {str(value)[:40]!r}, needs one of {', '.join(map(str, inner))}")
    if origin is tuple:
        return _row(value, inner, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return record(hint, value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError(f"{where} is a {type(value).__name__}, needs an object")
        return {str(name): _typed(one, inner[1], f"{where}.{str(name)[:40]}") for name, one in value.items()}
    return _plain(value, hint, where)


def _one_of(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    for hint in hints:
        try:
            return _typed(value, hint, where)
        except TypeError:
            continue
    names = " or ".join(getattr(hint, "__name__", str(hint)) for hint in hints)
    raise TypeError(f"{where} is a {type(value).__name__}, needs {names.replace('NoneType', 'null')}")


def _row(value: Any, inner: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where} is a {type(value).__name__}, needs an array")
    hints = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
    if len(hints) != len(value):
        raise TypeError(f"{where} has {len(value)} entries, needs {len(hints)}")
    return tuple(_typed(one, hint, f"{where}[{at}]") for at, (one, hint) in enumerate(zip(value, hints, strict=True)))


def _plain(value: Any, hint: Any, where: str) -> Any:
    """JSON's own types; a whole number may stand for a float, and nothing else for anything."""
    wanted: Any = {float: (int, float), types.NoneType: types.NoneType}.get(hint, hint)
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{where} is a {type(value).__name__}, needs {getattr(hint, '__name__', hint)}")
    if isinstance(value, int) and abs(value) >= _MOST:
        raise ValueError(f"{where} has {len(str(value)) if abs(value) < 10**999 else 'very many'} digits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}")
    return value
