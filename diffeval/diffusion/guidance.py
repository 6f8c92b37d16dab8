"""Classifier-free guidance: eps_uncond + w (eps_cond - eps_uncond)."""

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
) -> torch.Tensor:
    """The guided prediction at guidance scale ``w``, shaped like ``x``.

    w = 1 is the plain conditional prediction and w = 0 the unconditional one; both need a single network call. Every
    other w runs both branches in one batch. ``w`` None means the model takes no condition.

    Source: Ho and Salimans 2022, eq. 6, whose w is ours minus 1.
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
    return unconditional + w * (conditional - unconditional)
