"""The errors that diffeval raises on purpose, and the exit code that each one means.

Every message is one line that says who speaks, what it got, what it needs and what to do. Whatever else reaches
the command line is our bug, and leaves with exit code 1 and a traceback.
"""

import unicodedata
from enum import IntEnum

# Characters that people still read of a message; whatever it quotes may be longer.
LONGEST = 1500
# Categories of characters that break a line or act on a terminal, and those that turn its direction.
_ACTING, _TURNING = ("Cc", "Cs", "Zl", "Zp"), "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


def in_line(text: str, most: int = LONGEST) -> str:
    """A text in one line of at most so many characters: what would break it, or act on a terminal, is escaped."""
    shown = text if len(text) <= most else f"{text[: 2 * most // 3]} ... {text[-most // 4 :]}"
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(one.encode("unicode_escape").decode() if _acts(one) else one for one in shown)


def _acts(one: str) -> bool:
    return unicodedata.category(one) in _ACTING or one in _TURNING


class ExitCode(IntEnum):
    """What the process tells a shell or a CI job."""

    DONE = 0
    BUG = 1
    USAGE = 2
    FAILED = 3
    INCONCLUSIVE = 4
    NO_EVIDENCE = 5
    STOPPED = 75
    INTERRUPTED = 130


class DiffevalError(Exception):
    """Something the user can mend: wrong usage or bad input.

    Names, values and other libraries' words in a message come from outside: they are escaped and cut to one line.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str) -> None:
        super().__init__(in_line(message))


class NoEvidenceError(DiffevalError):
    """A number that was asked for does not exist: it could not be computed, or was never measured."""

    exit_code = ExitCode.NO_EVIDENCE


class StoppedError(DiffevalError):
    """The work was stopped from outside and is safe on disk; the same command continues it."""

    exit_code = ExitCode.STOPPED
