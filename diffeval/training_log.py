"""Reads the log of a training, whoever wrote it: rows with step, loss, and gradient norm where it was kept."""

import csv
import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffeval.errors import DiffevalError
from diffeval.runs.logs import read_log

# What other tools call the columns, beside ours, which stand first.
STEP = ("step", "global_step", "iteration", "iter", "it", "steps")
LOSS = ("loss", "train_loss", "train/loss", "loss/train", "training_loss", "train_loss_step", "train/loss_step")
NORM = ("gradient_norm", "grad_norm", "train/grad_norm", "gradient/norm", "grad_norm/total", "total_grad_norm")
EVENTS = "events.out.tfevents"
OURS = "log.jsonl"


def read_training_log(path: Path) -> list[dict[str, Any]]:
    """Reads rows with ``step``, ``loss`` and, where there is one, ``gradient_norm``, in the order of steps.

    Of steps that were logged more than once, as a continued training does, the last row counts. Losses may be NaN or
    infinite: that is for whoever reads them to tell.

    Args:
        path: ``log.jsonl`` of ``diffeval train`` or any other file of one JSON object per line; a CSV file with a
            header; a TensorBoard event file; or a folder that holds the first or the last of these.

    Raises:
        DiffevalError: if there is no such file, it has no loss, or TensorBoard is needed and not installed.
    """
    found = _file(path)
    if EVENTS in found.name:
        rows = _of_events(found)
    elif found.suffix.lower() in (".jsonl", ".json", ".ndjson"):
        rows = _of_rows(found, read_log(found))
    elif found.suffix.lower() in (".csv", ".tsv"):
        rows = _of_csv(found)
    else:
        raise DiffevalError(
            f"training log: {path} is none that is known; give a .csv, a .jsonl, a TensorBoard event file "
            f"({EVENTS}...), or the folder of a training"
        )
    if not rows:
        raise DiffevalError(f"training log: {found} has no row with a loss")
    last = {row["step"]: row for row in rows}
    return [last[step] for step in sorted(last)]


def _file(path: Path) -> Path:
    if not path.exists():
        raise DiffevalError(f"training log: {path} does not exist")
    if path.is_file():
        return path
    ours, events = path / OURS, sorted(path.rglob(f"*{EVENTS}*"))
    if ours.is_file():
        return ours
    if len(events) > 1:
        raise DiffevalError(f"training log: {path} holds {len(events)} event files; name one, e.g. {events[-1]}")
    if events:
        return events[0]
    raise DiffevalError(f"training log: {path} holds neither {OURS} nor a TensorBoard event file; name the file")


def _of_csv(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _of_rows(path, list(csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DiffevalError(f"training log: {path} is no CSV file: {error}") from error


def _of_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with our names; those without a loss, as loggers of several things write them, are left out."""
    if not rows:
        return []
    rows = [row for row in rows if isinstance(row, Mapping)]
    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    step, loss, norm = (_column(columns, names) for names in (STEP, LOSS, NORM))
    if loss is None:
        raise DiffevalError(
            f"training log: {path} has no column of losses (it has: {', '.join(columns) or 'none'}); name one "
            f"{', '.join(LOSS[:3])}"
        )
    found = []
    for number, row in enumerate(rows, 1):
        if _empty(row.get(loss)):
            continue
        at = number if step is None or _empty(row.get(step)) else _number(path, number, step, row[step])
        if not math.isfinite(at):
            raise DiffevalError(f"training log: {path}, row {number}: {step} is {row[step or '']!r}, no step")
        one: dict[str, Any] = {"step": int(at), "loss": _number(path, number, loss, row[loss])}
        if norm is not None and not _empty(row.get(norm)):
            one["gradient_norm"] = _number(path, number, norm, row[norm])
        found.append(one)
    return found


def _column(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """The column of one of these names, the first name first; letters may be large or small."""
    lower = {column.strip().lower(): column for column in reversed(list(columns))}
    return next((lower[name] for name in names if name in lower), None)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _number(path: Path, row: int, column: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DiffevalError(f"training log: {path}, row {row}: {column} is {value!r}, no number") from error


def _of_events(path: Path) -> list[dict[str, Any]]:
    try:
        module = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    except ImportError as error:
        raise DiffevalError(
            f"training log: {path} needs tensorboard to be read; pip install tensorboard, or export the scalars as CSV"
        ) from error
    # 0 keeps every scalar; by default they are thinned to 10,000.
    events = module.EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    tags = list(events.Tags()["scalars"])
    loss, norm = _column(tags, LOSS), _column(tags, NORM)
    if loss is None:
        raise DiffevalError(
            f"training log: {path} has no scalar of losses (it has: {', '.join(tags) or 'none'}); name one "
            f"{', '.join(LOSS[:3])}"
        )
    norms = {event.step: float(event.value) for event in (events.Scalars(norm) if norm is not None else ())}
    return [
        {"step": int(event.step), "loss": float(event.value)}
        | ({"gradient_norm": norms[event.step]} if event.step in norms else {})
        for event in events.Scalars(loss)
    ]
