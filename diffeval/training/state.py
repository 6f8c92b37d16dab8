"""What a training run leaves on disk: the checkpoint that ships, and what is needed to go on."""

import io
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel

from diffeval.checkpoints.card import FILE_NAME, Card, card_text
from diffeval.errors import DiffevalError
from diffeval.runs.files import replace_bytes, replace_text

LOG, PROBE_LOG, STATE = "log.jsonl", "probe.jsonl", "state.pt"


def save_checkpoint(
    folder: Path, raw: UNet2DModel, averaged: UNet2DModel, scheduler: DDPMScheduler, card: Card
) -> None:
    """Writes ``unet/`` (the average, which ships), ``unet_raw/``, ``scheduler/`` and the card.

    Each part is written beside its place and then moved there, so a kill leaves an old or a new part,
    never half a one.
    """
    for name, part in (("unet", averaged), ("unet_raw", raw), ("scheduler", scheduler)):
        temporary, old = folder / f".{name}.new", folder / f".{name}.old"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        part.save_pretrained(temporary)
        if (folder / name).exists():
            (folder / name).rename(old)
        temporary.rename(folder / name)
        shutil.rmtree(old, ignore_errors=True)
    replace_text(folder / FILE_NAME, card_text(card))


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes the tensors and numbers that ``load_state`` gives back, atomically."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    replace_bytes(folder / STATE, buffer.getvalue())


def load_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The state of a stopped run, or None where there is none.

    Raises:
        DiffevalError: if the file is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise DiffevalError(f"train: cannot read {path}: {error}; train anew in another --out") from error
    return state


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines log; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def cut_log(path: Path, step: int) -> None:
    """Drops the rows behind ``step``, which the continued run will write again."""
    kept = [row for row in read_log(path) if row["step"] <= step]
    replace_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def append_log(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows to a JSON-lines log."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
