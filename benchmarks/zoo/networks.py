"""Networks of 0.1 to 0.3 million parameters, for ``--model benchmarks/zoo/networks.py:NAME``.

Each factory declares what belongs to the network: shape, classes, and what it takes as time. Prediction type, noise
schedule and value range belong to a training and are given beside it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from diffusers.models.embeddings import TimestepEmbedding
from torch import Tensor, nn
from torch.nn import functional as F

from diffeval.checkpoints.declaration import Declaration

CLASSES, NULL = 10, 10
# Standard deviation of the digits' pixels in [-1, 1].
SIGMA_DATA = 0.75

Made = tuple[nn.Module, Declaration]


def sinusoid(time: Tensor, width: int) -> Tensor:
    """Cosines and sines of time, made for 0 to 999: periods from 2 pi to 10,000 times that."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=time.device) / (width // 2))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeInput(nn.Module):
    """Makes features [b, width] of time [b]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


class Sinusoid(TimeInput):
    def forward(self, time: Tensor) -> Tensor:
        return sinusoid(time, self.width)


class AsIs(TimeInput):
    """Time as one number."""

    def __init__(self) -> None:
        super().__init__(width=1)

    def forward(self, time: Tensor) -> Tensor:
        return time.float()[:, None]


class Fourier(TimeInput):
    """Cosines and sines of a continuous time at random frequencies, which are saved with the weights."""

    frequencies: Tensor

    def __init__(self, width: int, scale: float) -> None:
        super().__init__(width)
        self.register_buffer("frequencies", scale * torch.randn(width // 2))

    def forward(self, time: Tensor) -> Tensor:
        angles = 2 * math.pi * time.float()[:, None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class Table(TimeInput):
    """A learned vector for each of T timesteps."""

    def __init__(self, timesteps: int, width: int) -> None:
        super().__init__(width)
        self.rows = nn.Embedding(timesteps, width)

    def forward(self, time: Tensor) -> Tensor:
        rows: Tensor = self.rows(time)
        return rows


class Nothing(TimeInput):
    """No time."""

    def __init__(self) -> None:
        super().__init__(width=0)

    def forward(self, time: Tensor) -> Tensor:
        return time.new_zeros((len(time), 0), dtype=torch.float32)


class Silent(TimeInput):
    """The mistake of an embedding that is computed and comes out as zeros."""

    def __init__(self, inner: TimeInput) -> None:
        super().__init__(inner.width)
        self.inner = inner

    def forward(self, time: Tensor) -> Tensor:
        return torch.zeros_like(self.inner(time))


class SilentEmbedding(TimestepEmbedding):  # type: ignore[misc]
    """The same mistake in diffusers' embedding, whose class embedding goes on working."""

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.zeros_like(super().forward(sample, condition))


class ResidualCNN(nn.Module):
    """Convolutions at full resolution, scaled and shifted by what an MLP makes of time and class."""

    def __init__(self, time: TimeInput, *, width: int = 32, blocks: int = 7, kernel: int = 3) -> None:
        super().__init__()
        self.time, self.labels = time, nn.Embedding(CLASSES + 1, 32)
        self.mlp = nn.Sequential(nn.Linear(time.width + 32, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.films = nn.ModuleList(nn.Linear(64, 2 * width) for _ in range(blocks))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, kernel, padding=kernel // 2) for _ in range(blocks))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        embedded = self.mlp(torch.cat([self.time(time), self.labels(label)], dim=1))
        hidden = self.stem(x)
        for film, conv in zip(self.films, self.convs, strict=True):
            scale, shift = film(embedded)[:, :, None, None].chunk(2, dim=1)
            hidden = hidden + conv(F.silu(hidden * (1 + scale) + shift))
        output: Tensor = self.head(F.silu(hidden))
        return output


class NormBlock(nn.Module):
    """Two convolutions behind BatchNorm, with time and class added between them."""

    def __init__(self, before: int, after: int, momentum: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.BatchNorm2d(channels, momentum=momentum) for channels in (before, after))
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.embed = nn.Linear(64, after)
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x))) + self.embed(embedded)[:, :, None, None]
        output: Tensor = self.skip(x) + self.conv2(F.silu(self.norm2(hidden)))
        return output


class BatchNormUNet(nn.Module):
    """Two resolutions; time by a sinusoid and an MLP, the class by a table."""

    def __init__(self, *, width: int = 24, momentum: float = 0.1) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(Sinusoid(64), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64))
        self.labels = nn.Embedding(CLASSES + 1, 64)
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.down = NormBlock(width, width, momentum)
        self.low = nn.ModuleList([NormBlock(width, 2 * width, momentum), NormBlock(2 * width, 2 * width, momentum)])
        self.up = NormBlock(3 * width, width, momentum)
        self.head = nn.Sequential(
            nn.BatchNorm2d(width, momentum=momentum), nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1)
        )

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        embedded = F.silu(self.time_mlp(time) + self.labels(label))
        high = self.down(self.stem(x), embedded)
        low = F.avg_pool2d(high, 2)
        for block in self.low:
            low = block(low, embedded)
        joined = torch.cat([high, F.interpolate(low, scale_factor=2.0)], dim=1)
        output: Tensor = self.head(self.up(joined, embedded))
        return output


