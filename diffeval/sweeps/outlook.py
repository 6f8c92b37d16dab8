"""How long a sweep takes from here on: from the points that are done, and what is foretold of the first."""

import time
from collections.abc import Mapping, Sequence

from diffeval.progress import Later, Passing, Reporter

SAMPLING, OTHERS = "sampling", "the other points"


class Points(Passing):
    """Passes everything on, and tells of the points that come after the one at work.

    Images take as long as their network evaluations do; what else is done is the same at every point.

    Args:
        other: the one that is told.
        evaluations: of the network for an image, of each point.
    """

    def __init__(self, other: Reporter, evaluations: Sequence[int]) -> None:
        super().__init__(other)
        self._evaluations = evaluations
        self._place = -1
        self._stage, self._since, self._begun = "", 0.0, 0.0
        self._own = 0.0  # seconds of the images of the point at work
        self._whole = False  # whether all of its images were made here and now
        self._images, self._spent, self._rest, self._done = 0.0, 0, 0.0, 0

    def begin(self, place: int) -> None:
        """A point begins, and the one before it is done."""
        now = time.monotonic()
        self._leave(now)
        if self._whole:
            self._images += self._own
            self._spent += self._evaluations[self._place]
            self._rest += now - self._begun - self._own
            self._done += 1
        self._place, self._begun, self._own, self._whole, self._stage = place, now, 0.0, False, ""

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """See ``Reporter``."""
        super().stage(name, total, unit, done)
        now = time.monotonic()
        self._leave(now)
        self._stage, self._since = name, now
        if name != SAMPLING:
            return
        self._whole = done == 0
        if self._done:
            rest = self._rest / self._done
            of_images = self._images / self._spent
            own = of_images * self._evaluations[self._place]
            super().ahead(own, lambda: {"scoring": rest, OTHERS: self._later(of_images, rest)})

    def ahead(self, left: float, later: Later) -> None:
        """See ``Reporter``: what is foretold of a point holds for the others, until one is done."""
        if self._done or not self._whole:
            return
        of_images = (time.monotonic() - self._since + left) / self._evaluations[self._place]

        def all_of_it() -> Mapping[str, float]:
            known = later()
            return {**known, OTHERS: self._later(of_images, sum(known.values()))}

        super().ahead(left, all_of_it)

    def _leave(self, now: float) -> None:
        if self._stage == SAMPLING:
            self._own += now - self._since

    def _later(self, of_images: float, rest: float) -> float:
        return sum(of_images * one + rest for one in self._evaluations[self._place + 1 :])
