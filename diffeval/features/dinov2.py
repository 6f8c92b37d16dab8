"""The ``dinov2`` extractor: DINOv2's ViT-S, B and L with patches of 14, at 224 x 224, read at the class token."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from diffeval.data.source import Images
from diffeval.errors import DiffevalError
from diffeval.features.extractor import EXTRACTORS, Extractor, ExtractorRequest
from diffeval.features.network import FastMode, NetworkRunner, Outputs
from diffeval.features.resizing import Resizing, pick_resizing, pillow_bicubic, to_rgb, torch_bicubic
from diffeval.features.weights import Published, StateDict, fill, find_weights, read_state
from diffeval.registry import did_you_mean

SIZE, PATCH = 224, 14
GRID = SIZE // PATCH
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIZINGS = {
    "bicubic": Resizing("bicubic", "torch's bicubic, antialiased, neither rounded nor clipped", torch_bicubic),
    "pil": Resizing("pil", "Pillow's bicubic, antialiased, rounded to uint8", pillow_bicubic),
}
# Meta's code adds this to the grid's side before it divides, which moves every sample of the position embedding.
META_OFFSET = 0.1


@dataclass(frozen=True, slots=True)
class Model:
    """A size of the network.

    Attributes:
        timm: timm's name of it.
        dim: width of the class token.
    """

    timm: str
    dim: int


MODELS = {
    "vits14": Model("vit_small_patch14_dinov2", 384),
    "vitb14": Model("vit_base_patch14_dinov2", 768),
    "vitl14": Model("vit_large_patch14_dinov2", 1024),
}
VARIANTS = tuple(f"{size}{tail}" for size in MODELS for tail in ("", "-timm"))


def published(size: str) -> Published:
    """Meta's file; its sum is not published, so the one found is recorded."""
    name = f"dinov2_{size}_pretrain.pth"
    return Published(name, f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{size}/{name}")


def meta_positions(positions: torch.Tensor) -> torch.Tensor:
    """Position embedding [1, 1 + m^2, d] brought to the 16 x 16 grid of 224 pixels, as Meta's own code does it.

    Bicubic without antialiasing; the sampling step is m / 16.1, not m / 16.
    """
    token, grid = positions[:, :1], positions[:, 1:]
    side = math.isqrt(grid.shape[1])
    if side == GRID:
        return positions
    planes = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (GRID + META_OFFSET) / side
    resampled = F.interpolate(planes, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    return torch.cat([token, resampled.permute(0, 2, 3, 1).reshape(1, GRID * GRID, -1)], dim=1)


def timm_positions(positions: torch.Tensor) -> torch.Tensor:
    """The same by timm's own function: bicubic with antialiasing, no offset."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    resampled: torch.Tensor = resample_abs_pos_embed(positions, new_size=[GRID, GRID])
    return resampled


class ClassToken(nn.Module):
    """A vision transformer that returns its class token, and no logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Outputs:
        """[n, 3, 224, 224] normalised -> [n, d]."""
        return self.network(x), None


def build(size: str, state: StateDict, owner: str, path: Path) -> nn.Module:
    """The network with its weights; the position embedding is on the 16 x 16 grid already.

    Raises:
        DiffevalError: if the weights are of another network.
    """
    import timm

    with torch.device("meta"):  # no initial weights are drawn
        network = timm.create_model(MODELS[size].timm, img_size=SIZE, num_classes=0)
    assert isinstance(network, nn.Module)
    fill(owner, network, state, path)
    return network


@EXTRACTORS.register("dinov2")
def dinov2(request: ExtractorRequest) -> Extractor:
    """Loads the extractor.

    Variants are vits14, vitb14 and vitl14 (the default) with Meta's resampling of the position embedding, and the same
    with ``-timm`` with timm's. Both read Meta's file, or timm's as safetensors.

    Raises:
        DiffevalError: for an unknown variant or resizing, or without its weights.
    """
    variant = request.variant or "vitl14"
    if variant not in VARIANTS:
        raise DiffevalError(f"extractor: dinov2 has no variant {variant!r};{did_you_mean(variant, VARIANTS)}")
    owner, size = f"dinov2:{variant}", variant.removesuffix("-timm")
    resizing = pick_resizing("dinov2", request.resize, RESIZINGS)
    weights = find_weights(owner, published(size), request)
    state = read_state(owner, weights.path)
    # The mask token serves training only; the position embedding is brought to this grid.
    state.pop("mask_token", None)
    positions = state.get("pos_embed")
    if positions is not None and _square(positions):
        resample = timm_positions if variant.endswith("-timm") else meta_positions
        state["pos_embed"] = resample(positions.float())
    network = ClassToken(build(size, state, owner, weights.path))
    mean, std = (torch.tensor(values, device=request.device).view(3, 1, 1) for values in (MEAN, STD))

    def prepare(images: Images) -> torch.Tensor:
        return (resizing.apply(to_rgb(owner, images), SIZE, request.device) / 255 - mean) / std

    run = NetworkRunner(owner, network, prepare, request.device, fast=request.fast)
    fast = run.speed_up(np.zeros((1, 3, SIZE, SIZE), dtype=np.uint8)) if request.fast else FastMode("", ())
    parts = ("dinov2", variant, resizing.name, "imagenet", weights.short, fast.tag)
    return Extractor(
        name=owner,
        id="/".join(part for part in parts if part),
        dim=MODELS[size].dim,
        resize=resizing.recorded,
        classes=(),
        run=run,
        layer="class token after the last norm",
        normalisation="ImageNet mean and standard deviation",
        notes=fast.notes,
        exact=(lambda: dinov2(replace(request, fast=False))) if request.fast else None,
    )


def _square(positions: torch.Tensor) -> bool:
    return positions.ndim == 3 and math.isqrt(positions.shape[1] - 1) ** 2 == positions.shape[1] - 1
