"""Our loop's float pixels, for comparison with other people's code; and a tiny pipeline's folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny_pipelines import make

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.plan import Settings, plan_sampling


def _floats(checkpoint: Checkpoint, n: int = 4, **settings: object) -> torch.Tensor:
    """x_0 [n, C, H, W] as it is before it becomes uint8, in [-1, 1]."""
    plan = plan_sampling(checkpoint, Settings(n=n, device="cpu", **settings))  # type: ignore[arg-type]
    kept: list[torch.Tensor] = []

    def keep(x: torch.Tensor, indices: range) -> npt.NDArray[np.uint8]:
        kept.append(x.clone())
        return np.zeros(1, np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(plan.generator), "to_uint8", staticmethod(keep))
        plan.generator.images(range(n))
    return kept[0]


@pytest.fixture
def floats() -> Callable[..., torch.Tensor]:
    """See ``_floats``."""
    return _floats


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny StableDiffusionPipeline as its folder."""
    folder = tmp_path_factory.mktemp("sd") / "pipeline"
    make("sd", folder)
    return folder
