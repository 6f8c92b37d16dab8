"""The card that ``diffeval train`` leaves beside the weights (``diffeval.json``): what no diffusers file can say."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular

FILE_NAME = "diffeval.json"


class DeclaredSampler(BaseModel):
    """How the model is meant to be sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    steps: int = Field(ge=1)
    eta: float | None = None


class Card(BaseModel):
    """Contents of ``diffeval.json``.

    Attributes:
        data: the training data as ``--ref`` takes it, split included.
        data_hash: sha256 over it.
        value_range: that pixels were mapped to.
        schedule: name of the noise schedule.
        zero_snr: whether it was rescaled to zero terminal SNR.
        timesteps: T.
        prediction: what the network predicts.
        classes: class names; empty for an unconditional model.
        null_class: index of the null condition, or None.
        drop_condition: probability with which the condition was dropped in training.
        ema_decay: of the weights in ``unet/``.
        step: optimiser steps behind the weights.
        weights: sha256 over the tensors in each folder beside it, by the folder's name; empty in older cards.
        sampler: how it is meant to be sampled.
        provenance: versions, command, seed, time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: str = Field(default="diffeval.checkpoint/1", alias="schema")
    data: str
    data_hash: str
    value_range: tuple[float, float] = (-1.0, 1.0)
    schedule: str
    zero_snr: bool
    timesteps: int
    prediction: str
    classes: tuple[str, ...]
    null_class: int | None
    drop_condition: float
    ema_decay: float
    step: int
    weights: dict[str, str] = Field(default_factory=dict)
    sampler: DeclaredSampler
    provenance: dict[str, Any]


def read_card(folder: Path) -> Card | None:
    """The card of a checkpoint folder; None where there is none.

    Raises:
        DiffevalError: if it is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        return Card.model_validate(json.loads(regular(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        reason = str(error).splitlines()
        raise DiffevalError(f"checkpoint: cannot read {path}: {' '.join(reason[:3])[:300]}; restore it") from error


def card_text(card: Card) -> str:
    """The card as JSON text."""
    return card.model_dump_json(indent=2, by_alias=True) + "\n"