class AffineDenoiser(nn.Module):
    """Affine in x at every timestep: a gain for each of 64 learned directions, and a shift. It has no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(Sinusoid(64), nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU())
        self.gains, self.shift = nn.Linear(256, 64), nn.Linear(256, 64)
        self.inwards, self.outwards = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        embedded = self.time_mlp(time)
        made = self.outwards(self.gains(embedded) * self.inwards(x.flatten(1))) + self.shift(embedded)
        output: Tensor = made.view_as(x)
        return output


def _call_diffusers(network: Callable[..., Any], x: Tensor, time: Tensor, label: Tensor | None) -> Any:
    return network(x, time, class_labels=label)


def _declare(time: str = "step", *, size: int = 8, **more: Any) -> Declaration:
    """Of a network with classes; the digits are what the small ones were trained on."""
    known = {"reference": "digits@train"} if size == 8 else {}
    return Declaration(shape=(1, size, size), time=time, **{"classes": CLASSES, "null_class": NULL, **known, **more})


def _unet(
    *, channels: tuple[int, ...] = (16, 32), size: int = 8, labels: int | None = CLASSES + 1, silent: bool = False
) -> UNet2DModel:
    """Attention sits at the lowest resolution."""
    levels = len(channels)
    network = UNet2DModel(
        sample_size=size,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        attention_head_dim=16,
        norm_num_groups=8,
        num_class_embeds=labels,
    )
    if silent:
        network.time_embedding = SilentEmbedding(channels[0], 4 * channels[0])
    return network


def unet() -> Made:
    """Diffusers' U-Net with GroupNorm."""
    return _unet(), _declare(call=_call_diffusers)


def unet_unconditional() -> Made:
    """The same without classes."""
    return _unet(labels=None), _declare(classes=0, null_class=None)


def unet_fraction() -> Made:
    """The same, with t/T in a sinusoid that was made for 0 to 999."""
    return _unet(), _declare("t/T", call=_call_diffusers)


def unet_silent() -> Made:
    """The same, with a timestep embedding that comes out as zeros."""
    return _unet(silent=True), _declare(call=_call_diffusers)


def dit() -> Made:
    """Diffusers' transformer with AdaLN-zero: each block embeds time and class itself."""
    network = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=16,
        in_channels=1,
        out_channels=1,
        num_layers=3,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=CLASSES,
        norm_num_groups=8,
        attention_bias=True,
    )
    for block in network.transformer_blocks:
        nn.init.zeros_(block.norm1.linear.weight)
        nn.init.zeros_(block.norm1.linear.bias)
        # The training drops classes; it would be done twice.
        block.norm1.emb.class_embedder.dropout_prob = 0.0
    return network, _declare(call=_call_diffusers)


def batchnorm_unet() -> Made:
    """A U-Net with BatchNorm."""
    return BatchNormUNet(), _declare()


def batchnorm_unet_hasty() -> Made:
    """The same, its running statistics made of the last few batches."""
    return BatchNormUNet(momentum=0.5), _declare()


def cnn() -> Made:
    """Convolutions that take time as t/T."""
    return ResidualCNN(AsIs()), _declare("t/T")


def cnn_silent() -> Made:
    """The same, with a timestep embedding that comes out as zeros."""
    return ResidualCNN(Silent(AsIs())), _declare("t/T")


def cnn_table() -> Made:
    """The same with a learned vector per timestep."""
    return ResidualCNN(Table(1000, 64)), _declare()


def cnn_fourier() -> Made:
    """The same with Fourier features of log-SNR."""
    return ResidualCNN(Fourier(64, 0.1)), _declare("log-snr")


def cnn_edm() -> Made:
    """The same with the preconditioning of Karras et al. 2022; it takes log(sigma) / 4."""
    edm = f"edm:sigma_data={SIGMA_DATA}"
    declared = Declaration(
        shape=(1, 8, 8), classes=CLASSES, null_class=NULL, preconditioning=edm, reference="digits@train"
    )
    return ResidualCNN(Fourier(64, 0.5)), declared


def cnn_timeless() -> Made:
    """The same without any time input."""
    return ResidualCNN(Nothing()), _declare()


def cnn_near() -> Made:
    """The same with one 3x3 convolution, all others 1x1: it sees 3 pixels of 8."""
    return ResidualCNN(AsIs(), width=64, blocks=4, kernel=1), _declare("t/T")


def affine() -> Made:
    """A denoiser affine in x."""
    return AffineDenoiser(), _declare(classes=0, null_class=None)


def mnist_unet() -> Made:
    """Diffusers' U-Net with GroupNorm for 28 pixels."""
    return _unet(channels=(16, 32, 32), size=28), _declare(size=28, call=_call_diffusers)


def mnist_unet_silent() -> Made:
    """The same, with a timestep embedding that comes out as zeros."""
    return _unet(channels=(16, 32, 32), size=28, silent=True), _declare(size=28, call=_call_diffusers)
