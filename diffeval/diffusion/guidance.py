"""Classifier-free guidance: eps_uncond + w (eps_cond - eps_uncond)."""

import math
from collections.abc import Callable

import torch

# f(x, t, condition): x [b, C, H, W], t [b] or a scalar tensor, condition int64 [b] or None -> prediction like x.
Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def guided(
    denoiser: Denoiser,
    x: torch.Tensor,
    t: torch.Tensor,
    condition: torch.Tensor | None,
    null: torch.Tensor | None,
    w: float | None,
    rescale: float = 0.0,
) -> torch.Tensor:
    """The guided prediction at guidance scale ``w``, shaped like ``x``.

    w = 1 is the plain conditional prediction and w = 0 the unconditional one; both need a single network call. Every
    other w runs both branches in one batch. ``w`` None means the model takes no condition.

    With ``rescale`` phi above 0 the result is mixed, phi to 1 - phi, with itself scaled to the standard deviation that
    the conditional prediction has over each image: a high w then stretches contrast less.

    Source: Ho and Salimans 2022, eq. 6, whose w is ours minus 1; rescaling: Lin, Liu, Li and Yang 2024, eqs. 14 to 16.
    """
    if w is None:
        return denoiser(x, t, None)
    if w == 1.0:
        return denoiser(x, t, condition)
    if w == 0.0:
        return denoiser(x, t, null)
    assert condition is not None, "a guided model has a condition"
    assert null is not None, "the caller has checked that a null condition exists"
    unconditional, conditional = denoiser(torch.cat([x, x]), t, torch.cat([null, condition])).chunk(2)
    mixed = unconditional + w * (conditional - unconditional)
    if not rescale:
        return mixed
    spread, wanted = (one.flatten(1).std(dim=1).view(-1, 1, 1, 1) for one in (mixed, conditional))
    # A prediction without any spread has nothing to scale.
    factor = torch.where(spread > 0, wanted / spread.clamp_min(torch.finfo(spread.dtype).tiny), 1.0)
    return mixed * (rescale * factor + (1.0 - rescale))


def within(interval: tuple[float, float] | None, log_snr: float) -> bool:
    """Whether guidance acts at a noise level: low < sigma <= high, sigma = exp(-lambda / 2) being noise over signal.

    Source: Kynkaanniemi et al. 2024, eq. 6.
    """
    if interval is None:
        return True
    # Beyond exp(700) there is no float; without signal sigma is infinite.
    sigma = math.inf if log_snr < -1400 else math.exp(-log_snr / 2)
    return interval[0] < sigma <= interval[1]
