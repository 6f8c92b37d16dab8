"""The batch is found by measuring, where the work ahead is long enough, and is remembered."""

from pathlib import Path

import pytest
import torch

import diffeval.speed as speed
from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.diffusion.sampling import Generator
from diffeval.plan import Settings, plan_sampling
from diffeval.speed import best_batch, measured_batch, recalled, remember


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Generator, Checkpoint]:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    checkpoint = load("digits")
    generator = plan_sampling(checkpoint, Settings(n=8, device="cpu", steps=2)).generator
    assert isinstance(generator, Generator)
    return generator, checkpoint


@pytest.mark.parametrize(
    ("each", "wanted"),
    [
        ({32: 1.0, 64: 1.0, 128: 1.0, 256: 1.0}, 32),  # images of equal cost: the smallest
        ({32: 1.0, 64: 0.8, 128: 0.5, 256: 0.51}, 128),
        ({32: 1.0, 64: 0.9, 128: 0.5, 256: 0.49}, 128),  # 2% is nothing
        ({32: 0.6, 64: 0.7, 128: 0.9, 256: 1.0}, 32),  # beyond the caches
    ],
)
def test_the_smallest_batch_that_is_as_good_as_the_best(each: dict[int, float], wanted: int) -> None:
    assert best_batch(lambda batch: each[batch] * batch, 32, 256) == wanted


def test_a_batch_without_room_ends_the_search() -> None:
    assert best_batch(lambda batch: 1.0 if batch <= 64 else None, 32, 1024) == 64
    assert best_batch(lambda batch: None, 32, 1024) == 32


def test_small_runs_are_not_measured(digits: tuple[Generator, Checkpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "call_seconds", lambda *_, **__: pytest.fail("it was timed"))
    assert measured_batch(*digits, 10_000, 32, 256) == 256


def test_the_batch_of_long_runs_is_measured_once(
    digits: tuple[Generator, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def seconds(generator: Generator, batch: int) -> float:
        asked.append(batch)
        if batch > 128:
            raise torch.OutOfMemoryError("no room")
        return {32: 1.0, 64: 1.1, 128: 2.2}[batch]

    monkeypatch.setattr(speed, "call_seconds", seconds)
    assert measured_batch(*digits, 10**6, 32, 256) == 64
    assert measured_batch(*digits, 10**6, 32, 256) == 64
    assert asked == [32, 64, 128, 256]


def test_what_is_damaged_in_the_cache_is_measured_again(digits: tuple[Generator, Checkpoint]) -> None:
    remember("batch", *digits, 8, {"batch": 64})
    assert recalled("batch", *digits, 8) == {"batch": 64.0}
    place = speed._place("batch", *digits, 8)
    for text in ("", "[1]", '{"batch": "many"}', '{"batch": 0}', '{"batch": NaN}'):
        place.write_text(text)
        assert recalled("batch", *digits, 8) is None
