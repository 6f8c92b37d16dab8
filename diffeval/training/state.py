"""What a training run leaves on disk: the checkpoint that ships, and what is needed to go on."""

import io
import pickle
import shutil
from collections.abc import Mapping
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

    Each part is written beside its place and then moved there. A kill in between leaves parts of two saves, or a part
    missing; ``--resume`` goes by the state alone and writes them all again.
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
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DiffevalError(f"train: cannot read {path}: {reason[:120]}; train anew in another --out") from error
    return state
