"""The ``clip`` extractor: an image tower of open_clip.

OpenAI trained with QuickGELU, x sigmoid(1.702 x), most others with GELU; the weights fit either network, and the wrong
one gives other features without a word. So the activation is part of the variant, and weights that are recognised as
OpenAI's get theirs.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from diffeval.data.source import Images
from diffeval.errors import DiffevalError
from diffeval.features.extractor import EXTRACTORS, Extractor, ExtractorRequest
from diffeval.features.network import FastMode, NetworkRunner, Outputs
from diffeval.features.resizing import Resizing, pick_resizing, pillow_crop, to_rgb
from diffeval.features.weights import Published, StateDict, Weights, fill, find_weights, read_state
from diffeval.registry import did_you_mean

QUICK = "-quickgelu"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
RESIZINGS = {
    "crop": Resizing(
        "crop", "shorter side by Pillow's bicubic, antialiased, rounded to uint8; centre crop", pillow_crop
    )
}
# What OpenAI's files hold beside tensors of the network.
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")
OPENAI_URL = "https://openaipublic.azureedge.net/clip/models/{sha256}/{name}"


@dataclass(frozen=True, slots=True)
class Tower:
    """An image tower.

    Attributes:
        dim: of its output.
        side: pixels of its input.
        width: of its layers.
        patch: pixels of a patch.
        openai: OpenAI's file.
    """

    dim: int
    side: int
    width: int
    patch: int
    openai: Published


def _openai(name: str, sha256: str) -> Published:
    return Published(name, OPENAI_URL.format(sha256=sha256, name=name), sha256)


TOWERS = {
    "ViT-B-32": Tower(
        512, 224, 768, 32, _openai("ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af")
    ),
    "ViT-B-16": Tower(
        512, 224, 768, 16, _openai("ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f")
    ),
    "ViT-L-14": Tower(
        768, 224, 1024, 14, _openai("ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836")
    ),
    "ViT-L-14-336": Tower(
        768,
        336,
        1024,
        14,
        _openai("ViT-L-14-336px.pt", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"),
    ),
}
VARIANTS = tuple(f"{name}{tail}" for name in TOWERS for tail in ("", QUICK))


class ImageTower(nn.Module):
    """The image half of CLIP, which has no logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Outputs:
        """[n, 3, side, side] normalised -> projected features [n, d], not brought to unit length."""
        return self.network(x), None


def is_openai(state: StateDict, weights: Weights) -> bool:
    """Whether the weights are OpenAI's: by the sum of the file, or by what their files alone hold."""
    known = {tower.openai.sha256 for tower in TOWERS.values()}
    return weights.sha256 in known or all(key in state for key in OPENAI_KEYS)


def choose_variant(variant: str | None, state: StateDict, weights: Weights) -> tuple[str, tuple[str, ...]]:
    """Tower and activation, and what the user should hear about them.

    Raises:
        DiffevalError: where the activation cannot be known.
    """
    if is_openai(state, weights):
        tower = (variant or _tower_of(state, weights.path)).removesuffix(QUICK)
        if variant == tower:
            note = f"clip: {weights.path.name} holds OpenAI's weights, which need QuickGELU: {tower}{QUICK} is used"
            return tower + QUICK, (note,)
        return tower + QUICK, ()
    if variant is None:
        tower = _tower_of(state, weights.path)
        raise DiffevalError(
            f"extractor: clip cannot tell from {weights.path} which activation it was trained with, and the wrong one "
            f"changes features silently; write clip:{tower} for GELU, or clip:{tower}{QUICK} for QuickGELU"
        )
    return variant, ()


def _tower_of(state: StateDict, path: Path) -> str:
    """The tower that the shapes belong to."""
    patches, positions = state.get("visual.conv1.weight"), state.get("visual.positional_embedding")
    if patches is not None and positions is not None and patches.ndim == 4:
        side = round((len(positions) - 1) ** 0.5) * patches.shape[-1]
        for name, tower in TOWERS.items():
            if (tower.width, tower.patch, tower.side) == (patches.shape[0], patches.shape[-1], side):
                return name
    raise DiffevalError(f"extractor: clip knows no image tower of these shapes, in {path}; known: {', '.join(TOWERS)}")


def build(variant: str, state: StateDict, path: Path) -> nn.Module:
    """The image tower of open_clip's model with that name, with its weights.

    Raises:
        DiffevalError: if the weights are of another network.
    """
    import open_clip

    with torch.device("meta"), _hushed():  # no initial weights are drawn
        network = open_clip.create_model(variant, device="meta").visual
    visual = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    fill(f"clip:{variant}", network, visual, path)
    assert isinstance(network, nn.Module)
    return network


@contextmanager
def _hushed() -> Iterator[None]:
    """open_clip warns of random weights, which are filled in right after."""
    threshold = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(threshold)


@EXTRACTORS.register("clip")
def clip(request: ExtractorRequest) -> Extractor:
    """Loads the extractor.

    Variants are ViT-B-32 (the default), ViT-B-16, ViT-L-14 and ViT-L-14-336, each with GELU, and with ``-quickgelu``.

    Raises:
        DiffevalError: for an unknown variant or resizing, without weights, or where the activation cannot be known.
    """
    if request.variant is not None and request.variant not in VARIANTS:
        raise DiffevalError(
            f"extractor: clip has no variant {request.variant!r};{did_you_mean(request.variant, VARIANTS)}"
        )
    resizing = pick_resizing("clip", request.resize, RESIZINGS)
    usual = TOWERS[(request.variant or "ViT-B-32").removesuffix(QUICK)].openai
    weights = find_weights("clip", usual, request)
    state = read_state("clip", weights.path)
    variant, notes = choose_variant(request.variant, state, weights)
    tower = TOWERS[variant.removesuffix(QUICK)]
    network = ImageTower(build(variant, state, weights.path))
    mean, std = (torch.tensor(values, device=request.device).view(3, 1, 1) for values in (MEAN, STD))

    def prepare(images: Images) -> torch.Tensor:
        return (resizing.apply(to_rgb("clip", images), tower.side, request.device) / 255 - mean) / std

    run = NetworkRunner("clip", network, prepare, request.device, fast=request.fast)
    fast = run.speed_up(np.zeros((1, 3, tower.side, tower.side), dtype=np.uint8)) if request.fast else FastMode("", ())
    parts = ("clip", variant, resizing.name, "openai-mean", weights.short, fast.tag)
    return Extractor(
        name=f"clip:{variant}",
        id="/".join(part for part in parts if part),
        dim=tower.dim,
        resize=resizing.recorded,
        classes=(),
        run=run,
        layer="projected image features, not brought to unit length",
        normalisation="CLIP's mean and standard deviation",
        notes=(*notes, *fast.notes),
        exact=(lambda: clip(replace(request, fast=False))) if request.fast else None,
    )
