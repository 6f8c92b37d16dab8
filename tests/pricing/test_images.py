"""What sampling is said to take, from seconds that are made up: a function of counts alone."""

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.compiling import FIRST_SECONDS, Costs
from diffeval.diffusion.sampling import Generator
from diffeval.plan import SamplingPlan, Settings, plan_images
from diffeval.pricing import images
from diffeval.pricing.images import Part, Walk, crowding, image_prices, own_images, timed_walk
from diffeval.pricing.stage import Price
from diffeval.ranks import Share

SETTINGS = Settings(n=100, device="cpu", batch=50, steps=10)
# Powers of two add exactly: seconds of the first step, of each other, and of turning a batch into pixels.
FIRST, EACH, PIXELS = 0.5, 0.25, 0.125


@pytest.fixture
def plan(digits: Checkpoint) -> Callable[..., SamplingPlan]:
    return lambda **changes: plan_images(digits, dataclasses.replace(SETTINGS, **changes))


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[Generator]:
    """Every walk takes the seconds above, those with guidance twice as long; the samplers that were followed."""
    followed: list[Generator] = []

    def walk(generator: Generator, batch: int) -> Walk:
        followed.append(generator)
        return Walk(FIRST * generator.branches, EACH * generator.branches)

    monkeypatch.setattr(images, "timed_walk", walk)
    monkeypatch.setattr(images, "_decoding", lambda plan: PIXELS)
    return followed


def _priced(digits: Checkpoint, parts: Sequence[Part], settings: Settings = SETTINGS) -> dict[str, Price]:
    return {one.stage: one for one in image_prices(digits, parts, settings)}


@pytest.mark.usefixtures("walked")
def test_sampling_is_steps_times_batches(digits: Checkpoint, plan: Callable[..., SamplingPlan]) -> None:
    of_a_batch = FIRST + 9 * EACH + PIXELS
    assert _priced(digits, [Part(plan(), 100)])["sampling"].seconds == 2 * of_a_batch
    # 101 images take a third batch, as batches are always whole.
    assert _priced(digits, [Part(plan(), 101)])["sampling"].seconds == 3 * of_a_batch
    more = _priced(digits, [Part(plan(steps=20), 100)])["sampling"]
    assert more.seconds == 2 * (of_a_batch + 10 * EACH)
    assert more.about.startswith("100 images in batches of 50")


def test_points_of_a_sweep_that_take_the_same_steps_are_followed_once(
    digits: Checkpoint, plan: Callable[..., SamplingPlan], walked: list[Generator]
) -> None:
    parts = [Part(plan(w=w), 50) for w in (0.0, 1.0, 2.0, 3.0)]
    found = _priced(digits, parts)["sampling"]
    assert [one.branches for one in walked] == [1, 2]
    assert found.seconds == (2 + 2 * 2) * (FIRST + 9 * EACH) + 4 * PIXELS
    assert found.about.startswith("200 images")


def test_outside_its_interval_guidance_is_priced_as_one_branch(
    digits: Checkpoint, plan: Callable[..., SamplingPlan], walked: list[Generator]
) -> None:
    part = Part(plan(w=3.0, interval=(0.5, 3.0)), 50)
    assert isinstance(part.plan.generator, Generator)
    guided = part.plan.generator.guided_calls
    assert 0 < guided < 10
    one = FIRST + 9 * EACH
    expected = (2 * one * guided + one * (10 - guided)) / 10 + PIXELS
    assert _priced(digits, [part])["sampling"].seconds == pytest.approx(expected)
    assert [(seen.interval, seen.branches) for seen in walked] == [(None, 2), (None, 1)]


def test_images_that_are_there_cost_nothing(digits: Checkpoint, plan: Callable[..., SamplingPlan]) -> None:
    assert image_prices(digits, [Part(plan(), 0)], SETTINGS) == []


@pytest.mark.usefixtures("walked")
def test_compiling_is_a_stage_and_makes_calls_faster(
    digits: Checkpoint, plan: Callable[..., SamplingPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    on = dataclasses.replace(SETTINGS, compile="on")
    before = _priced(digits, [Part(plan(), 100)])
    assert "compiling" not in before
    guessed = _priced(digits, [Part(plan(), 100)], on)
    assert guessed["compiling"].seconds == FIRST_SECONDS
    assert "a guess" in guessed["compiling"].about
    assert guessed["sampling"].seconds == before["sampling"].seconds
    monkeypatch.setattr(images, "known_costs", lambda *_: Costs(plain=0.25, compiled=0.125, warm_up=90.0, again=40.0))
    known = _priced(digits, [Part(plan(), 100)], on)
    assert known["compiling"].seconds == 40.0
    assert known["sampling"].seconds == before["sampling"].seconds - 2 * 10 * 0.125
    # A run that was begun uncompiled goes on so.
    assert "compiling" not in _priced(digits, [Part(plan(), 100, compiled=False)], on)


def test_a_rank_makes_its_chunks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [(0, 0), (256, 100), (512, 0), (768, 0)]
    assert own_images(missing, 900, 256) == 256 + 156 + 256 + 132
    monkeypatch.setattr(images, "world", lambda: 3)
    assert own_images(missing, 900, 256) == 256 + 132, "the first rank has the first and the fourth"
    assert own_images(Share(1, 2).of(missing), 900, 256) == 156, "a shard's chunks are dealt out in turn"


@pytest.mark.usefixtures("walked")
def test_ranks_that_share_cores_slow_each_other_down(
    digits: Checkpoint, plan: Callable[..., SamplingPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(plan(), 100)
    alone = _priced(digits, [part])["sampling"]
    monkeypatch.setattr(images.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(images.torch, "get_num_threads", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("RANK", "0")
    assert crowding(part.plan.generator.device) == 3.0
    found = _priced(digits, [part])["sampling"]
    assert found.seconds == 3 * alone.seconds
    assert "by each of 6 ranks" in found.about
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert crowding(part.plan.generator.device) == 1.0


def test_a_walk_that_is_too_long_is_followed_in_part(
    digits: Checkpoint, plan: Callable[..., SamplingPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is timed, without the clock: the whole batch, or as many steps as there is time for."""
    sizes: list[int] = []

    def counting(x, t, condition):  # type: ignore[no-untyped-def]
        sizes.append(len(x))
        return digits.denoiser(x, t, condition)

    generator = plan_images(dataclasses.replace(digits, denoiser=counting), SETTINGS).generator
    assert isinstance(generator, Generator)
    found = timed_walk(generator, 50)
    assert sizes == [50] * (images.WARM + 10)
    assert min(found.first, found.each) > 0
    sizes.clear()
    monkeypatch.setattr(images, "LONGEST", 0.0)
    timed_walk(generator, 50)
    assert sizes == [50] * (images.WARM + 1)
