"""What is wrong, or worth knowing, about the images of a source: counted, with the first few named."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Names that a line gives before it says "and so many more".
NAMED = 3
# How what is said of several images is said of one.
_ONE_OF = (
    ("are exact copies", "is an exact copy"), ("are", "is"), ("were", "was"), ("hold", "holds"), ("carry", "carries"),
    ("their extension says", "its extension says"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble.

    Attributes:
        what: as a line says it after the count, e.g. ``are of a single colour``.
        count: how many images have it.
        examples: names of the first few.
        grave: whether it changes how a result should be read; otherwise it is only worth a note.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()
    grave: bool = True

    def line(self, total: int) -> str:
        """The finding as a line, e.g. ``3 of 200 images are of a single colour: a.png, b.png, c.png``."""
        what = self.what
        for several, one in _ONE_OF if self.count == 1 else ():
            what = re.sub(rf"\b{several}\b", one, what, count=1)
        return f"{self.count} of {total} images {what}{_named(self.examples, self.count)}"


@dataclass(frozen=True, slots=True)
class Triage:
    """What a look at every image found.

    Attributes:
        looked_at: images that were looked at, those left out included.
        findings: one for each kind of trouble that occurred.
    """

    looked_at: int = 0
    findings: tuple[Finding, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Lines that change how a result should be read."""
        return tuple(finding.line(self.looked_at) for finding in self.findings if finding.grave)

    def notes(self) -> tuple[str, ...]:
        """Lines that are only worth knowing."""
        return tuple(finding.line(self.looked_at) for finding in self.findings if not finding.grave)


def found(what: str, names: Sequence[str], grave: bool = True) -> tuple[Finding, ...]:
    """A finding about the named images; nothing where there are none."""
    return (Finding(what, len(names), tuple(names[:NAMED]), grave),) if len(names) else ()


def repeats(hashes: Sequence[bytes] | npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
    """Rows whose hash occurred in an earlier row."""
    _, first = np.unique(np.asarray(hashes), return_index=True)
    return np.setdiff1d(np.arange(len(hashes)), first)


def _named(examples: Sequence[str], count: int) -> str:
    if not examples:
        return ""
    more = f" and {count - len(examples)} more" if count > len(examples) else ""
    return f": {', '.join(examples)}{more}"


def shown(name: str) -> str:
    """A file name that fits into a line: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
