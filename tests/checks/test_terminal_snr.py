"""What is left of an image at the start of sampling is seen, and its price is that of a model that is known."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.schedules import karras_grid
from diffeval.checks.brightness import Brightness, Leak, brightness, compare, leak_of
from diffeval.checks.check import Finding, Subject
from diffeval.checks.real_images import ModelImages
from diffeval.checks.terminal_snr import alpha_bar_at, first_timestep, terminal_snr
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import NoiseSchedule, from_alpha_bar, named_schedule
from diffeval.plan import Settings, plan_sampling

MEAN, S = -0.5, 0.125
SHORT = named_schedule("linear", 200)


def _subject(checkpoint: Checkpoint, source: ImageSource | None = None, **settings: object) -> Subject:
    plan = plan_sampling(checkpoint, Settings(n=64, device="cpu", **settings))  # type: ignore[arg-type]
    return Subject(checkpoint, plan.generator, 64, source)  # type: ignore[arg-type]


def _look(checkpoint: Checkpoint, source: ImageSource | None = None, **settings: object) -> Finding:
    return terminal_snr(_subject(checkpoint, source, **settings))


@pytest.fixture
def grey(gaussian: Callable[..., Checkpoint]) -> Callable[..., Checkpoint]:
    """Makes a checkpoint that predicts exactly for pixels of N(MEAN, S^2)."""

    def make(schedule: NoiseSchedule = SHORT, sampler: str = "ddim", steps: int = 100) -> Checkpoint:
        alpha_bar = torch.tensor(schedule.alpha_bar)

        def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
            a = alpha_bar[t.long()].reshape(-1, 1, 1, 1)
            return (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * S**2 + 1 - a)

        return dataclasses.replace(gaussian(schedule, sampler, steps), denoiser=denoise)

    return make


@pytest.fixture(scope="session")
def grey_images() -> ImageSource:
    x = MEAN + S * np.random.Generator(np.random.Philox(4)).standard_normal((4096, 1, 8, 8))
    return ImageSource("made-up", "all", InMemory(np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.uint8)))


def _by_hand(alpha_bar: float, mean: float, s: float, d: int) -> Leak:
    mode, centre, noise = s * np.sqrt(d), mean * np.sqrt(d), 1 - alpha_bar
    variance = alpha_bar * mode**2 + noise
    return Leak(
        float(np.sqrt(alpha_bar / noise) * mode),
        float(-np.sqrt(alpha_bar) * centre / np.sqrt(variance)),
        float(1 / variance),
    )


def test_the_law_is_that_of_latent_diffusion_with_scaled_betas() -> None:
    """Betas from 0.00085 to 0.012, linear in their roots, leave 0.0047 of a 64 x 64 latent; by the law, L = 1.10."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    found = leak_of(float(np.prod(1 - betas)), Brightness(0.0, 0.25, 4096))
    assert found.strength == pytest.approx(1.10, abs=0.01)
    assert found.variance_ratio == pytest.approx(0.45, abs=0.01)


def test_pure_noise_where_training_had_the_same_changes_nothing() -> None:
    for stochastic in (False, True):
        found = leak_of(1e-12, Brightness(-0.4, 0.07, 64), stochastic=stochastic)
        assert (found.strength, found.shift) == (pytest.approx(0, abs=1e-5), pytest.approx(0, abs=1e-5))
        assert found.variance_ratio == pytest.approx(1)


@pytest.mark.parametrize("stochastic", [False, True])
def test_a_start_from_the_right_distribution_would_change_nothing(stochastic: bool) -> None:
    """x_0 is centre + gain (z - alpha centre) + rest: with z as training has it, its variance must be the data's."""
    alpha_bar, known = 0.3, Brightness(-0.4, 0.1, 64)
    found = leak_of(alpha_bar, known, stochastic=stochastic)
    spread, centre = known.deviation * 8, known.mean * 8
    variance = alpha_bar * spread**2 + 1 - alpha_bar
    gain = found.shift / (-np.sqrt(alpha_bar) * centre)
    assert found.variance_ratio + gain**2 * (variance - 1) == pytest.approx(1)
    posterior = np.sqrt(alpha_bar) * spread / variance
    assert gain == pytest.approx(posterior if stochastic else 1 / np.sqrt(variance))


