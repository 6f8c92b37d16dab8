"""EDM's preconditioning on our discrete schedule: the same denoiser, the same sampler, the same images."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffeval.checkpoints.adapt import noise_levels
from diffeval.checkpoints.build import Found, build
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.declaration import Declaration, parse_preconditioning
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.schedules import karras_grid
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.samplers import Sampler
from diffeval.errors import DiffevalError

Floats = Callable[..., Tensor]
SHAPE = (1, 8, 8)


class Raw(nn.Module):
    """F: takes c_in x and c_noise = ln(sigma) / 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        plane = noise[:, None, None, None].expand_as(x)
        made: Tensor = self.second(torch.tanh(self.first(torch.cat([x, plane], 1))))
        return made


class Denoiser(nn.Module):
    """D(x; sigma), written out from table 1 of the paper, sigma_data = 0.5."""

    def __init__(self, raw: nn.Module) -> None:
        super().__init__()
        self.raw = raw

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        s, d = sigma[:, None, None, None], 0.5
        c_skip, c_out = d**2 / (s**2 + d**2), s * d / (s**2 + d**2).sqrt()
        c_in, c_noise = 1 / (d**2 + s**2).sqrt(), sigma.log() / 4
        made: Tensor = c_skip * x + c_out * self.raw(c_in * x, c_noise)
        return made


def _raw() -> Raw:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Raw().eval()


def _checkpoint(network: nn.Module, **declared: object) -> Checkpoint:
    declaration = Declaration(shape=SHAPE, value_range=(-1, 1), **declared)  # type: ignore[arg-type]
    return build(Found("edm", Path("edm.pt"), "0" * 64, network, None, "", declaration), LoadOptions())


def test_raw_network_and_denoiser_are_one_model() -> None:
    ours = _checkpoint(_raw(), preconditioning="edm")
    theirs = _checkpoint(Denoiser(_raw()), preconditioning="edm-denoiser")
    x = initial_noise(0, range(3), SHAPE)
    with torch.inference_mode():
        for t in (0, 500, 999):
            one, other = (model.denoiser(x, torch.tensor(t), None) for model in (ours, theirs))
            assert (one - other).abs().max() < 1e-5
    assert (ours.prediction, ours.schedule.timesteps, ours.assumptions) == ("sample", 1000, ())


def test_the_schedule_is_the_papers_grid_of_noise_levels() -> None:
    """Eq. 5 by hand: sigma_i for i = 0 .. N-1 from sigma_max to sigma_min, rho = 7."""
    grid = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)]
    assert np.allclose(karras_grid(0.002, 80.0, 18), grid[::-1], rtol=1e-12)
    schedule = _checkpoint(_raw(), preconditioning="edm", timesteps=18).schedule
    # 1 - 4e-6 in float32 is known to 3e-8: the least noise level to 0.75%, all others far better.
    assert np.allclose(noise_levels(schedule)[0], 0.002, rtol=0.01)
    assert np.allclose(noise_levels(schedule)[3:], grid[::-1][3:], rtol=1e-4)


@pytest.mark.parametrize("form", ["edm", "edm-denoiser"])
def test_ddim_over_the_grid_is_eulers_method_in_sigma(form: str, floats: Floats) -> None:
    """Its own code: dx/dsigma = (x - D(x; sigma)) / sigma, from sqrt(1 + sigma_max^2) noise, in float64."""
    network = _raw() if form == "edm" else Denoiser(_raw())
    ddim = Sampler("ddim", "DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}, {"eta": 0.0})
    model = _checkpoint(network, preconditioning=form, timesteps=40, sampler=ddim, steps=40)
    own = Denoiser(_raw()).double()
    sigmas = [*noise_levels(model.schedule)[::-1], 0.0]
    with torch.inference_mode():
        x = initial_noise(0, range(4), SHAPE).double() * np.sqrt(1 + sigmas[0] ** 2)
        for now, after in pairwise(sigmas):
            d = (x - own(x, torch.full((4,), now, dtype=torch.float64))) / now
            x = x + (after - now) * d
    assert x.std() > 0.05
    assert (floats(model) - x).abs().max() < 1e-4


def test_heun_is_the_papers_sampler(floats: Floats) -> None:
    """Algorithm 1, deterministic, 18 noise levels and 0, from sigma_max noise."""
    model = _checkpoint(_raw(), preconditioning="edm", timesteps=18, sampler="heun", steps=18)
    own = Denoiser(_raw()).double()
    sigmas = [*noise_levels(model.schedule)[::-1], 0.0]

    def slope(x: Tensor, sigma: float) -> Tensor:
        slope: Tensor = (x - own(x, torch.full((4,), sigma, dtype=torch.float64))) / sigma
        return slope

    with torch.inference_mode():
        x = initial_noise(0, range(4), SHAPE).double() * sigmas[0]
        for now, after in pairwise(sigmas):
            d = slope(x, now)
            step = x + (after - now) * d
            x = step if after == 0 else x + (after - now) * (d + slope(step, after)) / 2
    assert (floats(model) - x).abs().max() < 1e-4


def test_numbers_of_the_preconditioning() -> None:
    edm = parse_preconditioning("edm-denoiser:sigma_data=1,sigma_max=160")
    assert edm is not None
    assert (edm.denoiser, edm.sigma_data, edm.sigma_min, edm.sigma_max) == (True, 1.0, 0.002, 160.0)
    assert parse_preconditioning("none") is None
    for text, message in (
        ("edmm", "unknown preconditioning 'edmm'; did you mean 'edm'"),
        ("edm:sigma_max=x", "'x' is no number"),
        ("edm:sigma_max=0.001", "sigma_min the smaller"),
    ):
        with pytest.raises(DiffevalError, match=message):
            parse_preconditioning(text)
    with pytest.raises(DiffevalError, match="prediction is 'epsilon', but preconditioning makes it sample"):
        _checkpoint(_raw(), preconditioning="edm", prediction="epsilon")
    with pytest.raises(DiffevalError, match="1 timesteps, needs at least 2"):
        _checkpoint(_raw(), preconditioning="edm", timesteps=1)


def test_noise_levels_that_float32_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(DiffevalError, match=r"alpha_bar\[0\] = 1 lies too near 1 for float32"):
        _checkpoint(_raw(), preconditioning="edm:sigma_min=0.00001")
