"""Sections of the page, one file each: what it draws of the runs, and which command would fill it.

A new section is one new file with one decorated function that takes the story and gives blocks; without data it gives
none, and the page names it as missing, with the command that would fill it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diffeval.registry import Registry
from diffeval.report.story import Story
from diffeval.report.view import Block

Draw = Callable[[Story], Iterable[Block]]


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    Attributes:
        name: in kebab case; the anchor on the page.
        title: in a few words.
        place: sections stand in ascending order of it.
        fill: the command that brings its data, with ``{checkpoint}`` and ``{run}``; empty where nothing can.
        draw: what it shows of a story; nothing without data.
    """

    name: str
    title: str
    place: int
    fill: str
    draw: Draw


SECTIONS: Registry[Section] = Registry("section", __name__)


def section(name: str, title: str, place: int, fill: str = "") -> Callable[[Draw], Draw]:
    """Decorator that files a function as a section; see ``Section``."""

    def add(draw: Draw) -> Draw:
        SECTIONS.register(name)(Section(name, title, place, fill, draw))
        return draw

    return add


def in_order() -> list[Section]:
    """All sections as they stand on the page."""
    return sorted((SECTIONS[name] for name in SECTIONS), key=lambda one: (one.place, one.name))
