"""The seal of a results document: hashes by which a reader knows that nobody cut or edited it since it was written.

It is no signature: who can write the file can seal it again. It tells accidents and quick edits from what a run wrote.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular

KEY = "seal"


def digest(document: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of plain data; the same before it is written and after it is read."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def matches(document: Mapping[str, Any], wanted: object) -> bool:
    """Whether a document that was read is the one with that digest; one that holds what JSON cannot say never is."""
    try:
        return digest(document) == wanted
    except (ValueError, RecursionError):
        return False


def sealed(document: Mapping[str, Any], terms: Path) -> dict[str, Any]:
    """The document with its seal, which covers the file of terms beside it, too."""
    held = {"terms": file_digest(terms)}
    return {**document, KEY: {**held, "document": digest({**document, KEY: held})}}


def require_whole(path: Path, terms: Path) -> None:
    """Refuses a results document that is not as it was written, or whose terms are another run's.

    Args:
        path: the document.
        terms: the file of terms beside it.

    Raises:
        DiffevalError: if it cannot be read, has no seal, or does not match it.
    """
    try:
        document = json.loads(regular(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DiffevalError(f"results: cannot read {path}: {error}; run its command again with --fresh") from error
    seal = document.pop(KEY, None) if isinstance(document, dict) else None
    if not isinstance(seal, dict) or not {"terms", "document"} <= set(seal):
        raise DiffevalError(
            f"results: {path} has no seal, so that nobody can tell whether it is as it was written; run its command "
            "again with --fresh"
        )
    held = {"terms": seal["terms"]}
    if not matches({**document, KEY: held}, seal["document"]):
        raise DiffevalError(
            f"results: {path} was changed after the run wrote it: its hash does not match; run its command again "
            "with --fresh"
        )
    if file_digest(terms) != seal["terms"]:
        said = "is missing" if not terms.exists() else "is not the file that the results were written with"
        raise DiffevalError(f"results: {terms} {said}; copy the whole folder, or run its command again with --fresh")


def file_digest(path: Path) -> str | None:
    """sha256 of a file; None without one."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
