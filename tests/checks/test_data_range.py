"""The range that a network was trained on is found, where it can be known, with the risk worked out by hand."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import CheckResult, Finding, Subject, look
from diffeval.checks.data_range import LEVELS
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.schedule import named_schedule
from diffeval.plan import Settings, plan_sampling

# What is declared, and standard deviations of pixels in it; they differ, as a white image has no scale that could be
# known.
RANGE = (-3.0, 3.0)
DEVIATIONS = np.array([1.0, 0.05])
SPREAD = torch.tensor(DEVIATIONS).float().repeat(32).view(1, 8, 8)


def _look(checkpoint: Checkpoint, source: ImageSource, n: int = 48) -> tuple[CheckResult, Finding]:
    generator = plan_sampling(checkpoint, Settings(n=n, device="cpu")).generator
    return look("data-range", Subject(checkpoint, generator, n, source))  # type: ignore[arg-type]


def _images(spread: torch.Tensor, n: int = 64) -> ImageSource:
    x = spread.numpy() * np.random.Generator(np.random.Philox(0)).standard_normal((n, *spread.shape))
    return ImageSource("made-up", "all", InMemory(np.clip(np.round((x + 3) / 6 * 255), 0, 255).astype(np.uint8)))


def _trained_on(scale: float, offset: float, spread: torch.Tensor = SPREAD) -> Denoiser:
    """The best noise prediction for images a u + b, u ~ N(0, spread^2)."""
    alpha_bar = torch.tensor(named_schedule("linear").alpha_bar)

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        a = alpha_bar[t.long()].reshape(-1, 1, 1, 1)
        return (1 - a).sqrt() * (x - a.sqrt() * offset) / (a * (scale * spread) ** 2 + 1 - a)

    return denoise


def _risk(scale: float, trained: float, level: float) -> float:
    """Least mean squared error over timesteps and types, shown a u, of the network that was trained on b u."""
    level -= 2 * np.log(scale)
    alpha, sigma = np.sqrt(1 / (1 + np.exp(-level))), np.sqrt(1 / (1 + np.exp(level)))
    s, a = DEVIATIONS, named_schedule("linear").alpha_bar.astype(np.float64)[:, None]
    gain = np.sqrt(1 - a) / (a * (trained * s) ** 2 + 1 - a)
    gains = (gain, (1 - alpha * gain) / sigma, alpha * gain + sigma)
    risks = [((one * alpha * scale * s) ** 2 + (1 - one * sigma) ** 2).mean(axis=1).min() for one in gains]
    return float(min(risks))


@pytest.mark.parametrize("trained", [1.0, 1 / 3])
def test_the_risks_are_those_worked_out_by_hand(gaussian: Callable[..., Checkpoint], trained: float) -> None:
    checkpoint = dataclasses.replace(gaussian(), denoiser=_trained_on(trained, 0.0), value_range=RANGE)
    result, finding = _look(checkpoint, _images(SPREAD))
    shown = {"declared": 1.0, "images in -1 to 1": 1 / 3}
    for row in finding.rows:
        if (scale := shown.get(str(row["map"]))) is not None:
            for level in LEVELS:
                assert row[f"log_snr {level:g}"] == pytest.approx(_risk(scale, trained, level), rel=0.06)
    expected = np.exp(
        np.mean([np.log(_risk(1.0, trained, level) / _risk(trained, trained, level)) for level in LEVELS])
    )
    assert result.values["fit_ratio"] == pytest.approx(expected, rel=0.05)
    width = result.values["expects_high"] - result.values["expects_low"]
    assert width == pytest.approx(6 * trained, rel=0.1)
    assert result.status == ("pass" if trained == 1.0 else "fail"), result.summary


@pytest.mark.parametrize(
    ("scale", "offset", "name", "flag"),
    [
        (1 / 3, 0.0, "images in -1 to 1", "--value-range=-1,1"),
        (1 / 6, 0.5, "images in 0 to 1", "--value-range=0,1"),
    ],
)
def test_a_range_that_is_not_the_declared_one_is_named(
    gaussian: Callable[..., Checkpoint], scale: float, offset: float, name: str, flag: str
) -> None:
    checkpoint = dataclasses.replace(gaussian(), denoiser=_trained_on(scale, offset), value_range=RANGE)
    result, _ = _look(checkpoint, _images(SPREAD))
    assert result.status == "fail"
    assert result.summary.startswith(f"the weights expect {name}")
    assert "-3 to 3 is declared" in result.summary
    assert flag in result.fix
    assert result.values["expects_low"] == pytest.approx(offset - 3 * scale, abs=0.1)
    assert result.values["expects_high"] == pytest.approx(offset + 3 * scale, abs=0.1)


def test_a_range_that_is_declared_passes(gaussian: Callable[..., Checkpoint]) -> None:
    checkpoint = dataclasses.replace(gaussian(), denoiser=_trained_on(0.5, 1.5, SPREAD), value_range=(0.0, 3.0))
    result, _ = _look(checkpoint, _images(SPREAD))
    assert result.status == "pass", result.summary
    assert "0 to 3 is declared" in result.summary


def test_channels_in_reverse_order_are_named(gaussian: Callable[..., Checkpoint]) -> None:
    spread = torch.tensor([0.05, 0.2, 1.0]).view(3, 1, 1).expand(3, 8, 8)
    healthy = dataclasses.replace(
        gaussian(), shape=(3, 8, 8), denoiser=_trained_on(1.0, 0.0, spread), value_range=RANGE
    )
    assert _look(healthy, _images(spread))[0].status == "pass"
    reversed_ = dataclasses.replace(healthy, denoiser=_trained_on(1.0, 0.0, spread.flip(0)))
    result, _ = _look(reversed_, _images(spread))
    assert result.status == "fail"
    assert "channels in reverse order (BGR for RGB)" in result.summary


def test_the_digits_model_expects_what_it_declares(digits: Checkpoint, digit_images: ImageSource) -> None:
    result, _ = _look(digits, digit_images, n=16)
    assert result.status == "pass", result.summary
    assert result.values["ratio_high"] < 0.6
    assert (result.values["expects_low"], result.values["expects_high"]) == pytest.approx((-1, 1), abs=0.05)


@pytest.mark.parametrize(
    ("scale", "name"),
    [(0.5, "images in -0.5 to 0.5"), (0.3, "images in about -0."), (2.0, "images in -2 to 2")],
)
def test_a_network_that_was_trained_on_another_range_is_told(
    digits: Checkpoint, digit_images: ImageSource, scale: float, name: str
) -> None:
    """What the digits model would be, had it seen images of another contrast: it is shown them at their own."""
    alpha_bar, log_snr = torch.tensor(digits.schedule.alpha_bar), torch.tensor(digits.schedule.log_snr)

    def stretched(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        t = t.long()
        same = (log_snr[None] - (log_snr[t] + 2 * np.log(scale))[:, None]).abs().argmin(dim=1)
        size = (alpha_bar[t] * scale**2 + 1 - alpha_bar[t]).sqrt().view(-1, 1, 1, 1)
        return digits.denoiser(x / size, same, condition)

    result, _ = _look(dataclasses.replace(digits, denoiser=stretched), digit_images, n=16)
    assert result.status == "fail"
    assert result.summary.startswith(f"the weights expect {name}")
    assert "-1 to 1 is declared" in result.summary
    assert result.values["ratio_low"] > 1.3
    assert (result.values["expects_low"], result.values["expects_high"]) == pytest.approx(
        (-scale, scale), abs=0.1 * max(scale, 1)
    )


def test_a_wrong_noise_schedule_or_type_is_not_blamed(digits: Checkpoint, digit_images: ImageSource) -> None:
    other = dataclasses.replace(digits, schedule=named_schedule("linear"), prediction="v_prediction")
    result, _ = _look(other, digit_images, n=16)
    assert result.status == "pass", result.summary


def test_a_network_that_knows_nothing_shows_nothing(digits: Checkpoint, digit_images: ImageSource) -> None:
    deaf = dataclasses.replace(digits, denoiser=lambda x, t, condition: torch.zeros_like(x))
    assert _look(deaf, digit_images, n=16)[0].status == "inconclusive"
