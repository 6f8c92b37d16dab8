"""What a study is: a script, the figures that it leaves in ``results/``, and what people see and may claim of them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1]
RESULTS = FOLDER / "results"
NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?%?")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as people read it.

    Attributes:
        headings: of its columns.
        rows: its cells, as text.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Markdown; columns in which every cell is a number are set to the right."""
        columns = range(len(self.headings))
        marks = ["---:" if self.rows and all(_number(row[at]) for row in self.rows) else "---" for at in columns]
        lines = ["| " + " | ".join(self.headings) + " |", "|" + "|".join(marks) + "|"]
        return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in self.rows)])


@dataclass(frozen=True, slots=True)
class Claim:
    """What must be true of results that are committed.

    Attributes:
        said: in words.
        holds: whether it is true of them.
    """

    said: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What lies in ``results/NAME.json``.

    Attributes:
        name: of the file.
        machine: processor and cores.
        versions: of Python and libraries, by name.
        rows: what was measured.
        date: of the day; None in files of before it was written down.
        seconds: that the script took; None likewise.
        command: that made it; None likewise.
    """

    name: str
    machine: str
    versions: Mapping[str, str]
    rows: Sequence[Row]
    date: str | None
    seconds: float | None
    command: str | None

    @property
    def origin(self) -> str:
        """Machine, date and versions, as a line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.machine}; {self.date or 'date not recorded'}; {versions}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One results file, and how it is read.

    Attributes:
        name: of ``results/NAME.json``, and of the marks in documents between which its table stands.
        table: the few columns that people read.
        claims: what must be true.
    """

    name: str
    table: Callable[[Sequence[Row]], Table]
    claims: Callable[[Sequence[Row]], Sequence[Claim]]

    def measured(self) -> Measured | None:
        """What was measured; None before it was."""
        return read(RESULTS / f"{self.name}.json")


@dataclass(frozen=True, slots=True)
class Study:
    """A script that measures.

    Attributes:
        script: its file's name without the suffix.
        minutes: that it takes about, on two cores.
        figures: what it leaves.
        arguments: with which it is run on a machine that does nothing else.
        kept: files of ``results/`` from which it goes on where it was stopped.
    """

    script: str
    minutes: int
    figures: Sequence[Figure]
    arguments: Sequence[str] = ()
    kept: Sequence[str] = ()

    @property
    def path(self) -> Path:
        """Of the script."""
        return FOLDER / f"{self.script}.py"

    @property
    def command(self) -> str:
        """As it is run from the repository's root."""
        return " ".join(("python", f"benchmarks/{self.path.name}", *self.arguments))

    @property
    def missing(self) -> bool:
        """Whether any of its figures has no results."""
        return any(figure.measured() is None for figure in self.figures)

    def forget(self) -> None:
        """Removes its results and what it would go on from, so that it is measured anew."""
        for figure in self.figures:
            for suffix in ("json", "md"):
                (RESULTS / f"{figure.name}.{suffix}").unlink(missing_ok=True)
        for name in self.kept:
            (RESULTS / name).unlink(missing_ok=True)


def read(path: Path) -> Measured | None:
    """Results as ``record.save`` writes them; None where there are none.

    Raises:
        KeyError: if a file does not name its machine or versions.
        ValueError: if it is no JSON.
    """
    if not path.exists():
        return None
    held = json.loads(path.read_text(encoding="utf-8"))
    versions = {"Python": held["python"], **held["versions"]}
    return Measured(
        path.stem, held["machine"], versions, held["rows"], held.get("date"), held.get("seconds"), held.get("command")
    )


def number(value: object, digits: int = 3) -> str:
    """A number for people: so many digits that count, thousands parted, nothing for nothing."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def share(value: float | None) -> str:
    """A share in per cent."""
    return "" if value is None else f"{value:.1%}" if 0 < abs(value) < 0.1 else f"{value:.0%}"


def plain(*columns: str) -> Callable[[Sequence[Row]], Table]:
    """A table of some columns as they are called in the results."""

    def table(rows: Sequence[Row]) -> Table:
        return Table(columns, [[number(row.get(column)) for column in columns] for row in rows])

    return table


def _number(cell: str) -> bool:
    return not cell or NUMBER.fullmatch(cell) is not None
