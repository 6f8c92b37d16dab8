"""How the ``fitted`` extractor's network is trained: on the reference alone, from a seed, on the CPU."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from diffeval.data.pixels import Images
from diffeval.errors import StoppedError
from diffeval.progress import Reporter

DIM = 64
# Raised whenever anything below changes what is trained.
RECIPE = 2
BATCH, PEAK_RATE, WEIGHT_DECAY, SMOOTHING, TEMPERATURE = 128, 2e-3, 0.05, 0.1, 0.2
STEPS = 1500
# Images above this side are averaged down first: the features are for comparing sets, not for fine print.
LARGEST_SIDE = 32


class FittedNetwork(nn.Module):
    """Four convolutions and two linear layers, SiLU between: [n, C, H, W] in [-1, 1] -> features [n, 64] -> outputs.

    The activations are averaged to 2 x 2 before the linear layers, so that any size of image fits. Dropout before both
    linear layers keeps the features of images it was trained on like those of unseen ones.

    Args:
        channels: of the images.
        outputs: classes, or the width of the projection in self-supervised training.
        dropout: share of activations.
    """

    def __init__(self, channels: int, outputs: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.convolution2 = nn.Conv2d(16, 32, 3, padding=1)
        self.convolution3 = nn.Conv2d(32, 64, 3, padding=1)
        self.convolution4 = nn.Conv2d(64, 64, 3, padding=1)
        self.penultimate = nn.Linear(64 * 2 * 2, DIM)
        self.head = nn.Linear(DIM, outputs)
        self.dropout = nn.Dropout(dropout)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Penultimate activations, [n, 64], of what ``to_input`` made."""
        x = _halved(F.silu(self.convolution1(x)))
        x = _halved(F.silu(self.convolution2(x)))
        x = F.silu(self.convolution3(x))
        x = F.adaptive_avg_pool2d(F.silu(self.convolution4(x)), 2)
        return F.silu(self.penultimate(self.dropout(x.flatten(1))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits or projections, [n, outputs]."""
        outputs: torch.Tensor = self.head(self.dropout(self.features(x)))
        return outputs


def _halved(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 2) if min(x.shape[2:]) >= 4 else x


def to_input(images: Images) -> torch.Tensor:
    """Pixels as the network takes them: float32 in [-1, 1], averaged down to a side of at most 32."""
    x = torch.from_numpy(np.ascontiguousarray(images)).float() / 127.5 - 1.0
    shrink = math.ceil(max(x.shape[2:]) / LARGEST_SIDE)
    return F.interpolate(x, size=[math.ceil(side / shrink) for side in x.shape[2:]], mode="area") if shrink > 1 else x


@dataclass(frozen=True, slots=True)
class Strength:
    """How far an augmentation goes, each drawn evenly up to it.

    Attributes:
        angle: of the rotation, in radians.
        scale: share by which the image grows or shrinks.
        shear: of the columns.
        shift: as a share of half the side.
        contrast: share by which differences from the image's mean grow or shrink.
        noise: standard deviation of what is added, of pixels in [-1, 1].
    """

    angle: float = 0.2
    scale: float = 0.12
    shear: float = 0.15
    shift: float = 0.15
    contrast: float = 0.0
    noise: float = 0.1


# Two views of one image must differ in all that does not make it that image.
VIEW = Strength(angle=0.35, scale=0.25, shear=0.2, shift=0.2, contrast=0.4, noise=0.1)


def augmented(x: torch.Tensor, generator: torch.Generator, strength: Strength | None = None) -> torch.Tensor:
    """Images moved a little, each in its own way."""
    limit = strength or Strength()

    def spread(width: float) -> torch.Tensor:
        return (torch.rand(len(x), generator=generator) * 2 - 1) * width

    angle, scale, shear = spread(limit.angle), 1 + spread(limit.scale), spread(limit.shear)
    right, down, contrast = spread(limit.shift), spread(limit.shift), 1 + spread(limit.contrast)
    rows = (
        torch.stack([scale * angle.cos(), -scale * angle.sin() + shear, right], dim=1),
        torch.stack([scale * angle.sin(), scale * angle.cos(), down], dim=1),
    )
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    moved = mean + (moved - mean) * contrast.view(-1, 1, 1, 1)
    noisy = moved + torch.randn(x.shape, generator=generator) * limit.noise
    return noisy.contiguous(memory_format=torch.channels_last)


def fit(
    x: torch.Tensor, y: torch.Tensor | None, classes: int, *, reporter: Reporter, seed: int = 0, steps: int = STEPS
) -> FittedNetwork:
    """Trains the network; with labels as a classifier, without to tell views of one image from those of others.

    Args:
        x: float32 [n, C, h, w] as ``to_input`` makes it.
        y: int64 [n], or None.
        classes: number of classes; not used without labels.
        reporter: hears of progress.
        seed: of weights, batches and augmentation.
        steps: optimiser steps.
    """
    with (
        _one_thread(),
        torch.random.fork_rng(devices=[]),
    ):  # dropout and initial weights draw from the global generator
        torch.manual_seed(seed)
        # Without labels there is nothing to learn by heart that dropout would keep from being learnt.
        network = FittedNetwork(x.shape[1], DIM, dropout=0.0) if y is None else FittedNetwork(x.shape[1], classes)
        network.train().to(memory_format=torch.channels_last)  # twice as fast on a CPU
        generator = torch.Generator().manual_seed(seed)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            if y is None:
                return contrastive_loss(*(network(augmented(x[rows], generator, VIEW)) for _ in range(2)))
            return F.cross_entropy(network(augmented(x[rows], generator)), y[rows], label_smoothing=SMOOTHING)

        _optimise(network, loss, len(x), steps, generator, reporter)
    return network.eval().requires_grad_(False)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are then taken in one order, whatever the number of cores; a network this small gains little from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _optimise(
    network: nn.Module,
    loss: Callable[[torch.Tensor], torch.Tensor],
    n: int,
    steps: int,
    generator: torch.Generator,
    reporter: Reporter,
) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    reporter.stage("fitting the extractor", steps, "steps")
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randint(n, (min(BATCH, n),), generator=generator)
        value = loss(rows)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        reporter.advance(1)
        if reporter.stop_requested:
            raise StoppedError("extractor: stopped while it was fitted; the same command fits it anew")


def contrastive_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """NT-Xent of two views [n, d] each: every view must find its partner among the 2 n - 2 views of other images."""
    z = F.normalize(torch.cat([first, second]), dim=1)
    similarity = z @ z.T / TEMPERATURE
    similarity.fill_diagonal_(float("-inf"))
    n = len(first)
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(similarity, partner)


@torch.inference_mode()
def accuracy(network: FittedNetwork, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of images [n, C, h, w] that are given their own label [n]."""
    guesses = torch.cat([network(part).argmax(dim=1) for part in torch.split(x, 512)])
    return float((guesses == y).float().mean())


@torch.inference_mode()
def retrieval(network: FittedNetwork, x: torch.Tensor, seed: int = 0) -> float:
    """Share of images [n, C, h, w] whose second view lies, by cosine of the features, nearest to their first one.

    1/n by chance, and less than 1 by nature where images are all but the same.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = (F.normalize(network.features(augmented(x, generator, VIEW)), dim=1) for _ in range(2))
    nearest = (first @ second.T).argmax(dim=1)
    return float((nearest == torch.arange(len(x))).float().mean())
