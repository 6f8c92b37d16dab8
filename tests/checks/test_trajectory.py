"""The way from noise to image: its moments on a model that is known, and faults that they tell."""

import dataclasses
from collections.abc import Callable

import diffusers
import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Finding, Subject, look
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.diffusion import samplers
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import from_alpha_bar, named_schedule
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_sampling
from diffeval.runs.records import CheckResult

S = 0.25  # of the Gaussian model, see conftest
# As ours are: x_0 clipped, and the noise derived from what is left.
CLIPPED = {"timestep_spacing": "trailing", "clip_sample": True}
OPTIONS = {"eta": 0.0, "use_clipped_model_output": True}


def _look(
    checkpoint: Checkpoint, source: ImageSource | None, n: int = 64, **settings: object
) -> tuple[CheckResult, Finding]:
    plan = plan_sampling(checkpoint, Settings(n=n, device="cpu", **settings))  # type: ignore[arg-type]
    return look("trajectory", Subject(checkpoint, plan.generator, n, source))  # type: ignore[arg-type]


def _numbers(finding: Finding, name: str) -> list[float]:
    return [float(str(row[name])) for row in finding.rows if row[name] is not None]


def test_moments_of_a_solved_model_are_those_of_the_forward_process(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    result, finding = _look(gaussian(steps=200), gaussian_images)
    assert result.status == "pass", result.summary
    assert len(finding.rows) == 201
    for ratio, error in zip(_numbers(finding, "moment_ratio"), _numbers(finding, "std_error"), strict=True):
        # 64 seeds of 64 pixels: sqrt(2 / 4096) = 0.022.
        assert error == pytest.approx(0.022, abs=0.006)
        # What 200 steps of first order leave, 0.035 in the end, comes on top; see the next test.
        assert abs(ratio - 1) < 3 * error + 0.035


def test_moments_spread_and_detail_are_those_worked_out_by_hand(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    steps = 50
    _, finding = _look(gaussian(steps=steps), gaussian_images, sampler="euler", steps=steps)
    schedule = named_schedule("linear")
    alpha_bar = schedule.alpha_bar.astype(np.float64)
    real = ((gaussian_images.images / 127.5 - 1) ** 2).mean()
    noise = initial_noise(0, range(64), (1, 8, 8)).double().numpy()
    times = [float(str(row["t"])) for row in finding.rows[:-1]]
    variance = float(noise.var(axis=0, ddof=1).mean())
    # Euler in sigma: x / sqrt(alpha_bar) moves along eps, whose gain on the Gaussian model is sigma / (S^2 + sigma^2).
    sigma = np.sqrt((1 - alpha_bar) / alpha_bar)[np.asarray(times).astype(int)]
    y = float(np.sqrt(sigma[0] ** 2 + 1))
    for at, row in enumerate(finding.rows[:-1]):
        a = 1 / (1 + sigma[at] ** 2)
        gain = y * np.sqrt(a)
        expected = gain**2 * (noise**2).mean() / (a * real + 1 - a)
        assert row["moment_ratio"] == pytest.approx(expected, rel=2e-3)
        if a >= 0.01:
            clean = gain * np.sqrt(a) * S**2 / (a * S**2 + 1 - a)
            spread = (gaussian_images.images / 127.5).reshape(len(gaussian_images), -1).var(axis=0, ddof=1).mean()
            assert row["spread"] == pytest.approx(clean**2 * variance / spread, rel=5e-3)
            # White noise: of 8 x 8 frequencies, 3 x 3 are below a quarter cycle per pixel.
            assert row["detail"] == pytest.approx(clean**2 * 55 / 64, rel=0.05)
        else:
            assert row["spread"] is row["detail"] is None
        after = sigma[at + 1] if at + 1 < len(sigma) else 0.0
        y += (after - sigma[at]) * sigma[at] / (S**2 + sigma[at] ** 2) * y
    assert finding.rows[-1]["t"] is None
    assert finding.rows[-1]["moment_ratio"] == pytest.approx(y**2 * (noise**2).mean() / real, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "karras"),
    [
        ("ddim", None), ("ddpm", None), ("dpm++", None), ("euler", None), ("heun", None), ("pndm", None),
        ("unipc", None), ("euler", True), ("heun", True),
    ],
)  # fmt: skip
def test_healthy_samplers_pass(digits: Checkpoint, digit_images: ImageSource, name: str, karras: bool | None) -> None:
    steps = 100 if name == "ddpm" else None
    result, finding = _look(digits, digit_images, sampler=name, karras=karras, steps=steps)
    assert result.status == "pass", result.summary
    assert result.values["detail_growth"] > 0.9
    assert result.values["residual"] < 0.01
    assert finding.pictures is not None
    assert finding.pictures.images.shape == (8, 11, 1, 8, 8)


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++", "unipc"])
def test_moderate_guidance_passes(digits: Checkpoint, digit_images: ImageSource, name: str) -> None:
    steps = 50 if name == "ddpm" else None
    result, _ = _look(digits, digit_images, sampler=name, w=3.0, steps=steps)
    assert result.status == "pass", result.summary
    assert "detail_growth" not in result.values


def test_guidance_that_inflates_x_is_named_and_is_no_failure(digits: Checkpoint, digit_images: ImageSource) -> None:
    result, _ = _look(digits, digit_images, sampler="euler", w=3.0)
    assert result.status == "warn"
    assert result.values["moment_ratio"] > 1.1
    assert "guidance scale" in result.fix


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
@pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
def test_a_relabelled_prediction_leaves_the_process(
    digits: Checkpoint, digit_images: ImageSource, prediction: str, sampler: str
) -> None:
    planted = dataclasses.replace(digits, prediction=prediction)  # type: ignore[arg-type]
    result, _ = _look(planted, digit_images, sampler=sampler)
    assert result.status == "fail"
    assert abs(result.values["moment_ratio"] - 1) > 0.5
    assert "times the second moment it should (limits 0.75 to 1.25)" in result.summary
    assert "prediction type" in result.fix


class HalfNoise(diffusers.DDIMScheduler):
    """Starts with half the noise."""

    def set_timesteps(self, *args: object, **options: object) -> None:
        super().set_timesteps(*args, **options)
        self.init_noise_sigma = 0.5


class Unfinished(diffusers.DDIMScheduler):
    """Leaves its last step out."""

    def set_timesteps(self, *args: object, **options: object) -> None:
        super().set_timesteps(*args, **options)
        self.timesteps = self.timesteps[:-1]


@pytest.fixture
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (HalfNoise, Unfinished):
        monkeypatch.setattr(diffusers, kind.__name__, kind, raising=False)
    monkeypatch.setattr(samplers, "_DETERMINISTIC", {*samplers._DETERMINISTIC, "HalfNoise", "Unfinished"})


def _declaring(checkpoint: Checkpoint, scheduler: str, steps: int) -> Checkpoint:
    return dataclasses.replace(checkpoint, sampler=Sampler("declared", scheduler, CLIPPED, OPTIONS), steps=steps)


@pytest.mark.usefixtures("_planted")
def test_half_the_noise_is_told_where_it_enters(digits: Checkpoint, digit_images: ImageSource) -> None:
    result, finding = _look(_declaring(digits, "HalfNoise", 20), digit_images)
    assert result.status == "fail"
    assert result.values["moment_t"] == finding.rows[0]["t"] == 999
    # Half the noise has a quarter of its power.
    assert result.values["moment_ratio"] == pytest.approx(0.25, abs=0.01)
    assert "x_t at t=999 has 0.25 times" in result.summary
    assert "init_noise_sigma" in result.fix


@pytest.mark.usefixtures("_planted")
@pytest.mark.parametrize(("steps", "status"), [(10, "fail"), (20, "warn")])
def test_a_last_step_that_is_missing_leaves_noise(
    digits: Checkpoint, digit_images: ImageSource, steps: int, status: str
) -> None:
    result, _ = _look(_declaring(digits, "Unfinished", steps), digit_images)
    assert result.status == status
    assert "noise is left" in result.summary
    assert "final_sigmas_type" in result.fix
    # What is left is sqrt(1 - alpha_bar) times the predicted noise at the timestep that was never taken; a prediction
    # is a mean, and has a deviation of somewhat less than 1.
    left = float(np.sqrt(1 - digits.schedule.alpha_bar[1000 // steps - 1]))
    assert 0.8 * left < result.values["residual"] < left


def test_a_schedule_that_begins_noisy_and_never_goes_to_nothing(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    schedule = from_alpha_bar(np.linspace(0.9, 0.001, 200))
    config = {"timestep_spacing": "leading", "set_alpha_to_one": False, "clip_sample": False}
    kept = dataclasses.replace(
        gaussian(schedule, steps=100), sampler=Sampler("declared", "DDIMScheduler", config, {"eta": 0.0})
    )
    result, _ = _look(kept, gaussian_images)
    assert result.status == "fail"
    # The last step ends where it began, at alpha_bar 0.9: sqrt(0.9) x_0 + sqrt(0.1) eps.
    assert result.values["residual"] > 0.1
    assert "noise is left" in result.summary
    mended = dataclasses.replace(
        kept, sampler=Sampler("declared", "DDIMScheduler", {**config, "set_alpha_to_one": True})
    )
    assert _look(mended, gaussian_images)[0].values["residual"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("below", [1000, 300])
def test_nan_is_told_with_the_timestep_at_which_it_begins(
    digits: Checkpoint, digit_images: ImageSource, below: int
) -> None:
    def broken(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return digits.denoiser(x, t, condition) * (torch.nan if float(t.max()) < below else 1.0)

    result, finding = _look(dataclasses.replace(digits, denoiser=broken), digit_images, n=8)
    # Ten steps: 999, 899, ... 99.
    assert (result.status, result.summary) == ("fail", f"x_t holds NaN or infinity at t={below - 1}")
    assert finding.pictures is not None


def test_without_real_images_there_are_pictures_and_no_verdict(digits: Checkpoint) -> None:
    result, finding = _look(digits, None, n=16)
    assert result.status == "inconclusive"
    assert "give --ref" in result.summary
    assert "moment_ratio" not in result.values
    assert finding.pictures is not None
    assert finding.pictures.images.shape == (8, 11, 1, 8, 8)


def test_the_last_column_holds_the_images_themselves(digits: Checkpoint, digit_images: ImageSource) -> None:
    _, finding = _look(digits, digit_images, n=16, seed=5)
    pictures = finding.pictures
    assert pictures is not None
    generator = plan_sampling(digits, Settings(n=16, device="cpu", seed=5)).generator
    np.testing.assert_array_equal(pictures.images[:, -1], generator.images(range(16))[:8])
    noise = initial_noise(5, range(8), (1, 8, 8)).numpy()
    np.testing.assert_array_equal(pictures.images[:, 0], np.clip(np.round((noise + 1) * 127.5), 0, 255))
    assert pictures.columns[0] == "x at t=999"
    assert pictures.columns[-3:] == ("x at t=99", "predicted at t=99", "image")
    labels = generator.labels(range(8))
    assert labels is not None
    assert pictures.rows == tuple(f"seed 5, image {at}, class {label}" for at, label in enumerate(labels))


def test_too_few_seeds_are_too_uncertain_to_say(digits: Checkpoint, digit_images: ImageSource) -> None:
    result, finding = _look(digits, digit_images, n=2)
    assert result.status == "inconclusive"
    assert "too uncertain" in result.summary
    assert "--n" in result.fix
    # Two images of two classes: nothing varies within a class.
    assert "start_spread" not in result.values
    assert all(row["spread"] is None for row in finding.rows)


def test_one_step_and_two(digits: Checkpoint, digit_images: ImageSource) -> None:
    for steps, columns in ((1, 3), (2, 5)):
        result, finding = _look(digits, digit_images, n=8, steps=steps)
        assert "last_jump" not in result.values
        assert finding.pictures is not None
        assert finding.pictures.images.shape[:2] == (8, columns)


def test_a_network_that_predicts_nothing_is_told_without_a_traceback(
    digits: Checkpoint, digit_images: ImageSource
) -> None:
    """As one does at initialisation, its last layer being zero: detail that never changes has no correlation."""
    nothing = dataclasses.replace(digits, denoiser=lambda x, t, condition: torch.zeros_like(x), prediction="sample")
    result, _ = _look(nothing, digit_images)
    assert result.status == "fail"
    assert result.values["moment_ratio"] == 0
    assert "detail_growth" not in result.values


def test_real_images_all_alike_have_no_spread_to_divide_by(digits: Checkpoint) -> None:
    flat = ImageSource("flat", "all", InMemory(np.full((10, 1, 8, 8), 7, dtype=np.uint8)))
    result, _ = _look(digits, flat, n=16)
    assert "start_spread" not in result.values
    assert "moment_ratio" in result.values


def test_images_of_another_size_are_refused_in_a_line(digits: Checkpoint) -> None:
    large = ImageSource("large", "all", InMemory(np.zeros((4, 1, 16, 16), dtype=np.uint8)))
    with pytest.raises(DiffevalError, match=r"large@all holds 1x16x16 images, digits takes 1x8x8; give --ref"):
        _look(digits, large)
