import math

import numpy as np
import pytest
from diffusers import DDPMScheduler

from diffeval.diffusion.schedule import SCHEDULE_NAMES, from_alpha_bar, from_betas, named_schedule
from diffeval.errors import DiffevalError


def test_cosine_in_closed_form() -> None:
    # Nichol and Dhariwal 2021, eq. 17: alpha_bar(t) = f(t)/f(0), f = cos²((t/T + 0.008)/1.008 pi/2).
    alpha_bar = named_schedule("squaredcos_cap_v2", 1000).alpha_bar

    def f(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 100, 500, 900):
        assert alpha_bar[t] == pytest.approx(f((t + 1) / 1000) / f(0), rel=1e-3)


def test_linear_end_points() -> None:
    betas = named_schedule("linear", 1000).betas
    assert betas[0] == pytest.approx(1e-4)
    assert betas[-1] == pytest.approx(0.02)


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
@pytest.mark.parametrize("zero_snr", [False, True])
def test_curves_are_what_diffusers_has(name: str, zero_snr: bool) -> None:
    schedule = named_schedule(name, 200, zero_snr=zero_snr)
    theirs = DDPMScheduler(200, beta_schedule=name, rescale_betas_zero_snr=zero_snr).alphas_cumprod.numpy()
    np.testing.assert_array_equal(schedule.alpha_bar, theirs)
    assert schedule.zero_terminal_snr is zero_snr
    assert (np.diff(schedule.log_snr[:-1]) < 0).all()
    assert (schedule.log_snr[-1] == -np.inf) is np.bool_(zero_snr)


def test_log_snr_at_one_half_is_zero() -> None:
    assert from_betas([0.5, 0.5]).log_snr[0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        ([0.1, 1.5], r"beta\[1\] = 1.5"),
        ([0.0, 0.1], r"beta\[0\]"),
        ([1.0, 0.1], r"beta\[0\] = 1"),
        ([0.1], "at least 2"),
    ],
)
def test_impossible_betas(betas: list[float], message: str) -> None:
    with pytest.raises(DiffevalError, match=message):
        from_betas(betas)


def test_unknown_name() -> None:
    with pytest.raises(DiffevalError, match="did you mean 'linear'"):
        named_schedule("liner")


def test_alpha_bar_is_kept_however_long_the_schedule() -> None:
    """Naive float32 ratios drift; the samplers' own product must give back what was asked for."""
    wanted = np.linspace(0.9999, 1e-3, 4000)
    built = from_alpha_bar(wanted).alpha_bar
    assert np.abs(built / wanted - 1).max() < 2e-7
    named = named_schedule("squaredcos_cap_v2", 1000)
    assert np.allclose(from_alpha_bar(named.alpha_bar).alpha_bar, named.alpha_bar, rtol=2e-7, atol=0)
    assert from_alpha_bar([0.9, 0.5, 0.0]).zero_terminal_snr


@pytest.mark.parametrize(
    ("alpha_bar", "message"),
    [
        ([0.9, 0.95], r"alpha_bar\[1\] = 0.95 is not below alpha_bar\[0\] = 0.9"),
        ([0.9, 0.5, 0.5], r"alpha_bar\[2\] = 0.5 is not below"),
        ([1.0, 0.5], r"alpha_bar\[0\] = 1, must be in \(0, 1\)"),
        ([0.9, 0.0, 0.0], r"alpha_bar\[1\] = 0, must be"),
        ([0.9, float("nan")], r"alpha_bar\[1\] = nan"),
        ([0.5, 0.5 - 1e-10], r"alpha_bar\[1\] = 0.5 lies too near the one before|is not below"),
        ([0.5], "at least 2"),
    ],
)
def test_impossible_alpha_bar(alpha_bar: list[float], message: str) -> None:
    with pytest.raises(DiffevalError, match=message):
        from_alpha_bar(alpha_bar)
