"""Tables of a run that have columns: what the results hold by class, by point, or by image."""

from collections.abc import Mapping, Sequence

from diffeval.report.view import Rows
from diffeval.runs.records import Param, Results
from diffeval.runs.words import number, shortened

# Rows that are shown at most, and characters of a cell.
MOST, LONGEST = 20, 400


def rows_of(results: Results, name: str, title: str, sentence: str = "") -> tuple[Rows, ...]:
    """A table of the results as it is, its first rows; nothing where there is none."""
    rows = results.tables.get(name, ())
    return (_rows(title, sentence, rows[:MOST]),) if rows else ()


def _rows(title: str, sentence: str, rows: Sequence[Mapping[str, Param]]) -> Rows:
    columns = tuple(rows[0])
    return Rows(
        title,
        sentence,
        tuple(name.replace("_", " ") for name in columns),
        tuple(tuple(_cell(row.get(name)) for name in columns) for row in rows),
    )


def _cell(value: Param) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else shortened(str(value), LONGEST)
