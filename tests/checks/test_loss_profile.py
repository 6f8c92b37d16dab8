"""The Wiener floor is that of its formula; an exact denoiser stands on it, and a worse one is told at its levels."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks import loss_profile as module
from diffeval.checks.check import Finding, Subject
from diffeval.checks.loss_profile import Level, _mend, levels_of, loss_profile
from diffeval.checks.probe import SEED, Probe
from diffeval.checks.slopes import gradient_norms, slopes_in_time, times_of
from diffeval.checks.wiener import affine_risk, moments_of
from diffeval.data.source import ImageSource
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.schedule import named_schedule
from diffeval.plan import Settings, plan_sampling

S = 0.25  # of the Gaussian model, see conftest


class Kept:
    """What a scan has read, for another subject of the same network."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    def arrays(self, name: str) -> dict[str, Any] | None:
        return self.held.get(name)

    def save_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        self.held[name] = dict(arrays)


def _subject(checkpoint: Checkpoint, source: ImageSource, n: int = 16, kept: Kept | None = None) -> Subject:
    plan = plan_sampling(checkpoint, Settings(n=n, device="cpu"))
    return Subject(checkpoint, plan.generator, n, source, memory=kept)  # type: ignore[arg-type]


def _cleared(subject: Subject, monkeypatch: pytest.MonkeyPatch, guilty: str = "") -> Subject:
    """With other checks that find what they are told to."""
    found: Callable[[str], Finding] = lambda name: Finding("fail" if name == guilty else "pass", "")  # noqa: E731
    monkeypatch.setattr(subject, "found", found)
    return subject


def _images(n: int, seed: int, deviations: np.ndarray) -> torch.Tensor:  # type: ignore[type-arg]
    random = np.random.Generator(np.random.Philox(seed))
    return torch.from_numpy(0.3 + random.standard_normal((n, deviations.size)) * deviations).view(n, 1, 2, -1)


@pytest.mark.parametrize("level", [-2.0, 0.0, 3.0])
def test_the_floor_of_normal_images_is_its_closed_form(level: float) -> None:
    """Mean over the eigenvalues w of the covariance of alpha^2 w / (alpha^2 w + sigma^2)."""
    deviations = np.array([0.1, 0.5, 1.0, 2.0])
    probe = Probe(lambda x, t, c: x, _images(4000, 1, deviations), None, torch.device("cpu"))
    found = affine_risk(moments_of(_images(20_000, 2, deviations)), probe, level)
    signal = deviations**2 / (1 + np.exp(-level))
    assert found.mean() == pytest.approx((signal / (signal + 1 / (1 + np.exp(level)))).mean(), rel=0.04)


