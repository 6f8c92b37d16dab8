"""Keeps a page within its size: what is left out first, and the sentence that says so."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from diffeval.errors import DiffevalError
from diffeval.report.html import Drawing, draw
from diffeval.report.images import ORIGINALS, SHOWN_LARGE, Encoder, TooLargeError, is_small
from diffeval.report.view import Block, CheckCard, Figure, Gallery, Note, Page, SectionView, Tile, Versus

# Of the whole page; plotly.js alone is 4.8.
MAX_MB = 8.0
MEGA = 1_000_000
WARNINGS = "warnings"


@dataclass(frozen=True, slots=True)
class Fit:
    """What of a page is carried.

    Attributes:
        originals: chosen images in all their pixels.
        side: pixels of a thumbnail.
        tiles: images of a gallery; None for all.
        rows: of the table behind a figure; None for all.
        interactive: whether plotly.js draws the figures.
    """

    originals: int = ORIGINALS
    side: int = SHOWN_LARGE
    tiles: int | None = None
    rows: int | None = None
    interactive: bool = True


# What is given up, in this order. Each says all that its kind of step has come to, in place of the one before it.
STEPS: tuple[tuple[str, dict[str, Any], str], ...] = (
    *(("originals", {"originals": count}, f"full-size originals: {count or 'none'}") for count in (8, 4, 2, 0)),
    *(("side", {"side": side}, f"thumbnails of {side} pixels") for side in (96, 64)),
    *(
        ("tiles", {"tiles": count}, f"the first {count} images of each gallery")
        for count in (1024, 512, 256, 128, 64, 32, 16)
    ),
    *(("rows", {"rows": count}, f"the first {count} rows of the table behind each figure") for count in (50, 10)),
    ("interactive", {"interactive": False}, "figures as still pictures and tables"),
    ("tiles", {"tiles": 0}, "no images"),
)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The page that was drawn, and what it says of what was left out."""

    drawing: Drawing
    notices: tuple[str, ...]


def fitted(page: Page, max_mb: float = MAX_MB) -> Fitted:
    """Draws ``page``, leaving out in the order of ``STEPS`` until it is no larger than ``max_mb`` megabytes.

    What is left out is said at the top of the page and among its warnings. A page that stays too large although
    everything was left out says that.

    Raises:
        DiffevalError: if ``max_mb`` is not a positive number.
    """
    if not (math.isfinite(max_mb) and max_mb > 0):
        raise DiffevalError(f"report: --max-mb needs a positive number of megabytes, got {max_mb:g}")
    encoder, fit, said = Encoder(), Fit(), dict[str, str]()
    drawing = _tried(page, encoder, fit, (), max_mb)
    for kind, changes, words in STEPS:
        if drawing is not None:
            break
        smaller = replace(fit, **changes)
        if _helps(page, fit, smaller):
            fit, said[kind] = smaller, words
            drawing = _tried(page, encoder, fit, (_sentence(said, max_mb),), max_mb)
    notices = (_sentence(said, max_mb),) if said else ()
    if drawing is None:
        notices = (*notices, f"The page is still larger than {max_mb:g} MB: nothing more can be left out.")
        drawing = _draw(page, encoder, fit, notices, math.inf)
    return Fitted(drawing, notices)


def _tried(page: Page, encoder: Encoder, fit: Fit, notices: tuple[str, ...], max_mb: float) -> Drawing | None:
    """The page, if it is small enough."""
    try:
        drawing = _draw(page, encoder, fit, notices, max_mb * MEGA)
    except TooLargeError:
        return None
    return drawing if drawing.bytes <= max_mb * MEGA else None