def test_images_of_a_known_model_show_what_the_law_says(
    grey: Callable[..., Checkpoint], grey_images: ImageSource
) -> None:
    finding = _look(grey(), grey_images)
    expected = _by_hand(float(SHORT.alpha_bar[-1]), MEAN, S / 8, 64)
    values = finding.values
    assert values["leak"] == pytest.approx(expected.strength, rel=0.03)
    assert values["shift"] == pytest.approx(expected.shift, rel=0.03)
    assert values["variance_ratio"] == pytest.approx(expected.variance_ratio, rel=0.01)
    assert values["measured_shift"] == pytest.approx(expected.shift, abs=4 * values["measured_shift_std_error"] + 0.1)
    error = 4 * values["measured_log_ratio_std_error"] + 0.05
    assert np.log(values["measured_variance_ratio"]) == pytest.approx(np.log(expected.variance_ratio), abs=error)
    assert finding.status == "fail"
    assert (
        "deviations too bright (at most 1); 128 images against the same from a right start show +" in finding.summary
    )
    assert "squaredcos_cap_v2" in finding.fix


def test_a_sampler_that_draws_noise_shows_its_own_law(
    grey: Callable[..., Checkpoint], grey_images: ImageSource
) -> None:
    """The posterior of a normal mode, which forgets most of a start this noisy."""
    values = _look(grey(sampler="ddpm"), grey_images, steps=100).values
    assert values["shift"] < 0.1 * _by_hand(float(SHORT.alpha_bar[-1]), MEAN, S / 8, 64).shift
    assert "measured_shift" not in values, "nothing is drawn where nothing is amiss"


def test_what_images_do_not_show_is_no_fail(grey: Callable[..., Checkpoint], grey_images: ImageSource) -> None:
    """A network that predicts the same image whatever it is given."""
    blind = dataclasses.replace(
        grey(), denoiser=lambda x, t, condition: torch.full_like(x, MEAN) + 0.01 * x, prediction="sample"
    )
    finding = _look(blind, grey_images)
    assert finding.status == "warn"
    assert "(a fail needs 0.2)" in finding.summary


def test_an_expensive_sampler_leaves_it_to_the_law(grey: Callable[..., Checkpoint], grey_images: ImageSource) -> None:
    long = from_alpha_bar(np.linspace(0.999, 0.13, 1000))
    finding = _look(grey(long, steps=1000), grey_images)
    assert finding.status == "fail"
    assert "no images could be drawn" in finding.summary
    assert "measured_shift" not in finding.values


def test_the_digits_model_passes_with_and_without_images(digits: Checkpoint, digit_images: ImageSource) -> None:
    for source in (digit_images, None):
        finding = _look(digits, source)
        assert finding.status == "pass", finding.summary
        assert finding.values["alpha_bar_start"] < 1e-8
    assert finding.summary.endswith("is left at t=999, where sampling starts (at most 0.005)")


@pytest.mark.parametrize(("timesteps", "status"), [(200, "fail"), (500, "warn"), (1000, "pass")])
def test_without_images_the_signal_power_decides(digits: Checkpoint, timesteps: int, status: str) -> None:
    planted = dataclasses.replace(digits, schedule=named_schedule("linear", timesteps))
    finding = _look(planted, sampler="ddim", steps=50)
    assert finding.status == status, finding.summary
    expected = float(np.prod(1 - np.linspace(1e-4, 0.02, timesteps)))
    assert finding.values["alpha_bar_end"] == pytest.approx(expected, rel=1e-3)


