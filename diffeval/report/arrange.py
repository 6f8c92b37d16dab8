"""How templates lay blocks out: cards by group, checks under one line of badges, numbers to the right."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

from diffeval.report.view import Block, Card, CheckCard, Heading, Mark, SectionView, Status, Text

# Checks in a row, from which on a line of badges stands above them.
STRIP_FROM = 4
# Statuses that the contents name, so that nobody has to look for them.
ALARMS: tuple[Status, ...] = ("fail", "error")
_SPAN = re.compile(r"[+−-]?\d[\d.,]*(?:e[+-]?\d+)?%?(?: \.\. [+−-]?\d[\d.,]*(?:e[+-]?\d+)?%?)?")
_NUMBER = re.compile(r"[<>≤≥~≈]?\s*[+−–-]?[\d.,]+(e[+−-]?\d+)?\s*(%|s|ms|h|GB|MB|GiB|×)?")


@dataclass(frozen=True, slots=True)
class Placed:
    """A block, how deep its title stands, and the checks that begin with it."""

    block: Block
    level: int
    strip: tuple[CheckCard, ...]
    # Unique on the page for checks; empty otherwise.
    anchor: str = ""


def placed(section: SectionView) -> list[Placed]:
    """The blocks of a section; titles below a run's name stand one level deeper."""
    found: list[Placed] = []
    level, checks = 3, 0
    for is_check, blocks in groupby(section.blocks, key=lambda block: isinstance(block, CheckCard)):
        members = list(blocks)
        strip = tuple(one for one in members if isinstance(one, CheckCard)) if is_check else ()
        for place, block in enumerate(members):
            if isinstance(block, Heading):
                level = 4
            begins = strip if place == 0 and len(strip) >= STRIP_FROM else ()
            anchor = f"{section.id}-{checks + place}" if is_check else ""
            found.append(Placed(block, 3 if isinstance(block, Heading) else level, begins, anchor))
        checks += len(strip)
    return found


def by_group(cards: Sequence[Card]) -> list[tuple[str, list[Card]]]:
    """Neighbours of one group together, in the order of the cards."""
    return [(name, list(members)) for name, members in groupby(cards, key=lambda card: card.group)]


def alarms(section: SectionView) -> int:
    """How many checks of a section failed."""
    return sum(isinstance(block, CheckCard) and block.status in ALARMS for block in section.blocks)


def numeric(rows: Iterable[Sequence[Text]], columns: int) -> list[bool]:
    """For each column whether it holds numbers and nothing else; these are set flush right."""
    found = [False] * columns
    only = [True] * columns
    for row in rows:
        for place, one in enumerate(row[:columns]):
            text = (one.text if isinstance(one, Mark) else one).strip()
            if text in {"", "–", "—"}:
                continue
            is_number = not isinstance(one, Mark) and _NUMBER.fullmatch(text) is not None
            found[place], only[place] = True, only[place] and is_number
    return [some and all_of_them for some, all_of_them in zip(found, only, strict=True)]


def unbroken(text: str) -> Markup:
    """A text in which no number and no interval is broken over two lines."""
    return Markup(_SPAN.sub(lambda found: f'<span class="whole">{found.group()}</span>', str(escape(text))))
