"""Weights files of the real architectures in their real formats, with seeded random values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.data.pixels import Images
from diffeval.features.inception import FrechetInception


def _smooth(n: int, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> Images:
    random = np.random.Generator(np.random.Philox(seed))
    coarse = torch.from_numpy(random.uniform(0, 255, (n, channels, 5, 5)))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    images: Images = smooth.round().clamp(0, 255).to(torch.uint8).numpy()
    return images


@pytest.fixture(scope="session")
def draw() -> Callable[..., Images]:
    """Draws n smooth images; on them resizing protocols differ about as much as on photographs."""
    return _smooth


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of FID's InceptionV3 whose activations neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        wanted = FrechetInception("2048").state_dict()
    state = {}
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
        elif value.ndim >= 2:
            state[name] = torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            state[name] = 0.5 + torch.rand(value.shape, generator=generator)
        else:
            state[name] = 0.1 * torch.randn(value.shape, generator=generator)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    return path
