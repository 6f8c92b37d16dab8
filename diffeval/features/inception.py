"""The ``inception`` extractor: InceptionV3 of 2015-12-05 as FID has it, from torch-fidelity's own blocks."""

import functools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from diffeval.data.source import Images
from diffeval.errors import DiffevalError
from diffeval.features.extractor import EXTRACTORS, Extractor, ExtractorRequest
from diffeval.features.network import FastMode, NetworkRunner, Outputs, fold_batch_norms
from diffeval.features.resizing import (
    Resizing,
    pick_resizing,
    pillow_float_bicubic,
    tensorflow_bilinear,
    to_rgb,
    torch_bilinear,
)
from diffeval.features.weights import Published, fill, find_weights, read_state
from diffeval.registry import did_you_mean

SIZE, CLASSES = 299, 1008
PUBLISHED = Published(
    "weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d",
)
# Dimensions of each layer that features can be read at.
LAYERS = {
    "64": 64,
    "192": 192,
    "768": 768,
    "2048": 2048,
    "logits_unbiased": CLASSES,
    "logits": CLASSES,
    "spatial": 17 * 17 * 7,
}
# What sFID reads, TensorFlow's mixed_6/conv: the 1x1 branch of this block (its first 7 channels, at every position).
SPATIAL, SPATIAL_CHANNELS = "Mixed_6d", 7
RESIZINGS = {
    "torch-fidelity": Resizing(
        "torch-fidelity", "TensorFlow 1's bilinear, no antialiasing, not rounded", tensorflow_bilinear
    ),
    "clean": Resizing(
        "clean", "clean-fid's bicubic of Pillow on float32, antialiased, clipped, not rounded", pillow_float_bicubic
    ),
    "legacy_pytorch": Resizing(
        "legacy_pytorch", "bilinear between pixel centres, no antialiasing, not rounded", torch_bilinear
    ),
    "legacy_tensorflow": Resizing(
        "legacy_tensorflow", "TensorFlow 1's bilinear, no antialiasing, not rounded", tensorflow_bilinear
    ),
}
# (x - middle) / middle: TensorFlow's graph has 128, pytorch-fid maps 0..255 to -1..1.
MIDDLES = {"legacy_pytorch": 127.5}


class FrechetInception(nn.Module):
    """InceptionV3 up to one layer, [n, 3, 299, 299] normalised -> features [n, d], and logits behind 2048.

    Args:
        layer: a name in ``LAYERS``; what lies behind it is not run.
    """

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer
        self.stages: dict[str, list[str]] = {}
        for stage, blocks in _stages().items():
            self.stages[stage] = list(blocks)
            for name, make in blocks.items():
                self.add_module(name, make())
        self.fc = nn.Linear(2048, CLASSES)

    def forward(self, x: torch.Tensor) -> Outputs:
        """Features, and the logits without bias (those that the Inception Score is published with)."""
        for stage, names in self.stages.items():
            for name in names:
                block = self.get_submodule(name)
                if self.layer == "spatial" and name == SPATIAL:
                    return block.get_submodule("branch1x1")(x)[:, :SPATIAL_CHANNELS].flatten(1), None
                x = block(x)
            if stage in (self.layer, "2048"):
                break
        x = x.mean(dim=(2, 3)) if self.layer in self.stages else x.flatten(1)
        if x.shape[1] != 2048:
            return x, None
        unbiased = x @ self.fc.weight.T
        return {"logits_unbiased": unbiased, "logits": unbiased + self.fc.bias}.get(self.layer, x), unbiased


def _stages() -> dict[str, dict[str, Callable[[], nn.Module]]]:
    """The network's blocks under the names that its weights file has, by the layer that they end at."""
    from torch_fidelity import feature_extractor_inceptionv3 as blocks

    of = functools.partial
    conv, pool = blocks.BasicConv2d, of(nn.MaxPool2d, kernel_size=3, stride=2)
    return {
        "64": {
            "Conv2d_1a_3x3": of(conv, 3, 32, kernel_size=3, stride=2),
            "Conv2d_2a_3x3": of(conv, 32, 32, kernel_size=3),
            "Conv2d_2b_3x3": of(conv, 32, 64, kernel_size=3, padding=1),
            "MaxPool_1": pool,
        },
        "192": {
            "Conv2d_3b_1x1": of(conv, 64, 80, kernel_size=1),
            "Conv2d_4a_3x3": of(conv, 80, 192, kernel_size=3),
            "MaxPool_2": pool,
        },
        "768": {
            "Mixed_5b": of(blocks.InceptionA, 192, pool_features=32),
            "Mixed_5c": of(blocks.InceptionA, 256, pool_features=64),
            "Mixed_5d": of(blocks.InceptionA, 288, pool_features=64),
            "Mixed_6a": of(blocks.InceptionB, 288),
            "Mixed_6b": of(blocks.InceptionC, 768, channels_7x7=128),
            "Mixed_6c": of(blocks.InceptionC, 768, channels_7x7=160),
            "Mixed_6d": of(blocks.InceptionC, 768, channels_7x7=160),
            "Mixed_6e": of(blocks.InceptionC, 768, channels_7x7=192),
        },
        "2048": {
            "Mixed_7a": of(blocks.InceptionD, 768),
            "Mixed_7b": of(blocks.InceptionE_1, 1280),
            "Mixed_7c": of(blocks.InceptionE_2, 2048),
            "AvgPool": of(nn.AdaptiveAvgPool2d, output_size=(1, 1)),
        },
    }


@EXTRACTORS.register("inception")
def inception(request: ExtractorRequest) -> Extractor:
    """Loads the extractor.

    Variants are the layers in ``LAYERS``, 2048 by default; resizings those in ``RESIZINGS``.

    Raises:
        DiffevalError: for an unknown variant or resizing, or without its weights.
    """
    layer = request.variant or "2048"
    if layer not in LAYERS:
        raise DiffevalError(f"extractor: inception has no layer {layer!r};{did_you_mean(layer, LAYERS)}")
    resizing = pick_resizing("inception", request.resize, RESIZINGS)
    weights = find_weights("inception", PUBLISHED, request)
    with torch.device("meta"):  # no initial weights are drawn
        network = FrechetInception(layer)
    fill("inception", network, read_state("inception", weights.path), weights.path)
    fold_batch_norms(network)
    middle = MIDDLES.get(resizing.name, 128.0)

    def prepare(images: Images) -> torch.Tensor:
        resized = resizing.apply(to_rgb("inception", images), SIZE, request.device)
        return (resized - middle) / middle

    run = NetworkRunner("inception", network, prepare, request.device, fast=request.fast)
    fast = run.speed_up(torch.zeros(1, 3, 32, 32, dtype=torch.uint8).numpy()) if request.fast else FastMode("", ())
    parts = ("inception", layer, resizing.name, f"minus{middle:g}", weights.short, fast.tag)
    return Extractor(
        name=f"inception:{layer}",
        id="/".join(part for part in parts if part),
        dim=LAYERS[layer],
        resize=resizing.recorded,
        classes=tuple(f"output {number}" for number in range(CLASSES))
        if layer in ("2048", "logits_unbiased", "logits")
        else (),
        run=run,
        layer=layer,
        normalisation=f"(x - {middle:g}) / {middle:g}",
        notes=fast.notes,
        exact=(lambda: inception(replace(request, fast=False))) if request.fast else None,
    )
