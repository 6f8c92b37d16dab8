"""The ``clip`` extractor: open_clip's networks, and the digits judge in the same form.

OpenAI trained with QuickGELU, x sigmoid(1.702 x), most others with GELU; the weights fit either network, and the wrong
one gives other features without a word. So the activation is part of the variant, and weights that are recognised as
OpenAI's get theirs.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from diffeval.data.source import Images
from diffeval.features.clip_networks import (
    MEAN,
    QUICK,
    STD,
    TOWERS,
    choose_variant,
    image_tower,
    known,
    other_normalisations,
    size_of,
    text_half,
)
from diffeval.features.clip_text import TextTower
from diffeval.features.digits_judge import VARIANT as DIGITS
from diffeval.features.digits_judge import digits_judge
from diffeval.features.extractor import EXTRACTORS, Extractor, ExtractorRequest
from diffeval.features.network import FastMode, NetworkRunner, Outputs
from diffeval.features.resizing import Resizing, pick_resizing, pillow_bicubic, pillow_crop, to_rgb
from diffeval.features.weights import Published, find_weights, read_state

RESIZINGS = {
    "crop": Resizing(
        "crop", "shorter side by Pillow's bicubic, antialiased, rounded to uint8; centre crop", pillow_crop
    ),
    "squash": Resizing(
        "squash",
        "both sides by Pillow's bicubic, antialiased, rounded to uint8; the shape is squeezed",
        pillow_bicubic,
    ),
}


class ImageTower(nn.Module):
    """The image half of CLIP, which has no logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Outputs:
        """[n, 3, side, side] normalised -> projected features [n, d], not brought to unit length."""
        return self.network(x), None


@EXTRACTORS.register("clip")
def clip(request: ExtractorRequest) -> Extractor:
    """Loads the extractor.

    Variants are ViT-B-32 (the default), ViT-B-16, ViT-L-14 and ViT-L-14-336, whose weights are fetched; any other
    model of open_clip with CLIP's own towers and tokenizer, with ``--weights``; each with GELU, and with
    ``-quickgelu``; and ``digits``, the judge that is built in.

    Raises:
        DiffevalError: for an unknown variant or resizing, without weights, or where the activation cannot be known.
    """
    if request.variant == DIGITS:
        return digits_judge(request)
    if request.variant is not None:
        known(request.variant)
    resizing = pick_resizing("clip", request.resize, RESIZINGS)
    weights = find_weights("clip", _published(request.variant or "ViT-B-32"), request)
    state = read_state("clip", weights.path)
    variant, notes = choose_variant(request.variant, state, weights)
    dim, side = size_of(variant)
    network = ImageTower(image_tower(variant, state, weights.path))
    del state  # the text half is read when the first text comes
    mean, std = (torch.tensor(values, device=request.device).view(3, 1, 1) for values in (MEAN, STD))

    def prepare(images: Images) -> torch.Tensor:
        return (resizing.apply(to_rgb("clip", images), side, request.device) / 255 - mean) / std

    run = NetworkRunner("clip", network, prepare, request.device, fast=request.fast)
    fast = run.speed_up(np.zeros((1, 3, side, side), dtype=np.uint8)) if request.fast else FastMode("", ())
    parts = ("clip", variant, resizing.name, "openai-mean", weights.short, fast.tag)
    return Extractor(
        name=f"clip:{variant}",
        id="/".join(part for part in parts if part),
        dim=dim,
        resize=resizing.recorded,
        classes=(),
        run=run,
        layer="projected image features, not brought to unit length",
        normalisation="CLIP's mean and standard deviation",
        notes=(*notes, *_normalised_otherwise(variant, weights.path), *fast.notes),
        exact=(lambda: clip(replace(request, fast=False))) if request.fast else None,
        texts=TextTower(lambda: text_half(variant, read_state("clip", weights.path), weights.path), request.device),
    )


def _published(variant: str) -> Published:
    """OpenAI's file of this network; of other networks none is known, and the user's own is needed."""
    tower = TOWERS.get(variant.removesuffix(QUICK))
    return tower.openai if tower else Published(f"{variant}.safetensors", "its weights, published for open_clip,")


def _normalised_otherwise(variant: str, path: Path) -> tuple[str, ...]:
    others = other_normalisations(variant)
    if not others:
        return ()
    return (
        f"clip: {path.name} is taken to want OpenAI's mean and deviation; open_clip's {', '.join(others)} of this "
        f"network want others, and would read wrongly here",
    )
