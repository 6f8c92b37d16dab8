"""How long work speaks to whoever started it, without knowing who that is.

Everything slow takes a ``Reporter``. The command line passes one that draws bars on a terminal and plain lines
elsewhere; a notebook or a test passes none and gets the silent one. Asking to stop goes the other way round: the
reporter's ``stop_requested`` is read between units of work.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

# Unit of a stage whose parts are not alike: shares of the time that it takes.
SHARE = "%"
# Finds out about how many seconds later stages take, by name and in order; that takes a moment itself.
Later = Callable[[], Mapping[str, float]]


class Reporter(Protocol):
    """What long work may say."""

    stop_requested: bool
    warnings: list[str]

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """A new stage of ``total`` units begins, ``done`` of which exist already from an earlier run."""

    def advance(self, units: int, detail: str = "") -> None:
        """So many more units of the current stage are done."""

    def ahead(self, left: float, later: Later) -> None:
        """About how many seconds the current stage still takes, and how to find out what those after it take."""

    def note(self, message: str) -> None:
        """Something worth knowing."""

    def warn(self, message: str) -> None:
        """Something that changes how the result should be read; it is also kept with the run."""


class SilentReporter:
    """Says nothing, keeps the warnings."""

    def __init__(self) -> None:
        self.stop_requested = False
        self.warnings: list[str] = []

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """See ``Reporter``."""

    def advance(self, units: int, detail: str = "") -> None:
        """See ``Reporter``."""

    def ahead(self, left: float, later: Later) -> None:
        """See ``Reporter``."""

    def note(self, message: str) -> None:
        """See ``Reporter``."""

    def warn(self, message: str) -> None:
        """See ``Reporter``."""
        self.warnings.append(message)


class Passing:
    """Passes everything on to another reporter; what is to be different, a subclass says.

    Args:
        other: the one that is told.
    """

    def __init__(self, other: Reporter) -> None:
        self._other = other

    @property
    def stop_requested(self) -> bool:
        """Whether the other one asked to stop."""
        return self._other.stop_requested

    @stop_requested.setter
    def stop_requested(self, wanted: bool) -> None:
        self._other.stop_requested = wanted

    @property
    def warnings(self) -> list[str]:
        """Those that the other one keeps."""
        return self._other.warnings

    @warnings.setter
    def warnings(self, kept: list[str]) -> None:
        self._other.warnings = kept

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """See ``Reporter``."""
        self._other.stage(name, total, unit, done)

    def advance(self, units: int, detail: str = "") -> None:
        """See ``Reporter``."""
        self._other.advance(units, detail)

    def ahead(self, left: float, later: Later) -> None:
        """See ``Reporter``."""
        self._other.ahead(left, later)

    def note(self, message: str) -> None:
        """See ``Reporter``."""
        self._other.note(message)

    def warn(self, message: str) -> None:
        """See ``Reporter``."""
        self._other.warn(message)