def _helps(page: Page, fit: Fit, smaller: Fit) -> bool:
    """Whether a step takes anything from the page that it still has."""
    galleries, figures = list(_galleries(page)), list(_figures(page))
    tiles = [tile for one in galleries for tile in one]
    large = [tile for tile in tiles if not is_small(tile)]
    whole = sum(tile.chosen for tile in large)
    return (
        min(whole, fit.originals) > min(whole, smaller.originals)
        or (smaller.side < fit.side and any(max(tile.pixels.shape[-2:]) > smaller.side for tile in large))
        or (smaller.tiles != fit.tiles and any(len(one) > (smaller.tiles or 0) for one in galleries))
        or (smaller.rows != fit.rows and any(len(one.rows) > (smaller.rows or 0) for one in figures))
        or (smaller.interactive != fit.interactive and bool(figures))
    )


def _galleries(page: Page) -> Iterable[tuple[Tile, ...]]:
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Gallery):
                yield block.tiles
            elif isinstance(block, Versus):
                yield tuple(tile for pair in block.pairs for tile in pair)
            elif isinstance(block, CheckCard) and block.gallery is not None:
                yield block.gallery.tiles


def _figures(page: Page) -> Iterable[Figure]:
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                yield block
            elif isinstance(block, CheckCard):
                yield from block.figures


def _sentence(said: dict[str, str], max_mb: float) -> str:
    return f"Kept within {max_mb:g} MB, this page carries {'; '.join(said.values())}. --max-mb allows more."


def _draw(page: Page, encoder: Encoder, fit: Fit, notices: tuple[str, ...], limit: float) -> Drawing:
    cut = page if fit.tiles is None and fit.rows is None else _cut(page, fit)
    return draw(
        _noticed(cut, notices),
        encoder,
        side=fit.side,
        originals=fit.originals,
        interactive=fit.interactive,
        limit=limit,
    )


def _noticed(page: Page, notices: tuple[str, ...]) -> Page:
    """The page with notices at its top and among its warnings."""
    if not notices:
        return page
    notes = tuple(Note(text, "This page", "warn") for text in notices)
    sections = tuple(
        replace(one, blocks=(*notes, *one.blocks)) if one.id == WARNINGS else one for one in page.sections
    )
    if not any(one.id == WARNINGS for one in sections):
        sections = (*sections, SectionView(WARNINGS, "Warnings", notes))
    return replace(page, notices=(*page.notices, *notices), sections=sections)


def _cut(page: Page, fit: Fit) -> Page:
    return replace(
        page, sections=tuple(replace(one, blocks=tuple(_cut_all(one.blocks, fit))) for one in page.sections)
    )


def _cut_all(blocks: Iterable[Block], fit: Fit) -> Iterable[Block]:
    for block in blocks:
        if isinstance(block, Gallery):
            yield _shorter(block, fit)
        elif isinstance(block, Versus) and fit.tiles is not None:
            yield replace(block, pairs=block.pairs[: fit.tiles // 2])
        elif isinstance(block, Figure):
            yield _thinner(block, fit)
        elif isinstance(block, CheckCard):
            gallery = None if block.gallery is None else _shorter(block.gallery, fit)
            yield replace(block, figures=tuple(_thinner(one, fit) for one in block.figures), gallery=gallery)
        else:
            yield block


def _shorter(gallery: Gallery, fit: Fit) -> Gallery:
    """The first rows of a gallery, with a sentence that says how many images it has."""
    if fit.tiles is None or len(gallery.tiles) <= fit.tiles:
        return gallery
    whole = gallery.columns * max(1, fit.tiles // gallery.columns) if fit.tiles else 0
    if len(gallery.tiles) <= whole:
        return gallery
    said = f"The first {whole} of {len(gallery.tiles):,} images are on this page." if whole else (
        f"None of its {len(gallery.tiles):,} images is on this page."
    )  # fmt: skip
    return replace(gallery, tiles=gallery.tiles[:whole], sentence=f"{gallery.sentence} {said}")


def _thinner(figure: Figure, fit: Fit) -> Figure:
    if fit.rows is None or len(figure.rows) <= fit.rows:
        return figure
    more = f"… and {len(figure.rows) - fit.rows:,} more rows"
    last = (more, *("" for _ in figure.columns[1:]))
    return replace(figure, rows=(*figure.rows[: fit.rows], last))
