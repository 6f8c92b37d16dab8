"""The errors that diffeval raises on purpose, and the exit code that each one means.

Every message is one line that says who speaks, what it got, what it needs and what to do. Whatever else reaches
the command line is our bug, and leaves with exit code 1 and a traceback.
"""

from enum import IntEnum


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
    """Something the user can mend: wrong usage or bad input."""

    exit_code = ExitCode.USAGE


class NoEvidenceError(DiffevalError):
    """A number that was asked for does not exist: it could not be computed, or was never measured."""

    exit_code = ExitCode.NO_EVIDENCE


class StoppedError(DiffevalError):
    """The work was stopped from outside and is safe on disk; the same command continues it."""

    exit_code = ExitCode.STOPPED
