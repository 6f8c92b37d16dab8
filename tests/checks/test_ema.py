"""Averaged weights that are worse than those they average are told, with the reason where the weights show it."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Finding, Subject, look
from diffeval.checks.ema import LEVELS
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.diffusion.guidance import Denoiser
from diffeval.plan import Settings, plan_sampling

# Standard deviation of the Gaussian model's pixels, see conftest.
S = 0.25


def _find(checkpoint: Checkpoint, source: ImageSource, n: int = 16) -> Finding:
    generator = plan_sampling(checkpoint, Settings(n=n, device="cpu")).generator
    return look("ema", Subject(checkpoint, generator, n, source))[1]  # type: ignore[arg-type]


def _pair(used: torch.nn.Module, raw: torch.nn.Module, checkpoint: Checkpoint) -> Checkpoint:
    assert checkpoint.adapter is not None
    return dataclasses.replace(checkpoint, network=used, denoiser=checkpoint.adapter(used), raw=lambda: raw)


def _mixed(one: torch.nn.Module, other: torch.nn.Module, share: float) -> torch.nn.Module:
    """One network with a share of another's weights."""
    mixed = copy.deepcopy(one)
    with torch.no_grad():
        for mine, theirs in zip(mixed.parameters(), other.parameters(), strict=True):
            mine.lerp_(theirs, share)
    return mixed


@pytest.fixture(scope="module")
def initial(digits: Checkpoint) -> torch.nn.Module:
    """The digits model's network as training began."""
    assert isinstance(digits.network, UNet2DModel)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: torch.nn.Module = UNet2DModel.from_config(digits.network.config)
    return network.eval().requires_grad_(False)


def test_the_ratio_is_the_one_worked_out_by_hand(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    """A constant c in the prediction raises its least risk, a^2 s^2 / (a^2 s^2 + sigma^2) over pixels, by c^2."""
    alpha_bar, c = torch.tensor(gaussian().schedule.alpha_bar), 0.2
    # Half of the pixels are black: for white images no network beats a multiple of x.
    shown = torch.arange(8) % 2 == 0
    black = gaussian_images.pixels.read(np.arange(256))
    black[..., ~shown.numpy()] = 128
    source = ImageSource("made-up", "all", InMemory(black))

    class Network(torch.nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.offset, self.other = (torch.nn.Parameter(torch.tensor(one)) for one in (value, 1.0))

    def adapter(network: torch.nn.Module) -> Denoiser:
        def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
            a = alpha_bar[t.long()].reshape(-1, 1, 1, 1)
            return (1 - a).sqrt() * x / (a * S**2 * shown + 1 - a) + network.offset

        return denoise

    held = dataclasses.replace(gaussian(), adapter=adapter)
    finding = _find(_pair(Network(c), Network(0.0), held), source, n=256)
    power = 1 / (1 + np.exp(-np.array(LEVELS)))
    risk = power * S**2 / (power * S**2 + 1 - power) / 2
    assert finding.values["ratio"] == pytest.approx(np.exp(np.mean(np.log((risk + c**2) / risk))), rel=0.05)
    assert finding.values["distance"] == pytest.approx(c)
    assert finding.status == "fail"


def test_weights_that_are_both_good_pass(
    digits: Checkpoint, digit_images: ImageSource, initial: torch.nn.Module
) -> None:
    near = _mixed(digits.network, initial, 0.01)
    finding = _find(_pair(digits.network, near, digits), digit_images)
    assert finding.status == "pass", finding.summary
    assert 0.8 < finding.values["ratio"] < 1.05
    assert finding.values["distance"] > 0


def test_an_average_that_was_never_updated_is_named(
    digits: Checkpoint, digit_images: ImageSource, initial: torch.nn.Module
) -> None:
    finding = _find(_pair(initial, digits.network, digits), digit_images)
    assert finding.status == "fail"
    assert "the average was never updated" in finding.summary
    assert finding.values["travel"] == 0.0
    assert finding.values["ratio_low"] > 5
    assert "--raw" in finding.fix


def test_an_average_that_is_too_slow_is_named(
    digits: Checkpoint, digit_images: ImageSource, initial: torch.nn.Module
) -> None:
    finding = _find(_pair(_mixed(digits.network, initial, 0.8), digits.network, digits), digit_images)
    assert finding.status == "fail"
    assert "their norms have gone 20% of the way of the raw ones: the average is too slow" in finding.summary
    assert finding.values["travel"] == pytest.approx(0.2, abs=1e-5)


def test_raw_weights_that_were_saved_twice_are_a_warning(digits: Checkpoint, digit_images: ImageSource) -> None:
    finding = _find(_pair(digits.network, copy.deepcopy(digits.network), digits), digit_images)
    assert finding.status == "warn"
    assert finding.summary == "averaged and raw weights are the same, number by number"
    assert (finding.values["distance"], finding.values["ratio"]) == (0.0, 1.0)


def test_raw_weights_that_know_nothing_show_nothing(
    digits: Checkpoint, digit_images: ImageSource, initial: torch.nn.Module
) -> None:
    finding = _find(_pair(digits.network, initial, digits), digit_images)
    assert finding.status == "inconclusive"


def test_one_set_of_weights_is_not_applicable(digits: Checkpoint, digit_images: ImageSource) -> None:
    assert _find(dataclasses.replace(digits, raw=None), digit_images).status == "not-applicable"


def test_running_statistics_that_were_left_behind_are_named(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    made = gaussian()
    held = dataclasses.replace(made, adapter=lambda network: made.denoiser)
    new, old = torch.nn.Sequential(torch.nn.BatchNorm2d(1)), torch.nn.Sequential(torch.nn.BatchNorm2d(1))
    old[0].running_mean.fill_(0.3)
    finding = _find(_pair(new, old, held), gaussian_images)
    assert finding.status == "fail"
    assert (
        "1 BatchNorm layers of the averaged weights have the running statistics of a new layer (0)" in finding.summary
    )
