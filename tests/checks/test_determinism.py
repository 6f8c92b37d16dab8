"""The same seed must make the same image; every way in which it may not is told by its name."""

import dataclasses
from collections.abc import Callable

import diffusers
import pytest
import torch
from torch import nn

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Finding, Subject
from diffeval.checks.determinism import determinism
from diffeval.diffusion import samplers
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.samplers import Sampler
from diffeval.plan import Settings, plan_sampling


def _look(checkpoint: Checkpoint, **settings: object) -> Finding:
    plan = plan_sampling(checkpoint, Settings(n=8, device="cpu", **settings))  # type: ignore[arg-type]
    return determinism(Subject(checkpoint, plan.generator, 8))  # type: ignore[arg-type]


@pytest.fixture
def altered(gaussian: Callable[..., Checkpoint]) -> Callable[..., Checkpoint]:
    """The Gaussian model with something added to what it predicts."""

    def make(added: Callable[[torch.Tensor], torch.Tensor], network: nn.Module | None = None) -> Checkpoint:
        inner: Denoiser = gaussian().denoiser
        return dataclasses.replace(
            gaussian(),
            network=network or nn.Identity(),
            denoiser=lambda x, t, condition: inner(x, t, condition) + added(x),
        )

    return make


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++", "euler"])
def test_healthy_samplers_pass(digits: Checkpoint, sampler: str) -> None:
    finding = _look(digits, sampler=sampler, steps=20)
    assert finding.status == "pass", finding.summary
    assert (finding.values["repeat"], finding.values["other_seed"], finding.values["draws"]) == (0, 0, 0)
    noise = "noise of its own per image" if sampler == "ddpm" else "no noise"
    assert f"sampling draws {noise}" in finding.summary


def test_a_model_without_any_rounding_across_images_is_equal_alone(gaussian: Callable[..., Checkpoint]) -> None:
    assert _look(gaussian()).values["beside"] < 1e-6


def test_a_network_that_draws_is_told(altered: Callable[..., Checkpoint]) -> None:
    finding = _look(altered(lambda x: 0.1 * torch.randn(x.shape)))
    assert finding.status == "fail"
    assert "two equal calls of the network differ by" in finding.summary
    assert "draws from the global generator" in finding.summary
    assert "the network draws random numbers" in finding.fix


def test_dropout_that_was_left_on_is_told_by_its_name(altered: Callable[..., Checkpoint]) -> None:
    network = nn.Sequential(nn.Identity(), nn.Dropout(0.5))
    finding = _look(altered(network.train(), network))
    assert finding.status == "fail"
    assert finding.fix.startswith("1 drops out: call network.eval()")
    assert _look(altered(network.eval(), network)).status == "pass"


def test_a_network_that_keeps_something_is_told(altered: Callable[..., Checkpoint]) -> None:
    calls = []

    def counting(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return 1e-3 * len(calls) * torch.ones_like(x)

    finding = _look(altered(counting))
    assert finding.status == "fail"
    assert "global generator" not in finding.summary
    assert "keeps something between calls" in finding.fix
    assert finding.values["draws"] == 0


def test_differences_of_rounding_between_calls_only_warn(altered: Callable[..., Checkpoint]) -> None:
    calls = []

    def rounding(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return 3e-7 * (len(calls) % 2) * x

    finding = _look(altered(rounding))
    assert finding.status == "warn", finding.summary


@pytest.mark.parametrize(("share", "status"), [(0.5, "fail"), (0.001, "warn"), (1e-6, "pass")])
def test_what_works_across_images_is_told(altered: Callable[..., Checkpoint], share: float, status: str) -> None:
    finding = _look(altered(lambda x: share * x.mean(dim=0, keepdim=True)))
    assert finding.status == status, finding.summary
    if status != "pass":
        assert "an image sampled alone differs by" in finding.summary
        assert "dimension 0" in finding.fix


def test_batch_norm_in_training_mode_is_named(altered: Callable[..., Checkpoint]) -> None:
    network = nn.BatchNorm2d(1, affine=False)
    finding = _look(altered(network.train(), network))
    assert finding.status == "fail"
    assert "see batch-norm" in finding.fix
    network.eval()
    assert _look(altered(network, network)).status == "pass"


class Drawing(diffusers.DDIMScheduler):
    """A DDIM whose steps add noise of the global generator."""

    def step(self, *args: object, **options: object) -> object:
        after = super().step(*args, **options)
        return (after[0] + 0.01 * torch.randn(after[0].shape), *after[1:])


def test_a_sampler_that_draws_is_told(digits: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers, "Drawing", Drawing, raising=False)
    monkeypatch.setattr(samplers, "_DETERMINISTIC", {*samplers._DETERMINISTIC, "Drawing"})
    planted = Sampler("declared", "Drawing", {"timestep_spacing": "trailing"}, {"eta": 0.0})
    finding = _look(dataclasses.replace(digits, sampler=planted, steps=20))
    assert finding.status == "fail"
    assert "under another global seed images differ by" in finding.summary
    assert "sampling draws from the global generator" in finding.summary
    assert finding.values["repeat"] == 0


def test_what_ends_in_nan_equals_nothing(gaussian: Callable[..., Checkpoint]) -> None:
    broken = dataclasses.replace(gaussian(), denoiser=lambda x, t, condition: torch.full_like(x, torch.nan))
    finding = _look(broken)
    assert finding.status == "inconclusive"
    assert not finding.values
