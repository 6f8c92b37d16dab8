"""What a training run leaves on disk: the checkpoint that ships, and what is needed to go on."""

import io
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError

from diffeval.checkpoints.card import FILE_NAME, Card, card_text
from diffeval.checkpoints.diffusers_network import weights_hash
from diffeval.errors import DiffevalError
from diffeval.runs.files import replace_bytes, replace_text

LOG, PROBE_LOG, STATE = "log.jsonl", "probe.jsonl", "state.pt"


def save_checkpoint(
    folder: Path, raw: UNet2DModel, averaged: UNet2DModel, scheduler: DDPMScheduler, card: Card
) -> None:
    """Writes ``unet/`` (the average, which ships), ``unet_raw/``, ``scheduler/`` and the card.

    All parts are written beside their places and then moved there, the card last. A kill in between leaves parts of
    two saves, which the card's hashes tell, or a part missing; ``--resume`` goes by the state alone and writes them
    all again.

    Raises:
        DiffevalError: if the folder cannot be written or the disk is full.
    """
    parts = {"unet": averaged, "unet_raw": raw, "scheduler": scheduler}
    try:
        for name, part in parts.items():
            shutil.rmtree(folder / f".{name}.new", ignore_errors=True)
            part.save_pretrained(folder / f".{name}.new")
        for name in parts:
            _put_in_place(folder, name)
    except (OSError, SafetensorError) as error:
        # safetensors tells of a full disk by an error of its own.
        reason = getattr(error, "strerror", None) or error
        raise DiffevalError(f"train: cannot write {folder}: {reason}; free the disk or choose --out") from error
    replace_text(
        folder / FILE_NAME,
        card_text(
            card.model_copy(update={"weights": {"unet": weights_hash(averaged), "unet_raw": weights_hash(raw)}})
        ),
    )


def _put_in_place(folder: Path, name: str) -> None:
    """Moves a part that is written to where the one before it was."""
    old = folder / f".{name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if (folder / name).exists():
        (folder / name).rename(old)
    (folder / f".{name}.new").rename(folder / name)
    shutil.rmtree(old, ignore_errors=True)


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
        _require_undamaged(path)
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DiffevalError(f"train: cannot read {path}: {reason[:120]}; train anew in another --out") from error
    return state


def _require_undamaged(path: Path) -> None:
    """Holds every part against its checksum, which ``torch.load`` does not.

    Raises:
        ValueError: if one does not agree.
    """
    with ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
