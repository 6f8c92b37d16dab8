"""How long a run takes from here on, said while it makes its images."""

import time

from diffeval.progress import Later, Passing, Reporter

# Stages that make the images of a run.
IMAGES = ("sampling", "features")
# Seconds after which the rate of a stage is known, and that must be left of it for a price of the rest to be worth its
# own time; with features of many dimensions that takes longer.
KNOWN, WORTH, WORTH_WIDE = 5.0, 60.0, 600.0
WIDE = 1024


class Foretelling(Passing):
    """Passes everything on; where images take long, it also tells how to price what comes after them, once.

    Args:
        other: the one that is told.
        later: prices the stages after the images, in order.
        dim: of the features.
    """

    def __init__(self, other: Reporter, later: Later, dim: int) -> None:
        super().__init__(other)
        self._later = later
        self._worth = WORTH if dim <= WIDE else WORTH_WIDE
        self._name, self._left, self._made, self._started = "", 0.0, 0.0, 0.0
        self._told = False

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """See ``Reporter``."""
        super().stage(name, total, unit, done)
        self._name, self._left, self._made, self._started = name, total - done, 0.0, time.monotonic()

    def advance(self, units: int, detail: str = "") -> None:
        """See ``Reporter``."""
        super().advance(units, detail)
        self._left, self._made = self._left - units, self._made + units
        taken = time.monotonic() - self._started
        if self._told or self._name not in IMAGES or taken < KNOWN:
            return
        left = self._left * taken / self._made
        if left >= self._worth:
            self._told = True
            self.ahead(left, self._later)
