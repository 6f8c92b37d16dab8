"""A reporter that leaves the talking to the story."""

from collections.abc import Mapping

from diffeval.progress import Passing


class WithoutNotes(Passing):
    """Passes on progress, warnings and the wish to stop, and keeps notes to itself: the story says what was found.

    How long all of it takes, the story says, too.
    """

    def ahead(self, seconds: Mapping[str, float]) -> None:
        """See ``Reporter``."""

    def note(self, message: str) -> None:
        """See ``Reporter``."""