def test_real_images_excuse_signal_that_moves_nothing(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    """Pixels around 0, so narrow that nothing is seen of them in the noise."""
    assert _look(gaussian(SHORT), None).status == "fail"
    finding = _look(gaussian(SHORT), gaussian_images)
    assert finding.status == "pass", finding.summary


def test_zero_terminal_snr_needs_another_type_and_its_last_timestep(digits: Checkpoint) -> None:
    zero = dataclasses.replace(digits, schedule=named_schedule("linear", zero_snr=True))
    finding = _look(zero, sampler="ddim", steps=50)
    assert finding.status == "fail"
    assert "where a predicted epsilon says nothing" in finding.summary
    velocity = dataclasses.replace(zero, prediction="v_prediction")
    assert _look(velocity, sampler="ddim", steps=50).status == "pass"
    leading = Sampler("declared", "DDIMScheduler", {"timestep_spacing": "leading"}, {"eta": 0.0})
    finding = _look(dataclasses.replace(velocity, sampler=leading, steps=50))
    assert finding.status == "fail"
    assert "the sampler starts at t=980, not at 999" in finding.summary
    assert "trailing" in finding.fix


@pytest.mark.parametrize(("steps", "first", "status"), [(10, 900, "warn"), (50, 980, "pass")])
def test_leading_timesteps_that_leave_many_unused_are_told(
    digits: Checkpoint, steps: int, first: int, status: str
) -> None:
    leading = Sampler("declared", "DDIMScheduler", {"timestep_spacing": "leading"}, {"eta": 0.0})
    finding = _look(dataclasses.replace(digits, sampler=leading, steps=steps, schedule=named_schedule("linear")))
    assert finding.status == status, finding.summary
    assert finding.values["first_timestep"] == first
    if status == "warn":
        assert f"starts at t={first} of 1000: 10% of the timesteps are unused (at most 5%)" in finding.summary


def test_grids_of_edm_do_not_apply(gaussian: Callable[..., Checkpoint]) -> None:
    def grid(largest: float) -> Checkpoint:
        return gaussian(from_alpha_bar(1 / (1 + karras_grid(0.002, largest, 100) ** 2), "karras"))

    assert _look(grid(80.0)).status == "not-applicable"
    assert _look(grid(2.0)).status == "fail"


def test_the_signal_between_two_timesteps_lies_between_theirs(digits: Checkpoint) -> None:
    schedule = named_schedule("linear")
    assert alpha_bar_at(schedule, 999.0) == float(schedule.alpha_bar[-1])
    assert alpha_bar_at(schedule, 500.0) == pytest.approx(float(schedule.alpha_bar[500]), rel=1e-5)
    assert schedule.alpha_bar[501] < alpha_bar_at(schedule, 500.5) < schedule.alpha_bar[500]
    short = dataclasses.replace(digits, schedule=schedule)
    assert first_timestep(_subject(short, sampler="ddim", steps=10).generator) == 999


def test_a_spacing_that_spares_epsilon_a_hopeless_end_is_not_to_be_undone(
    digits: Checkpoint, digit_images: ImageSource
) -> None:
    """Our Euler sampler does not clip x_0, and leaves out timesteps where a predicted epsilon says nothing of it."""
    finding = _look(digits, digit_images, sampler="euler", steps=10)
    assert finding.status == "warn", finding.summary
    assert "trailing" not in finding.fix
    assert "--sampler ddim" in finding.fix


def test_brightness_is_that_within_classes() -> None:
    """Two classes of two images each: means 0.1 and 0.3, and 0.7 and 0.9; within, the variance is 0.02."""
    x = torch.tensor([0.1, 0.3, 0.7, 0.9]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    found = brightness(ModelImages(x, torch.tensor([0, 0, 1, 1]), ""))
    assert (found.mean, found.elements) == (pytest.approx(0.5), 4)
    assert found.deviation == pytest.approx(np.sqrt(0.02))
    whole = brightness(ModelImages(x, None, ""))
    assert whole.deviation == pytest.approx(np.std([0.1, 0.3, 0.7, 0.9], ddof=1))


def test_images_that_are_no_numbers_or_all_alike_compare_to_nothing() -> None:
    one = np.linspace(0, 1, 40)
    assert compare(one, np.full(40, np.nan), None) is None
    assert compare(one, np.full(40, 0.5), None) is None
    found = compare(2 * one + 1, one, None)
    assert found is not None
    assert found.shift == pytest.approx(1.5)
    assert found.log_ratio == pytest.approx(np.log(4))
    assert found.log_ratio_error == pytest.approx(0, abs=1e-12), "every image gained as much"
