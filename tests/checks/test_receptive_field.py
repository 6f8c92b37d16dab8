"""Fields of networks whose fields are known, exactly; influence of linear ones, by hand."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Subject
from diffeval.checks.probe import Probe
from diffeval.checks.receptive_field import exact_support, influence, receptive_field
from diffeval.data.source import ImageSource
from diffeval.plan import Settings, plan_sampling


def _subject(checkpoint: Checkpoint, source: ImageSource | None = None, n: int = 8) -> Subject:
    plan = plan_sampling(checkpoint, Settings(n=n, device="cpu"))
    return Subject(checkpoint, plan.generator, n, source)  # type: ignore[arg-type]


@pytest.fixture
def of_network(gaussian: Callable[..., Checkpoint]) -> Callable[..., Subject]:
    """Makes a subject of a network of x alone, on images of this side."""

    def make(network: nn.Module, side: int = 8) -> Subject:
        checkpoint = dataclasses.replace(
            gaussian(),
            network=network.eval(),
            denoiser=lambda x, t, condition: network(x),
            shape=(1, side, side),
        )
        return _subject(checkpoint)

    return make


def _convolutions(count: int, **options: int) -> nn.Module:
    random = torch.Generator().manual_seed(0)
    layers = [nn.Conv2d(1, 1, 3, padding=options.get("dilation", 1), **options) for _ in range(count)]  # type: ignore[arg-type]
    for layer in layers:
        layer.weight.data.normal_(generator=random)
    return nn.Sequential(*layers)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("count", "side"), [(1, 8), (2, 8), (4, 28), (6, 28)])
def test_each_convolution_adds_a_pixel_on_either_side(
    of_network: Callable[..., Subject], count: int, side: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        subject = of_network(_convolutions(count), side)
    support = exact_support(subject)
    assert support is not None
    assert (support.reach, support.width, support.everywhere) == (count, 2 * count + 1, False)
    finding = receptive_field(subject)
    healthy = 2 * count + 1 >= side / 2
    assert finding.status == ("pass" if healthy else "fail")
    assert f"an output pixel sees {2 * count + 1} of {side} pixels along an axis (at least {side / 2:g})" in (
        finding.summary
    )


def test_dilated_convolutions_see_further_with_gaps(of_network: Callable[..., Subject]) -> None:
    with torch.random.fork_rng(devices=[]):
        support = exact_support(of_network(_convolutions(2, dilation=4), 28))
    assert support is not None
    assert (support.reach, support.everywhere) == (8, False)


class ToZero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nan_to_num(x)


@pytest.mark.parametrize("swallows_nan", [False, True])
def test_normalisation_over_the_image_sees_it_all(of_network: Callable[..., Subject], swallows_nan: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        layers = [nn.GroupNorm(1, 1), _convolutions(1)]
        subject = of_network(nn.Sequential(ToZero(), *layers) if swallows_nan else nn.Sequential(*layers))
    support = exact_support(subject)
    assert support is not None
    assert support.everywhere
    assert receptive_field(subject).summary.startswith("every output pixel sees the whole image")


def test_a_network_that_swallows_nan_shows_its_field_by_a_large_pixel(of_network: Callable[..., Subject]) -> None:
    with torch.random.fork_rng(devices=[]):
        support = exact_support(of_network(nn.Sequential(ToZero(), _convolutions(2)), 28))
    assert support is not None
    assert support.reach == 2


def test_running_statistics_in_training_are_spared_nan(of_network: Callable[..., Subject]) -> None:
    norm = nn.BatchNorm2d(1)
    subject = of_network(norm)
    norm.train()
    exact_support(subject)
    assert bool(torch.isfinite(norm.get_buffer("running_mean")).all())


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_an_output_that_does_not_move_shows_nothing(gaussian: Callable[..., Checkpoint], value: float) -> None:
    constant = dataclasses.replace(gaussian(), denoiser=lambda x, t, condition: torch.full_like(x, value))
    finding = receptive_field(_subject(constant))
    assert finding.status == "inconclusive"


def test_the_influence_of_a_sum_over_a_window_is_that_of_its_weights(gaussian_images: ImageSource) -> None:
    """Of independent pixels, what lies beyond r moves the sum by the root of the squares of the weights there."""
    weights = torch.tensor([[0.5 ** max(abs(y), abs(x)) for x in range(-3, 4)] for y in range(-3, 4)])

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return nn.functional.conv2d(x, weights.view(1, 1, 7, 7), padding=3)

    x0 = torch.from_numpy(gaussian_images.pixels.read(np.arange(1024))).float() / 127.5 - 1
    found = influence(Probe(denoise, x0, None, torch.device("cpu")), 0.0, 0, (0, 1, 2, 3, 4), pairs=512)
    ring = [0.0, *(8 * k * 0.25**k for k in (1, 2, 3)), 0.0]
    beyond = np.sqrt(np.cumsum(ring[::-1])[::-1])
    expected = [*(beyond[1:] / beyond[1]), 0.0]
    assert found == pytest.approx(expected, abs=0.05)
    assert found[0] == 1
    assert found[3:] == [0, 0]


def test_a_pointwise_model_fails(gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource) -> None:
    finding = receptive_field(_subject(gaussian(), gaussian_images))
    assert finding.status == "fail"
    assert finding.summary.startswith("an output pixel sees 1 of 8 pixels along an axis (at least 4)")
    assert finding.values["field"] == 1
    assert "attention" in finding.fix


def test_the_digits_model_sees_everything(digits: Checkpoint, digit_images: ImageSource) -> None:
    finding = receptive_field(_subject(digits, digit_images, n=8))
    assert finding.status == "pass", finding.summary
    assert finding.values["everywhere"] == 1
    assert finding.values["r95_-3"] > 2
    assert [row["radius"] for row in finding.rows] == [0, 1, 2, 3, 4]


def test_seeing_all_and_using_nothing_of_it_warns(digits: Checkpoint, digit_images: ImageSource) -> None:
    """The digits model shown one pixel in the middle at a time, and a hardly visible average of the others."""
    inner = digits.denoiser

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        own = torch.zeros_like(x)
        own[:, :, 3:6, 3:6] = x[:, :, 3:6, 3:6]
        return inner(own, t, condition) + 1e-4 * x.mean(dim=(2, 3), keepdim=True)

    finding = receptive_field(_subject(dataclasses.replace(digits, denoiser=denoise), digit_images, n=8))
    assert finding.status == "warn", finding.summary
    assert "at log-SNR -3 what lies further than 1 pixels counts for less than 5%" in finding.summary
