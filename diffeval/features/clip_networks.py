"""open_clip's networks for the ``clip`` extractor: which one a name or a weights file means, and its two halves."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffeval.errors import DiffevalError
from diffeval.features.weights import Published, StateDict, Weights, fill
from diffeval.registry import did_you_mean

QUICK = "-quickgelu"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# What OpenAI's files hold beside tensors of the network.
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")
OPENAI_URL = "https://openaipublic.azureedge.net/clip/models/{sha256}/{name}"


@dataclass(frozen=True, slots=True)
class Tower:
    """An image tower of OpenAI's.

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
# What a configuration of open_clip holds where both towers are CLIP's own, with its own tokenizer.
PLAIN = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
PLAIN_TEXT = {"context_length", "vocab_size", "width", "heads", "layers"}


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


@cache
def variants() -> tuple[str, ...]:
    """Names of open_clip's models whose towers and tokenizer are CLIP's own; each also with ``-quickgelu``."""
    import open_clip

    plain = (name.removesuffix(QUICK) for name in open_clip.list_models() if _is_plain(_configuration(name)))
    return tuple(f"{name}{tail}" for name in dict.fromkeys((*TOWERS, *plain)) for tail in ("", QUICK))


def _is_plain(configuration: dict[str, Any]) -> bool:
    vision, text = configuration["vision_cfg"], configuration["text_cfg"]
    return set(configuration) <= PLAIN and "timm_model_name" not in vision and set(text) <= PLAIN_TEXT


def _configuration(name: str) -> dict[str, Any]:
    import open_clip

    found: dict[str, Any] = open_clip.get_model_config(name)
    return found


def known(variant: str) -> str:
    """The variant, if there is one of that name.

    Raises:
        DiffevalError: if there is none.
    """
    if variant not in variants():
        raise DiffevalError(f"extractor: clip has no variant {variant!r};{did_you_mean(variant, variants())}")
    return variant


def size_of(variant: str) -> tuple[int, int]:
    """Dimensions of the common space, and pixels of a side of the input."""
    configuration = _configuration(variant.removesuffix(QUICK))
    return int(configuration["embed_dim"]), int(configuration["vision_cfg"]["image_size"])


def other_normalisations(variant: str) -> tuple[str, ...]:
    """Published weights of this network that take pixels in another way than OpenAI's."""
    import open_clip

    name = variant.removesuffix(QUICK)
    tags = open_clip.list_pretrained_tags_by_model(name)
    found = {tag: open_clip.get_pretrained_cfg(name, tag) for tag in tags}
    return tuple(tag for tag, one in found.items() if tuple(one.get("mean") or MEAN) != MEAN)


def image_tower(variant: str, state: StateDict, path: Path) -> nn.Module:
    """The image half of open_clip's model with that name, with its weights.

    Raises:
        DiffevalError: if the weights are of another network.
    """
    network = _empty(variant).visual
    visual = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    fill(f"clip:{variant}", network, visual, path)
    assert isinstance(network, nn.Module)
    return network


def text_half(variant: str, state: StateDict, path: Path) -> nn.Module:
    """open_clip's model with that name without its image half, with its weights.

    Raises:
        DiffevalError: if the weights are of another network.
    """
    network: nn.Module = _empty(variant)
    network.visual = nn.Identity()
    network.register_buffer("attn_mask", None)  # it holds no values; ``TextTower`` makes its own
    apart = ("visual.", *OPENAI_KEYS)
    fill(f"clip:{variant}'s text tower", network, {k: v for k, v in state.items() if not k.startswith(apart)}, path)
    return network


def _empty(variant: str) -> Any:
    """The network without values."""
    import open_clip

    quick = variant.endswith(QUICK)
    with torch.device("meta"), _hushed():  # no initial weights are drawn
        return open_clip.create_model(variant.removesuffix(QUICK), device="meta", force_quick_gelu=quick)


@contextmanager
def _hushed() -> Iterator[None]:
    """open_clip warns of random weights, which are filled in right after."""
    threshold = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(threshold)
