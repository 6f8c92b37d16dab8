"""A reporter that leaves the talking to the story."""

from diffeval.progress import Reporter


class WithoutNotes:
    """Passes on progress, warnings and the wish to stop, and keeps notes to itself: the story says what was found.

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

    def note(self, message: str) -> None:
        """See ``Reporter``."""

    def warn(self, message: str) -> None:
        """See ``Reporter``."""
        self._other.warn(message)
