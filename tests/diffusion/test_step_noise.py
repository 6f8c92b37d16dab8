"""Noise for many steps at once is that of one step after the other, and no step waits for a device."""

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffeval.diffusion import noise as noise_of
from diffeval.diffusion.noise import StepNoise, step_generators
from diffeval.diffusion.samplers import SAMPLERS, build_scheduler, named_sampler
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import named_schedule

CPU = torch.device("cpu")


def _one_by_one(steps: int, shape: tuple[int, ...], indices: range) -> torch.Tensor:
    """As diffusers draws with a list of generators: one image after the other, step by step."""
    generators = step_generators(5, indices)
    return torch.stack(
        [torch.cat([torch.randn((1, *shape), generator=one) for one in generators]) for _ in range(steps)]
    )


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 4), (4, 2, 2), (3, 5, 5), (1, 3, 3), (1, 2, 2)], ids=str)
@pytest.mark.parametrize("held", [1 << 24, 400, 1])
def test_blocks_are_bit_equal_to_single_draws(
    shape: tuple[int, ...], held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_of, "_BLOCK_VALUES", held)
    source = StepNoise(step_generators(5, range(3, 6)), shape, 7, CPU)
    found = torch.stack([source.draw() for _ in range(7)])
    assert torch.equal(found, _one_by_one(7, shape, range(3, 6)))


def _generator(name: str, device: torch.device = CPU, **options: Any) -> Generator:
    schedule = named_schedule("squaredcos_cap_v2", 100)
    return Generator(
        denoiser=lambda x, t, condition: 0.3 * x, shape=(1, 4, 4), schedule=schedule, prediction="epsilon",
        sampler=named_sampler(name, schedule, "epsilon", **options), steps=10, w=None, classes=0, null_class=None,
        seed=2, device=device, dtype="fp32", decode=lambda x: x,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "options"), [("ddpm", {}), ("ddim", {"eta": 0.7})])
def test_samples_are_those_of_one_generator_per_image(name: str, options: dict[str, float]) -> None:
    """The reference takes diffusers' own steps, told a list of generators."""
    ours = _generator(name, **options)
    x = noise_of.initial_noise(2, range(5), ours.shape)
    scheduler = build_scheduler(ours.sampler, ours.schedule, "epsilon", ours.steps)
    given = {**ours.sampler.step_options, "generator": step_generators(2, range(5))}
    for t in scheduler.timesteps:
        x = scheduler.step(0.3 * x, t, x, **given, return_dict=False)[0]
    assert torch.equal(ours.latents(range(5)), x)


def test_other_draws_are_left_alone() -> None:
    source = StepNoise(step_generators(0, range(2)), (1, 4, 4), 3, CPU)
    with source:
        other = torch.randn(3, generator=torch.Generator().manual_seed(1))
        own = torch.randn((2, 1, 4, 4), generator=source.generator)
    assert torch.equal(other, torch.randn(3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(
        own, torch.cat([torch.randn((1, 1, 4, 4), generator=one) for one in step_generators(0, range(2))])
    )


class _Copies(TorchDispatchMode):
    """Counts copies from the CPU to a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and args and isinstance(args[0], torch.Tensor):
            self.count += "to" in func.__name__ and args[0].device != made.device
        return made


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_step_waits_for_the_device(name: str) -> None:
    """Tensors on ``meta`` hold nothing, so that looking at one is an error; unipc alone copies what it solves for."""
    generator = _generator(name, torch.device("meta"))
    counts = []
    for steps in (10, 20):
        with _Copies() as copies:
            last = dataclasses.replace(generator, steps=steps).latents(range(2))
        assert last.device.type == "meta"
        counts.append(copies.count)
    assert counts[0] >= 2, "noise and timesteps are brought there"
    assert counts[0] == counts[1] or name == "unipc", counts


def test_guidance_outside_its_interval_is_one_branch() -> None:
    calls = []

    def denoiser(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        calls.append(len(x))
        return 0.1 * x

    generator = dataclasses.replace(
        _generator("ddim"), denoiser=denoiser, w=3.0, classes=2, null_class=2, interval=(0.3, 5.0)
    )
    generator.latents(range(3))
    sigma = [
        ((1 - a) / a) ** 0.5 for a in generator.schedule.alpha_bar[[int(step.t) for step in generator.walk(range(1))]]
    ]
    calls = calls[: generator.steps]
    assert calls == [6 if 0.3 < one <= 5.0 else 3 for one in sigma]
    assert {3, 6} == set(calls)
