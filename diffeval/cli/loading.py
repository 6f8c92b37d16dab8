"""From the options of the command line to a checkpoint."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from diffeval.cli.options import Loading
from diffeval.errors import DiffevalError

if TYPE_CHECKING:
    from diffeval.checkpoints.checkpoint import Checkpoint
    from diffeval.checkpoints.options import LoadOptions


def load_checkpoint(spec: str, loading: Loading) -> "Checkpoint":
    """The checkpoint that the user means.

    Raises:
        DiffevalError: if it cannot be loaded so.
    """
    from diffeval.checkpoints.checkpoint import load

    return load(spec, load_options(loading))


def load_options(loading: Loading) -> "LoadOptions":
    """The options with their texts as values.

    Raises:
        DiffevalError: if a text is none.
    """
    from diffeval.checkpoints.options import LoadOptions

    values = {field.name: getattr(loading, field.name) for field in dataclasses.fields(loading)}
    values["null_class"] = _null_class(loading.null_class)
    values["value_range"] = _value_range(loading.value_range)
    values["shape"] = _shape(loading.shape)
    return LoadOptions(**values)


def _null_class(text: str | None) -> int | Literal["none"] | None:
    if text is None:
        return None
    if text == "none":
        return "none"
    try:
        return int(text)
    except ValueError as error:
        raise DiffevalError(f"--null-class: {text!r} is no class index; write a number, or none") from error


def _value_range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DiffevalError(f"--value-range: {text!r} is no range; write two numbers, e.g. -1,1 or 0,1") from error
    return low, high


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    try:
        channels, height, width = (int(part) for part in text.replace("x", ",").split(","))
    except ValueError as error:
        raise DiffevalError(f"--shape: {text!r} is no shape; write C,H,W, e.g. 3,32,32") from error
    return channels, height, width
