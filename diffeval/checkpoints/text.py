"""A text-to-image checkpoint, and what it becomes once it is given prompts: one whose conditions are their rows."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from diffeval.checkpoints.adapt import Adapter
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.text_table import NOTHING, Encode, TextTable
from diffeval.data.prompts import Prompt
from diffeval.diffusion.conditions import Prompts
from diffeval.errors import DiffevalError

# Calls a network with what texts were encoded to, and with w: call(network, x, t, encoded, w).
Call = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, Mapping[str, torch.Tensor], float], torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class TextCondition:
    """How a checkpoint takes text.

    Attributes:
        encode: texts to tensors; ``NOTHING`` is that of no condition.
        encoder: hash of the text encoders' files.
        call: the network with these tensors.
        longest: tokens that it reads, start and end among them; what is longer is cut.
        count: tokens of a text.
        prompts: that lie beside the weights, used where the user gives none.
        recorded: what else conditions an image, such as SDXL's sizes; part of the protocol.
        distilled: whether the guidance scale is an input of the network, and no second prediction is needed.
    """

    encode: Encode
    encoder: str
    call: Call
    longest: int
    count: Callable[[str], int]
    prompts: tuple[Prompt, ...] = ()
    recorded: Mapping[str, Any] = field(default_factory=dict)
    distilled: bool = False

    def network_call(self, table: TextTable, null: int, w: float = 1.0) -> Callable[..., torch.Tensor]:
        """``call(network, x, time, condition)`` where the condition is rows of the table, or None for ``null``."""

        def call(
            network: torch.nn.Module, x: torch.Tensor, time: torch.Tensor, condition: torch.Tensor | None
        ) -> torch.Tensor:
            rows = [null] * len(x) if condition is None else condition.tolist()
            return self.call(network, x, time, table.rows(rows, x.device), w)

        return call


def with_prompts(checkpoint: Checkpoint, prompts: Sequence[Prompt]) -> Checkpoint:
    """The checkpoint with these prompts for conditions; image i has prompt i modulo their number.

    Where every prompt names a class (``class`` or ``concept``), these are the checkpoint's classes from then on: image
    i has the class that any conditional checkpoint would give it, and wordings of a class take turns.

    Raises:
        DiffevalError: if the checkpoint takes no text, or there is no prompt.
    """
    text = checkpoint.text
    if text is None:
        raise DiffevalError(f"prompts: {checkpoint.name} takes no text; leave --prompts out")
    if not prompts:
        raise DiffevalError(f"prompts: {checkpoint.name} needs prompts; give --prompts FILE")
    classes, ordered = _by_class(prompts)
    negatives = list(dict.fromkeys(one.negative for one in ordered))
    if "" not in negatives:
        negatives.append("")
    texts = [*(one.text for one in ordered), *(one or NOTHING for one in negatives)]
    table = TextTable(text.encode, texts, text.encoder)
    nulls = tuple(len(ordered) + negatives.index(one.negative) for one in ordered)
    null = len(ordered) + negatives.index("")
    asked = Prompts(
        rows=_rows(ordered, classes),
        nulls=nulls,
        seeds=tuple(one.seed for one in ordered),
        content=_content(ordered),
    )
    adapter = checkpoint.adapter
    assert isinstance(adapter, Adapter), "a loader of a network adapts it"
    conditions = tuple(range(len(texts)))

    def bound(w: float) -> Adapter:
        return dataclasses.replace(adapter, conditions=conditions, call=text.network_call(table, null, w))

    return dataclasses.replace(
        checkpoint,
        adapter=bound(1.0),
        denoiser=bound(1.0)(checkpoint.network),
        at_w=(lambda w: bound(w)(checkpoint.network)) if text.distilled else None,
        classes=classes,
        null_class=None if text.distilled else null,
        prompts=tuple(ordered),
        asked=asked,
        assumptions=(*checkpoint.assumptions, *_said(checkpoint.name, text, texts, negatives)),
    )


def _said(name: str, text: TextCondition, texts: Sequence[str], negatives: Sequence[str]) -> Iterator[str]:
    """What becomes of the prompts otherwise than whoever wrote them may think."""
    cut = sum(text.count(one) > text.longest for one in dict.fromkeys(texts) if one != NOTHING)
    if cut:
        yield f"{cut} prompts are longer than the {text.longest} tokens that {name} reads, and are cut"
    if text.distilled and any(negatives):
        yield f"negative prompts do nothing: {name} is guidance-distilled, w is an input of its network"


def _by_class(prompts: Sequence[Prompt]) -> tuple[tuple[str, ...], list[Prompt]]:
    """Classes, and the prompts with the first of each class in front; no classes unless every prompt names one."""
    if not all(one.concept for one in prompts):
        return (), list(prompts)
    classes = tuple(dict.fromkeys(one.concept for one in prompts))
    firsts = [next(one for one in prompts if one.concept == name) for name in classes]
    taken = {one.id for one in firsts}
    return classes, [*firsts, *(one for one in prompts if one.id not in taken)]


def _rows(ordered: Sequence[Prompt], classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Rows of each class, in turn; without classes all in one."""
    if not classes:
        return (tuple(range(len(ordered))),)
    return tuple(tuple(row for row, one in enumerate(ordered) if one.concept == name) for name in classes)


def _content(ordered: Sequence[Prompt]) -> str:
    held = [[one.id, one.text, one.negative, one.seed, one.concept] for one in ordered]
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()
