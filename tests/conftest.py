"""Fixtures that several tests share. Caches and run directories go to temporary folders."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diffeval.data.source import open_source
from diffeval.demo.sizes import NAMED, Sizes
from diffeval.demo.story import STAGES, Demo, tell
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


@pytest.fixture(scope="session")
def tiny_demo() -> Sizes:
    """The demo's story at sizes of a test."""
    return Sizes(256, (200, 256), 256, (1.0, 4.0), 200, NAMED, 4, (1.0,) * len(STAGES))


@pytest.fixture(scope="session")
def told(tiny_demo: Sizes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, list[tuple[str, str]]]:
    """That demo, told once, in ``runs/demo`` of a folder; and every line of it, with the page as it was then."""
    page, heard = tmp_path_factory.mktemp("demo") / "runs" / "demo.html", list[tuple[str, str]]()

    def say(text: str) -> None:
        heard.append((text, page.read_text(encoding="utf-8") if page.exists() else ""))

    return tell(tiny_demo, page.with_suffix(""), page, say=say), heard
