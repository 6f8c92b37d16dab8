"""JSON-lines logs: appended while a run goes on, cut back when it is continued."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffeval.runs.files import replace_text


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log; a last line that a kill cut short is left out."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError):
                break
    return rows


def cut_log(path: Path, step: int) -> None:
    """Drops the rows behind ``step``, which the continued run will write again."""
    kept = [row for row in read_log(path) if isinstance(row, dict) and row.get("step", step + 1) <= step]
    replace_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def append_log(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows to a log."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
