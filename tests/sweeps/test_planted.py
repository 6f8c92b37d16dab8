"""Guidance that goes wrong, planted into the digits model."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.diffusion.samplers import Sampler
from diffeval.plan import Settings
from diffeval.runs.records import Results
from diffeval.sweeps.sweep import sweep_scales


def _found(checkpoint: Checkpoint, scales: tuple[float, ...], out: Path, n: int = 400) -> dict[str, float]:
    """Pathologies by name, with the w at which they start."""
    results: Results = sweep_scales(checkpoint, scales, settings=Settings(n=n), out=out)
    rows = results.tables.get("pathologies", ())
    return {str(row["name"]): float(str(row["starts_at"])) for row in rows}


@pytest.fixture(scope="module")
def digits() -> Checkpoint:
    return load("digits")


def test_a_w_of_12_destroys_quality(digits: Checkpoint, tmp_path: Path) -> None:
    assert _found(digits, (1.0, 2.0, 12.0), tmp_path, n=1000) == {"quality-collapse": 12.0}


def test_a_sampler_that_clips_without_minding_its_noise(digits: Checkpoint, tmp_path: Path) -> None:
    clipping = Sampler(
        "declared", "DDIMScheduler", {"clip_sample": True, "timestep_spacing": "trailing"}, {"eta": 0.0}
    )
    planted = dataclasses.replace(digits, sampler=clipping)
    assert _found(planted, (1.0, 2.0, 5.0), tmp_path) == {"quality-collapse": 5.0}


def test_a_null_class_that_was_never_trained(digits: Checkpoint, tmp_path: Path) -> None:
    network = copy.deepcopy(digits.network)
    table = network.class_embedding.weight  # type: ignore[union-attr]
    with torch.no_grad():
        table[digits.null_class] = torch.randn(table.shape[1], generator=torch.Generator().manual_seed(0))  # type: ignore
    assert digits.adapter is not None
    planted = dataclasses.replace(digits, network=network, denoiser=digits.adapter(network))
    assert _found(planted, (1.0, 2.0, 3.0, 5.0), tmp_path) == {"over-saturation": 5.0}
