"""Tables of a run that have columns: what the results hold by class, by point, or by image."""

from collections.abc import Mapping
from types import MappingProxyType

from diffeval.report.view import Rows
from diffeval.runs.records import Param, Results
from diffeval.runs.words import number, shortened

# Rows that are shown at most, and characters of a cell.
MOST, LONGEST = 20, 400


def rows_of(
    results: Results,
    name: str,
    title: str,
    sentence: str = "",
    *,
    folded: bool = False,
    called: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Rows, ...]:
    """A table of the results as it is, its first rows; nothing where there is none.

    Args:
        results: of a run.
        name: of the table.
        title: above it.
        sentence: what it says.
        folded: whether it is shown once it is opened.
        called: what columns are called on the page, where not by their own names.
    """
    rows = results.tables.get(name, ())[:MOST]
    if not rows:
        return ()
    columns = tuple(rows[0])
    names = tuple(called.get(one, one.replace("_", " ")) for one in columns)
    cells = tuple(tuple(_cell(row.get(one)) for one in columns) for row in rows)
    return (Rows(title, sentence, names, cells, folded=folded),)


def _cell(value: Param) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else shortened(str(value), LONGEST)
