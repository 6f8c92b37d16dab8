"""The baseline file: what a gate needs of runs, in one JSON file small enough to be committed, with its own hash."""

import base64
import dataclasses
import io
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffeval.compare.side import Side
from diffeval.errors import DiffevalError
from diffeval.gate.evidence import PER_CLASS, Evidence, Promotion, of_one_checkpoint, read_runs
from diffeval.runs.document import parse_results, plain, results_document
from diffeval.runs.files import replace_text, require_honest
from diffeval.runs.seal import digest, matches
from diffeval.runs.typed import record

SCHEMA = "diffeval.baseline/1"
SEAL = "sha256"
# Terms that no comparison reads.
UNREAD = (".influence",)


def write_baseline(evidence: Evidence, promotion: Promotion, path: Path) -> None:
    """Writes runs as a baseline file.

    Raises:
        DiffevalError: if it cannot be written.
    """
    document = {
        "schema": SCHEMA,
        "checkpoint": evidence.checkpoint,
        "checkpoint_sha256": evidence.sha256,
        "promotion": plain(promotion),
        "runs": [_packed(side) for side in evidence.sides],
    }
    replace_text(path, json.dumps({**document, SEAL: digest(document)}, indent=1, allow_nan=False) + "\n")


def read_baseline(sources: Sequence[str], folder: Path) -> Evidence:
    """Reads what a run is held against.

    Args:
        sources: run directories (also written ``run:DIR``), or one baseline file, or ``git:REVISION:PATH`` of one.
        folder: where relative paths start.

    Raises:
        DiffevalError: if something is not there, damaged, changed, of a newer schema, or of another checkpoint.
        NoEvidenceError: if a run is not finished.
    """
    found = [_source(source, folder) for source in sources]
    if len(found) == 1:
        return found[0]
    sides, origin = [side for one in found for side in one.sides], " + ".join(one.origin for one in found)
    return of_one_checkpoint(sides, origin, _promoted_together(found))


def _promoted_together(found: Sequence[Evidence]) -> Promotion | None:
    """How baselines that are read together came about: as old as the oldest, with the reasons of all."""
    promotions = [one.promotion for one in found if one.promotion is not None]
    if not promotions:
        return None
    excused = [one for one in promotions if one.reason]
    first = excused[0] if excused else promotions[0]
    reasons = dict.fromkeys(one.reason for one in excused if one.reason)
    return dataclasses.replace(first, at=min(one.made for one in found), reason="; ".join(reasons) or None)


def parse_baseline(text: str, where: str) -> Evidence:
    """Reads the text of a baseline file; see ``read_baseline``."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DiffevalError(
            f"gate: {where} is no whole baseline file: {error}; restore it, or promote again"
        ) from error
    schema = document.get("schema") if isinstance(document, dict) else type(document).__name__
    if schema != SCHEMA:
        raise DiffevalError(
            f"gate: {where} has schema {schema!r}, needs {SCHEMA!r}; write it with diffeval gate promote, or update "
            "diffeval"
        )
    if not matches({key: value for key, value in document.items() if key != SEAL}, document.get(SEAL)):
        raise DiffevalError(
            f"gate: {where} was changed after it was promoted: its hash does not match; restore it, or promote again"
        )
    try:
        sides = [_unpacked(entry, where) for entry in document["runs"]]
        promotion = record(Promotion, document["promotion"])
    except (DiffevalError, MemoryError):
        raise
    except Exception as error:  # what damage makes numpy and zipfile raise has no common base
        raise DiffevalError(
            f"gate: {where} is damaged ({type(error).__name__}: {error}); restore it, or promote again"
        ) from error
    return of_one_checkpoint(sides, where, promotion)


def _source(source: str, folder: Path) -> Evidence:
    if source.startswith("git:"):
        return parse_baseline(_from_git(source, folder), source)
    path = folder / Path(source.removeprefix("run:")).expanduser()
    if path.is_file() and not source.startswith("run:"):
        try:
            return parse_baseline(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DiffevalError(f"gate: cannot read {path}: {error}") from error
    if not path.exists():
        raise DiffevalError(
            f"gate: there is no baseline {path}; give a run, or a file that diffeval gate promote RUN -o FILE writes"
        )
    return read_runs([path])


def _from_git(source: str, folder: Path) -> str:
    """A file as it is at a revision of the repository around the folder."""
    revision, _, path = source.removeprefix("git:").partition(":")
    if not revision or not path or revision.startswith("-"):
        raise DiffevalError(f"gate: baseline {source!r} is not git:REVISION:PATH, e.g. git:main:baselines/main.json")
    try:
        done = subprocess.run(
            ["git", "show", f"{revision}:{path}"], cwd=folder, capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DiffevalError(f"gate: baseline {source}: cannot ask git: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        hint = f"; a path starts at the root of the repository, git:{revision}:./{path} would in {folder}"
        hint = "" if path.startswith("./") or not (folder / path).exists() else hint
        raise DiffevalError(f"gate: baseline {source}: git says {said[0] if said else 'nothing'}{hint}")
    return done.stdout.decode(errors="replace")


def _packed(side: Side) -> dict[str, Any]:
    """A run without the tables that no rule reads, and without where its checkpoint lay on this machine."""
    results = side.results
    kept = dataclasses.replace(
        results,
        run=".",
        provenance=dataclasses.replace(
            results.provenance, checkpoint_path=Path(results.provenance.checkpoint_path).name
        ),
        tables={name: rows for name, rows in results.tables.items() if name == PER_CLASS},
    )
    arrays = {name: array for name, array in side.arrays.items() if not name.endswith(UNREAD)}
    return {"name": Path(side.name).name, "results": results_document(kept), "terms": _encoded(arrays)}


def _encoded(arrays: Mapping[str, Any]) -> str | None:
    if not arrays:
        return None
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return base64.b64encode(buffer.getvalue()).decode()


def _unpacked(entry: Mapping[str, Any], where: str) -> Side:
    arrays: dict[str, Any] = {}
    if entry["terms"] is not None:
        with np.load(io.BytesIO(base64.b64decode(entry["terms"], validate=True)), allow_pickle=False) as file:
            require_honest(file.zip)
            arrays = {name: file[name] for name in file.files}
    name = where if entry["name"] in ("", ".") else f"{where} ({entry['name']})"
    return Side(name, parse_results(entry["results"], where), arrays)
