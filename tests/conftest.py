"""Fixtures that several tests share. Caches and run directories go to temporary folders."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diffeval.data.source import open_source
from diffeval.training.recipe import Recipe
from diffeval.training.train import train


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _global_random_state_untouched() -> Iterator[None]:
    """No code of ours may draw from, or seed, torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state()), "the global random state was used"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-conditional network after four steps: it draws noise, quickly."""
    out = tmp_path_factory.mktemp("tiny") / "tiny"
    train(open_source("digits"), Recipe(steps=4, batch=16, warmup=1), out, device="cpu")
    return out


@pytest.fixture(scope="session")
def unconditional_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without classes, v-prediction and zero terminal SNR."""
    out = tmp_path_factory.mktemp("plain") / "plain"
    recipe = Recipe(steps=2, batch=8, warmup=1, conditional=False, prediction="v_prediction", zero_snr=True)
    train(open_source("digits"), recipe, out, device="cpu")
    return out
