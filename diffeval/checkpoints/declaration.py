"""What the author of a network says about it: the declaration that a factory returns beside the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError
from diffeval.registry import did_you_mean

UNIT_RANGE = (-1.0, 1.0)

TimeName = Literal["step", "t/T", "log-snr", "sigma", "none"]
TIME_NAMES: tuple[TimeName, ...] = get_args(TimeName)

# Maps timesteps, int64 [b] (float32 [b] where a sampler's lie between two), to what the network takes as time.
TimeInput = Callable[[torch.Tensor], torch.Tensor]

PRECONDITIONING = ("none", "edm", "edm-denoiser")


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """How a network was trained and wants to be called. What is left out is assumed, and said.

    Attributes:
        shape: (C, H, W) of its input.
        schedule: a name of diffusers' (linear, scaled_linear, squaredcos_cap_v2, sigmoid), or a NoiseSchedule.
        alpha_bar: signal power at each timestep, [T], in place of a schedule.
        betas: beta at each timestep, [T], in place of a schedule.
        timesteps: T, for a schedule given by name; the number of noise levels of EDM's grid. By default 1000.
        zero_snr: whether the named schedule is rescaled to zero terminal SNR.
        prediction: epsilon, sample or v_prediction. By default epsilon.
        value_range: that pixels were mapped to. By default (-1, 1).
        time: what the network takes as time, as [b]: ``step`` (t, int64), ``t/T``, ``log-snr``
            (log(alpha_bar / (1 - alpha_bar))), ``sigma`` (sqrt((1 - alpha_bar) / alpha_bar)), ``none`` (it is given
            t and does not heed it), or a function of t, e.g. ``lambda t: (t + 1) / 1000``. By default step.
        classes: their number or names, the null class not counted; 0 for an unconditional network.
        null_class: the number that the network takes for "no class", or None.
        preconditioning: ``edm``: the network is F of Karras et al. 2022, and takes c_in x and c_noise; or
            ``edm-denoiser``: it is D(x; sigma) itself. Numbers may follow: ``edm:sigma_data=0.5,sigma_min=0.002,
            sigma_max=80`` (these are the defaults). No schedule is needed then: it is a grid of sigmas.
        learned_variance: whether the output holds a variance on C more channels, which is left out.
        sampler: how it is meant to be sampled: one of ours by name, or a Sampler.
        eta: of that sampler, if it is ddim.
        steps: how many steps that takes.
        reference: the data it was trained on, as ``--ref`` takes it.
        call: ``call(network, x, time, condition)``, where the network is not called ``network(x, time, condition)``,
            or ``network(x, time)`` without classes. The condition is int64 [b].
    """

    shape: tuple[int, int, int] | None = None
    schedule: str | NoiseSchedule | None = None
    alpha_bar: Sequence[float] | None = None
    betas: Sequence[float] | None = None
    timesteps: int | None = None
    zero_snr: bool = False
    prediction: str | None = None
    value_range: tuple[float, float] | None = None
    time: str | TimeInput | None = None
    classes: int | Sequence[str] = 0
    null_class: int | None = None
    preconditioning: str | None = None
    learned_variance: bool = False
    sampler: str | Sampler | None = None
    eta: float | None = None
    steps: int | None = None
    reference: str | None = None
    call: Callable[..., torch.Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Edm:
    """The preconditioning of Karras et al. 2022, table 1.

    Attributes:
        denoiser: whether the network is D already.
        sigma_data: standard deviation of the data.
        sigma_min: least noise level of the grid.
        sigma_max: largest noise level.
    """

    denoiser: bool
    sigma_data: float = 0.5
    sigma_min: float = 0.002
    sigma_max: float = 80.0


def parse_preconditioning(text: str | None) -> Edm | None:
    """``edm``, ``edm-denoiser`` or ``none``, with numbers after a colon.

    Raises:
        DiffevalError: for another word, or numbers that are none.
    """
    name, _, numbers = (text or "none").partition(":")
    if name not in PRECONDITIONING:
        raise DiffevalError(f"checkpoint: unknown preconditioning {name!r};{did_you_mean(name, PRECONDITIONING)}")
    if name == "none":
        return None
    values: dict[str, float] = {}
    for part in numbers.split(",") if numbers else ():
        key, _, value = part.partition("=")
        if key.strip() not in ("sigma_data", "sigma_min", "sigma_max"):
            raise DiffevalError(
                f"checkpoint: preconditioning {text!r} sets {key.strip()!r}; write e.g. {name}:sigma_data=0.5,"
                f"sigma_min=0.002,sigma_max=80"
            )
        try:
            values[key.strip()] = float(value)
        except ValueError as error:
            raise DiffevalError(f"checkpoint: preconditioning {text!r}: {value!r} is no number") from error
    edm = Edm(denoiser=name == "edm-denoiser", **values)
    if not (edm.sigma_data > 0 and 0 < edm.sigma_min < edm.sigma_max < float("inf")):
        raise DiffevalError(
            f"checkpoint: preconditioning {text!r} has sigma_data {edm.sigma_data:g}, sigma_min {edm.sigma_min:g}, "
            f"sigma_max {edm.sigma_max:g}; all must be positive, and sigma_min the smaller"
        )
    return edm
