"""What the templates show: a page of sections, a section of blocks, all of it plain text, figures and pixels.

A block is drawn by ``templates/blocks/KIND.html.j2``; nothing is computed there.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

# Statuses that have an icon, a word and a colour: those of checks, of gates and of runs.
Status = Literal[
    "pass", "warn", "fail", "inconclusive", "not-applicable", "no-evidence", "error", "none", "better", "worse",
    "same",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """A cell or a word with a status."""

    status: Status
    text: str


Text = str | Mark


@dataclass(frozen=True, slots=True)
class Heading:
    """Whose the blocks behind it are, where several runs share a section."""

    kind: ClassVar[str] = "heading"
    title: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence; ``tone`` is one of ``hint``, ``warn`` and ``plain``."""

    kind: ClassVar[str] = "note"
    text: str
    strong: str = ""
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Card:
    """One score, large.

    Attributes:
        name: of the score.
        value: as text.
        mark: a word behind the value, e.g. ``biased``.
        detail: n, interval, what real images read, direction.
        change: the difference to the baseline, with its interval; None without.
        group: what this and its neighbours measure; cards of one group stand together.
    """

    name: str
    value: str
    mark: str
    detail: tuple[str, ...]
    change: Mark | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Cards:
    """Scores side by side."""

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A plotly figure as escaped JSON, a sentence that says what it shows, and its numbers as a table.

    Attributes:
        id: unique on the page.
        title: in a few words.
        sentence: what there is to see, with the numbers.
        json: data and layout, escaped.
        columns: of the table.
        rows: of the table.
        height: pixels.
        static: the same as SVG, for where there is no JavaScript; empty without.
    """

    kind: ClassVar[str] = "figure"
    id: str
    title: str
    sentence: str
    json: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    height: int = 380
    static: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One image: uint8 [C, H, W], grey or RGB.

    Attributes:
        pixels: as the run holds them.
        alt: what it is, e.g. ``seed 0, image 17, class 3``.
        command: that draws it again; empty where there is none.
        chosen: whether its pixels are carried whole, beside a thumbnail.
    """

    pixels: npt.NDArray[np.uint8]
    alt: str
    command: str = ""
    chosen: bool = False

    def __post_init__(self) -> None:
        """Refuses what is no image here, where a section can still say so."""
        if self.pixels.ndim != 3 or len(self.pixels) not in (1, 3) or self.pixels.dtype != "uint8":
            raise ValueError(f"an image is uint8 [1 or 3, H, W], got {self.pixels.dtype} {self.pixels.shape}")


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images in rows, with a sentence that says what they are and by which rule they were chosen.

    Attributes:
        title: in a few words.
        sentence: what they are; an uncurated grid says so.
        tiles: row after row.
        columns: in a row.
        names: of the columns; empty without.
        rows: names of the rows; empty without.
    """

    kind: ClassVar[str] = "gallery"
    title: str
    sentence: str
    tiles: tuple[Tile, ...]
    columns: int = 8
    names: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Versus:
    """The same seeds of two checkpoints: pairs of images, looked at by slider and by flicker."""

    kind: ClassVar[str] = "versus"
    title: str
    sentence: str
    names: tuple[str, str]
    pairs: tuple[tuple[Tile, Tile], ...]


@dataclass(frozen=True, slots=True)
class CheckCard:
    """One health check: how it ended, and what is to be done."""

    kind: ClassVar[str] = "check"
    name: str
    status: Status
    summary: str
    fix: str
    ruled_out: str
    figures: tuple[Figure, ...] = ()
    gallery: Gallery | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Named facts, two columns; ``folded`` ones are opened by who looks for them."""

    kind: ClassVar[str] = "facts"
    title: str
    sentence: str
    rows: tuple[tuple[str, str], ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A table with columns; ``tall`` shows it in full, however long it is, ``folded`` once it is opened."""

    kind: ClassVar[str] = "rows"
    title: str
    sentence: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    tall: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands to be copied, each with what it is for."""

    kind: ClassVar[str] = "commands"
    title: str
    commands: tuple[tuple[str, str], ...]


Block = Heading | Note | Cards | Figure | Gallery | Versus | CheckCard | Facts | Rows | Commands


@dataclass(frozen=True, slots=True)
class SectionView:
    """A section with something in it."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict, and the sentence that decides it.

    Attributes:
        status: icon and colour.
        word: of the verdict.
        sentence: that decides.
        about: the checkpoint.
        detail: its hash, n, seed, day, and what it was held against.
    """

    status: Status
    word: str
    sentence: str
    about: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """All that is on the page.

    Attributes:
        title: of the document.
        lines: what is looked at: one line of settings for each run.
        banners: one for each checkpoint that was judged, or the one that says that none was.
        sections: in their order.
        missing: titles of sections without data, with the command that would fill them.
        notices: runs that are not finished, damaged or changed.
    """

    title: str
    lines: tuple[str, ...]
    banners: tuple[Banner, ...]
    sections: tuple[SectionView, ...]
    missing: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = field(default=())

    @property
    def drawn(self) -> bool:
        """Whether there is a figure anywhere on it."""
        return any(
            isinstance(block, Figure) or (isinstance(block, CheckCard) and block.figures)
            for section in self.sections
            for block in section.blocks
        )