@pytest.mark.parametrize("n", [12, 30, 400])
def test_it_is_that_of_the_covariance_in_full_shrunk_or_not(n: int) -> None:
    """Worked out with dense matrices, for fewer images than dimensions, for few, and for enough."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    deviations = np.linspace(0.1, 1.0, 20)
    images, level = _images(n, 3, deviations), 1.0
    x = images.flatten(1).numpy()
    covariance = np.cov(x, rowvar=False)
    share = ledoit_wolf_shrinkage(x) if n < 100 else 0.0
    assert (share > 0) == (n < 100)
    covariance = (1 - share) * covariance + share * np.trace(covariance) / 20 * np.eye(20)
    probe = Probe(lambda x, t, c: x, _images(8, 4, deviations), None, torch.device("cpu"))
    noise = initial_noise(SEED, range(8), (1, 2, 10)).flatten(1).double().numpy()
    noised = probe.noised(level, torch.from_numpy(noise).view(8, 1, 2, 10).float()).flatten(1).double().numpy()
    alpha, sigma = np.sqrt(1 / (1 + np.exp(-level))), np.sqrt(1 / (1 + np.exp(level)))
    gain = sigma * np.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(20))
    expected = (((noised - alpha * x.mean(axis=0)) @ gain - noise) ** 2).mean(axis=1)
    assert affine_risk(moments_of(images), probe, level) == pytest.approx(expected, rel=1e-4)


def test_the_best_affine_denoiser_is_no_better_than_linear(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = loss_profile(_cleared(_subject(gaussian(), gaussian_images, 128), monkeypatch))
    assert finding.status == "warn", finding.summary
    assert finding.summary.startswith("no better than linear")
    for row in finding.rows:
        assert float(row["risk"]) == pytest.approx(float(row["floor"]), rel=0.05)  # type: ignore[arg-type]
    assert finding.values["worst_excess"] < 0.01
    assert "gradient_ratio" not in finding.values, "no copy of it can be called"


def test_levels_that_were_not_learnt_are_named(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact denoiser, but for nothing predicted of images with little noise, whatever it is told: a risk of 1."""
    inner = gaussian().denoiser

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        # The spread of x is 0.32 at log-SNR 3, and 0.42 at 2.
        return torch.where(x.std(dim=(1, 2, 3), keepdim=True) < 0.36, 0.0, inner(x, t, condition))

    planted = dataclasses.replace(gaussian(), denoiser=denoise)
    finding = loss_profile(_cleared(_subject(planted, gaussian_images, 128), monkeypatch))
    assert finding.status == "fail", finding.summary
    told = [float(level) for level in finding.summary.split("log-SNR ")[1].split(":")[0].split(", ")]
    for row in finding.rows:
        level = float(str(row["log_snr"]))
        signal, noise = S**2 / (1 + np.exp(-level)), 1 / (1 + np.exp(level))
        floor = signal / (signal + noise)
        assert float(str(row["floor"])) == pytest.approx(floor, rel=0.05)
        assert float(str(row["risk"])) == pytest.approx(1 if level > 2.5 else floor, rel=0.1)
    # At 5 the floor is 0.90, just where it begins to count; above, nobody does much better than nothing.
    assert set(told) - {5.0} == {4.0, 3.0}
    assert finding.values["worst_ratio"] == pytest.approx(1 / 0.556, rel=0.1)
    assert "receptive-field passes" in finding.ruled_out


def _level(log_snr: float, ratio: float) -> Level:
    return Level(log_snr, 0.0, np.array([ratio, ratio]), np.ones(2), 1.0)


def test_the_remedy_is_for_early_timesteps_where_only_little_noise_is_bad() -> None:
    early = [_level(5.0, 1.3), _level(4.0, 1.2), _level(0.0, 0.6)]
    assert _mend(early[:2], early).startswith("the timesteps of log-SNR 4 and above were hardly trained")
    between = [_level(5.0, 0.9), _level(4.0, 1.2), _level(0.0, 0.6)]
    assert _mend(between[1:2], between).startswith("train longer")


@pytest.mark.parametrize(("telling", "status"), [(0.55, "fail"), (0.85, "warn"), (1.01, "fail")])
def test_bad_levels_of_a_network_early_in_its_training_only_warn(
    gaussian: Callable[..., Checkpoint],
    gaussian_images: ImageSource,
    monkeypatch: pytest.MonkeyPatch,
    telling: float,
    status: str,
) -> None:
    levels = [_level(8.0, 1.3), *(_level(level, telling) for level in (2.0, 1.0, 0.0, -1.0))]
    monkeypatch.setattr(module, "levels_of", lambda *_: levels)
    finding = loss_profile(_cleared(_subject(gaussian(), gaussian_images, 2), monkeypatch))
    assert finding.status == status, finding.summary
    assert finding.summary.startswith("worse than the best affine denoiser at log-SNR 8: 1.30 times its risk at 8")
    assert ("early in its training" in finding.fix) == (status == "warn")


