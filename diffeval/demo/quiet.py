"""A reporter that leaves the talking to the story."""

from diffeval.progress import Later, Passing


class WithoutNotes(Passing):
    """Passes on progress, warnings and the wish to stop, and keeps notes to itself: the story says what was found.

    How long all of it takes, the story says, too.
    """

    def ahead(self, left: float, later: Later) -> None:
        """See ``Reporter``."""

    def note(self, message: str) -> None:
        """See ``Reporter``."""
