"""Values that the command line writes as text."""

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from diffeval.errors import DiffevalError, in_line
from diffeval.ranks import parse_share
from diffeval.registry import did_you_mean
from diffeval.runs.records import Keep

if TYPE_CHECKING:
    from diffeval.cli.options import Sampling
    from diffeval.plan import Settings


# Images that a run can count, and that a machine can take at once: beyond these a value is a slip of the finger.
MOST_IMAGES, MOST_BATCH = 10**12, 65_536


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
        if not (cleaned.isascii() and cleaned.isdigit()) or len(cleaned) > 15 or int(cleaned) < 1:
            raise DiffevalError(
                f"{option}: {part.strip()!r} is no count; write whole numbers, e.g. {option} 1000,2500,5000"
            )
        values.append(int(cleaned))
    return values


def indices(text: str | None) -> Sequence[int]:
    """``17,42`` as indices of images, each once; none for None.

    Raises:
        DiffevalError: if a part is none.
    """
    found = [part.strip() for part in text.split(",")] if text is not None else []
    wrong = [part for part in found if not (part.isascii() and part.isdigit() and len(part) < 19)]
    if wrong:
        raise DiffevalError(f"--indices: {wrong[0]!r} is no index; write whole numbers from 0, e.g. --indices 17,42")
    return list(dict.fromkeys(map(int, found)))


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


def _require_below(option: str, value: int, most: int) -> None:
    if value > most:
        raise DiffevalError(
            f"{option}: {in_line(str(value), 60)} is more than {most:,}, the most that is taken; lower it"
        )


def settings_of(sampling: "Sampling", n: int) -> "Settings":
    """The sampling options as settings."""
    from diffeval.plan import Settings

    _require_below("--n", n, MOST_IMAGES)
    if sampling.batch is not None:
        _require_below("--batch", sampling.batch, MOST_BATCH)
    shard = None if sampling.shard is None else parse_share(sampling.shard)
    given = dataclasses.asdict(sampling)
    return Settings(n=n, **{**given, "interval": interval(sampling.interval), "shard": shard})


def duration(text: str | None, option: str = "--time-limit") -> float | None:
    """``90s``, ``30m``, ``2h``, ``1h30m`` or ``HH:MM:SS`` in seconds; None for None.

    Raises:
        DiffevalError: for anything else, and for no time at all.
    """
    if text is None:
        return None
    words = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip())
    clock = re.fullmatch(r"(\d+):([0-5]?\d):([0-5]?\d)", text.strip())
    found = clock or words
    hours, minutes, seconds = (0, 0, 0) if found is None else (int(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise DiffevalError(f"{option}: {text!r} is no time; write e.g. 90s, 30m, 2h, 1h30m or 03:50:00")
    return float(total)
