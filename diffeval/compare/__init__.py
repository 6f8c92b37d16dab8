"""Two runs or more against each other: differences with errors, paired where runs allow it. Reads runs only."""

from diffeval.compare.difference import Difference, difference, difference_of
from diffeval.compare.side import Side, read_side
from diffeval.compare.uncertain import Uncertain

__all__ = ["Difference", "Side", "Uncertain", "difference", "difference_of", "read_side"]
