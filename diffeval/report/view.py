"""What the template shows of one run: plain text, figures and picture tiles, nothing to compute."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """One score, large."""

    name: str
    value: str
    mark: str
    detail: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A plotly figure as escaped JSON, a sentence that says what it shows, and its numbers as a table."""

    id: str
    title: str
    sentence: str
    json: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    height: int = 380


@dataclass(frozen=True, slots=True)
class Tile:
    """One image."""

    uri: str
    alt: str
    size: int
    pixelated: bool


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images in rows, with a sentence that says what they are; each column may have a name."""

    title: str
    sentence: str
    tiles: tuple[Tile, ...]
    columns: int = 8
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckCard:
    """One health check: how it ended, and what is to be done."""

    name: str
    status: str
    summary: str
    fix: str
    ruled_out: str
    figures: tuple[Figure, ...] = ()
    gallery: Gallery | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Named facts."""

    title: str
    sentence: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """A table with columns."""

    title: str
    sentence: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class RunView:
    """One run on the page."""

    title: str
    settings: str
    status: str
    cards: tuple[Card, ...] = ()
    checks: tuple[CheckCard, ...] = ()
    figures: tuple[Figure, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    lists: tuple[Rows, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()
    command: str = ""

    @property
    def hints(self) -> bool:
        """Whether FID is shown."""
        return any(card.name.startswith("fid") for card in self.cards)

    @property
    def drawn(self) -> bool:
        """Whether there is a figure anywhere in it."""
        return bool(self.figures) or any(check.figures for check in self.checks)