@pytest.mark.parametrize("guilty", ["batch-norm", "receptive-field"])
def test_where_another_check_knows_the_cause_it_is_named(
    gaussian: Callable[..., Checkpoint],
    gaussian_images: ImageSource,
    monkeypatch: pytest.MonkeyPatch,
    guilty: str,
) -> None:
    inner = gaussian().denoiser
    bad = dataclasses.replace(gaussian(), denoiser=lambda x, t, c: inner(x, t, c) + 0.5)
    finding = loss_profile(_cleared(_subject(bad, gaussian_images), monkeypatch, guilty))
    assert finding.status == "warn"
    assert finding.summary.startswith("worse than the best affine denoiser at log-SNR")
    assert finding.summary.endswith(f", which {guilty} explains")
    assert finding.fix == f"see {guilty}"


def test_the_digits_model_lies_below_the_floor_and_its_declarations_do_not_matter(
    digits: Checkpoint, digit_images: ImageSource
) -> None:
    kept = Kept()
    finding = loss_profile(_subject(digits, digit_images, kept=kept))
    assert finding.status == "pass", finding.summary
    assert finding.values["telling_ratio"] < 0.7
    assert all(float(row["risk"]) < float(row["floor"]) for row in finding.rows if float(row["log_snr"]) > -4)  # type: ignore[arg-type]
    assert finding.values["gradient_ratio"] < 100
    assert all(parameter.grad is None for parameter in digits.network.parameters()), "a copy was differentiated"
    mislabelled = loss_profile(_subject(dataclasses.replace(digits, prediction="sample"), digit_images, kept=kept))
    assert mislabelled.status == "pass"
    assert mislabelled.values["worst_ratio"] == pytest.approx(finding.values["worst_ratio"], rel=1e-3)


def test_levels_that_the_schedule_does_not_reach_are_left_out(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    subject = _subject(gaussian(named_schedule("linear", 200)), gaussian_images)
    assert subject.images is not None
    levels = levels_of(subject.scan, subject.probe(), moments_of(subject.images.x0))
    assert [one.log_snr for one in levels] == [8.0, 6.5, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0]


class Linear(nn.Module):
    """w times x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5), requires_grad=False)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.w * x
        return out


def test_gradient_norms_are_those_of_a_network_of_one_weight(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    """Of the mean of (w x - v)^2 with v = alpha eps - sigma x_0: twice the mean of (w x - v) x."""
    network = Linear()
    adapter: Callable[[nn.Module], Any] = lambda one: lambda x, t, condition: one(x, t)  # noqa: E731
    checkpoint = dataclasses.replace(gaussian(), network=network, denoiser=adapter(network), adapter=adapter)
    subject = _subject(checkpoint, gaussian_images)
    assert subject.scan.type == "v_prediction"
    found = gradient_norms(subject)
    assert found is not None
    noise = initial_noise(SEED, range(16), (1, 8, 8))
    assert len(times_of(subject)) == len(found) == 16
    for t, norm in zip(times_of(subject), found, strict=True):
        x0, alpha_bar = subject.probe().x0, float(checkpoint.schedule.alpha_bar[t])
        x = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise
        velocity = alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * x0
        assert norm == pytest.approx(float(2 * ((0.5 * x - velocity) * x).mean().abs()), rel=1e-3)
    assert network.w.grad is None
    assert slopes_in_time(subject) == pytest.approx(np.zeros(16)), "it does not look at the time"


def test_slopes_in_time_are_per_nat(gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource) -> None:
    """An output of exp(lambda(t)) changes by a share of exp(d) - 1 over d nats: towards 1 where steps are small."""
    curve = torch.tensor(named_schedule("linear").log_snr)
    checkpoint = dataclasses.replace(
        gaussian(), denoiser=lambda x, t, c: torch.ones_like(x) * curve[t.long()].exp().float().view(-1, 1, 1, 1)
    )
    found = slopes_in_time(_subject(checkpoint, gaussian_images))
    assert found[1:] == pytest.approx(np.ones(15), rel=0.02)
    first = float(curve[0] - curve[1])
    assert found[0] == pytest.approx((1 - np.exp(-first)) / first, rel=1e-3)
