"""Guidance: its scale, where it acts, and how far it is scaled back."""

import math

import pytest
import torch

from diffeval.checkpoints.checkpoint import load
from diffeval.diffusion.guidance import guided, within
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_images


def denoiser(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
    """Condition c predicts (c + 1) x."""
    assert condition is not None
    return x * (condition.view(-1, 1, 1, 1) + 1)


X = torch.tensor([[[[1.0, -2.0], [3.0, 0.5]]]])
ONE, NULL, T = torch.tensor([1]), torch.tensor([0]), torch.tensor(0)


def test_the_scale_by_hand() -> None:
    # eps_uncond + w (eps_cond - eps_uncond) = x + w x.
    assert torch.allclose(guided(denoiser, X, T, ONE, NULL, 3.0), 4 * X)
    assert torch.equal(guided(denoiser, X, T, ONE, NULL, 1.0), 2 * X)
    assert torch.equal(guided(denoiser, X, T, ONE, NULL, 0.0), X)


def test_rescaling_brings_the_spread_back_to_that_of_the_condition() -> None:
    # The guided 4 x has twice the spread of the conditional 2 x.
    assert torch.allclose(guided(denoiser, X, T, ONE, NULL, 3.0, rescale=1.0), 2 * X)
    assert torch.allclose(guided(denoiser, X, T, ONE, NULL, 3.0, rescale=0.5), 3 * X)
    flat = torch.ones_like(X)
    assert torch.equal(guided(denoiser, flat, T, ONE, NULL, 3.0, rescale=1.0), 4 * flat)


@pytest.mark.parametrize(
    ("sigma", "inside"), [(0.3, False), (0.31, True), (5.0, True), (5.1, False), (math.inf, False)]
)
def test_an_interval_is_open_below_and_closed_above(sigma: float, inside: bool) -> None:
    log_snr = -math.inf if sigma == math.inf else -2 * math.log(sigma)
    assert within((0.3, 5.0 + 1e-9), log_snr) is inside
    assert within(None, log_snr)


def _generator(**settings: object) -> Generator:
    maker = plan_images(load("digits"), Settings(n=4, steps=10, device="cpu", **settings)).generator  # type: ignore[arg-type]
    assert isinstance(maker, Generator)
    return maker


def test_an_interval_that_holds_every_level_changes_nothing_and_one_that_holds_none_is_no_guidance() -> None:
    def draw(**settings: object) -> bytes:
        return _generator(**settings).images(range(4)).tobytes()

    assert draw(w=3.0, interval=(0.0, math.inf)) == draw(w=3.0)
    assert draw(w=3.0, interval=(1e-9, 2e-9)) == draw(w=1.0)
    assert draw(w=3.0, interval=(0.5, 3.0)) not in (draw(w=3.0), draw(w=1.0))


def test_options_of_guidance_are_in_the_protocol_or_refused() -> None:
    with pytest.raises(DiffevalError, match="--interval 5:2 is none"):
        _generator(w=2.0, interval=(5.0, 2.0))
    with pytest.raises(DiffevalError, match=r"--rescale 1\.5 is not between 0 and 1"):
        _generator(w=2.0, rescale=1.5)
    with pytest.raises(DiffevalError, match=r"euler with threshold=0\.9"):
        _generator(w=2.0, sampler="euler", threshold=0.9)
    config = _generator(w=2.0, sampler="ddim", threshold=0.9).sampler.recorded()
    assert (config["thresholding"], config["dynamic_thresholding_ratio"]) == (True, 0.9)
