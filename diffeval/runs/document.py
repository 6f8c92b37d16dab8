"""Records to JSON and back: schema ``diffeval.results/1``.

JSON has no NaN, and readers of other tools have turned ``null`` into 0 before: a value that does not exist is
``null`` here and carries its reason in ``params.error``.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular
from diffeval.runs.records import Results, Score
from diffeval.runs.typed import record

SCHEMA = "diffeval.results/1"
_FIELDS = {entry.name for entry in dataclasses.fields(Results)}


def plain(value: Any) -> Any:
    """A record as JSON's own types: dataclasses become objects, tuples arrays; a path or dtype is not silently text.

    Raises:
        TypeError: for a type that JSON has no word for.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} {value!r} has no place in a JSON document")


def to_json(document: Any, *, indent: int | None = 2) -> str:
    """Strict JSON text: no NaN, keys in the record's order."""
    return json.dumps(plain(document), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"


def results_document(results: Results) -> dict[str, Any]:
    """The one document that ``--json`` prints, as plain data."""
    return {"schema": SCHEMA, **plain(results)}


def read_results(path: Path) -> Results:
    """Reads ``results.json``.

    Raises:
        DiffevalError: if the file is no such document, or was written by a newer schema.
    """
    try:
        data = json.loads(regular(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DiffevalError(f"results: cannot read {path}: {error}") from error
    return parse_results(data, str(path))


def parse_results(data: Any, path: str) -> Results:
    """The results of a document that was read from ``path``; see ``read_results``."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        got = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise DiffevalError(f"results: {path} has schema {got!r}, this version reads {SCHEMA!r}; update diffeval")
    try:
        found = record(Results, {name: value for name, value in data.items() if name in _FIELDS})
        for score in found.scores:
            _require_sound(score)
        return found
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DiffevalError(
            f"results: {path} is damaged ({type(error).__name__}: {error}); run its command again with --fresh"
        ) from error


def _require_sound(score: Score) -> None:
    """Refuses numbers that no score has."""
    low, high = score.ci95 or (0.0, 0.0)
    if score.n < 0 or (score.std_error or 0.0) < 0 or low > high:
        raise ValueError(f"score {score.name}: n {score.n}, error {score.std_error}, interval {score.ci95}")
