"""How long work speaks to whoever started it, without knowing who that is.

Everything slow takes a ``Reporter``. The command line passes one that draws bars on a terminal and plain lines
elsewhere; a notebook or a test passes none and gets the silent one. Asking to stop goes the other way round: the
reporter's ``stop_requested`` is read between units of work.
"""

from typing import Protocol


class Reporter(Protocol):
    """What long work may say."""

    stop_requested: bool
    warnings: list[str]

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """A new stage of ``total`` units begins, ``done`` of which exist already from an earlier run."""

    def advance(self, units: int, detail: str = "") -> None:
        """So many more units of the current stage are done."""

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

    def note(self, message: str) -> None:
        """See ``Reporter``."""

    def warn(self, message: str) -> None:
        """See ``Reporter``."""
        self.warnings.append(message)
