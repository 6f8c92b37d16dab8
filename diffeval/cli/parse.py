"""Values that the command line writes as text."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean
from diffeval.runs.records import Keep

if TYPE_CHECKING:
    from diffeval.cli.options import Sampling
    from diffeval.plan import Settings


def counts(text: str | None, option: str = "--at") -> Sequence[int] | None:
    """``1000,2500`` as numbers; None for None.

    Raises:
        DiffevalError: if a part is no positive whole number.
    """
    if text is None:
        return None
    values = []
    for part in text.split(","):
        cleaned = part.strip().replace("_", "")
        if not (cleaned.isascii() and cleaned.isdigit()) or int(cleaned) < 1:
            raise DiffevalError(
                f"{option}: {part.strip()!r} is no count; write whole numbers, e.g. {option} 1000,2500,5000"
            )
        values.append(int(cleaned))
    return values


def keep(text: str) -> Keep:
    """The ``--keep`` word.

    Raises:
        DiffevalError: for another word.
    """
    for known in get_args(Keep):
        if text == known:
            word: Keep = known
            return word
    raise DiffevalError(f"--keep: unknown {text!r};{did_you_mean(text, get_args(Keep))}")


def interval(text: str | None) -> tuple[float, float] | None:
    """``0.3:5`` as two numbers; None for None.

    Raises:
        DiffevalError: if it is not two numbers.
    """
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise DiffevalError(f"--interval: {text!r} is not two noise levels; write LOW:HIGH, e.g. 0.3:5") from None


def settings_of(sampling: "Sampling", n: int) -> "Settings":
    """The sampling options as settings."""
    from diffeval.plan import Settings

    return Settings(n=n, **{**dataclasses.asdict(sampling), "interval": interval(sampling.interval)})
