"""From anyone's network to the one denoiser f(x, t, condition): time input, class numbers, preconditioning, output."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diffeval.checkpoints.declaration import Edm, TimeInput
from diffeval.diffusion.batching import is_out_of_memory
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError


@dataclass(frozen=True, slots=True)
class Adapter:
    """Makes a denoiser of a network; the same for its averaged and its raw weights.

    Attributes:
        schedule: the noise schedule.
        time: what the network takes as time: a name, or a function of t.
        edm: its preconditioning, or None.
        conditions: the number that the network takes for each class, the null class last; empty without classes.
        channels: of the prediction.
        learned_variance: whether as many channels of variance follow.
        call: how the network is called, if not ``network(x, time, condition)``.
    """

    schedule: NoiseSchedule
    time: str | TimeInput
    edm: Edm | None
    conditions: tuple[int, ...]
    channels: int
    learned_variance: bool
    call: Callable[..., Any] | None

    def __call__(self, network: torch.nn.Module) -> Denoiser:
        """The denoiser."""
        condition_of = _condition_input(self.conditions)
        time_of = _time_input("sigma" if self.edm else self.time, self.schedule)

        def outputs(x: torch.Tensor, time: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
            if self.call is not None:
                output = self.call(network, x, time, condition)
            elif condition is None:
                output = network(x, time)
            else:
                output = network(x, time, condition)
            return self._prediction(output, x)

        def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
            t = _whole(torch.as_tensor(t, device=x.device).expand(len(x)))
            numbers = None if condition is None or not self.conditions else condition_of(condition)
            try:
                if self.edm is not None:
                    return _edm_sample(self.edm, outputs, x, time_of(t), numbers)
                return outputs(x, time_of(t), numbers)
            except (IndexError, TypeError, RuntimeError) as error:
                if not t.is_floating_point() or is_out_of_memory(error):
                    raise
                raise DiffevalError(
                    f"sampling: the network cannot take the timestep {float(t[0]):g}, which lies between two of its "
                    f"own; use a sampler with whole timesteps, e.g. ddim"
                ) from error

        return denoise

    def _prediction(self, output: Any, x: torch.Tensor) -> torch.Tensor:
        tensor = getattr(output, "sample", output)
        if not isinstance(tensor, torch.Tensor):
            raise DiffevalError(
                f"checkpoint: the network returns a {type(output).__name__}, needs a tensor; declare call="
            )
        channels = self.channels * (2 if self.learned_variance else 1)
        wanted = (len(x), channels, *x.shape[2:])
        if tuple(tensor.shape) != wanted:
            raise DiffevalError(_misshapen(tuple(tensor.shape), wanted, self.learned_variance))
        return tensor[:, : self.channels]


def _misshapen(got: tuple[int, ...], wanted: tuple[int, ...], learned_variance: bool) -> str:
    message = f"checkpoint: the network makes {list(got)} of a batch, needs {list(wanted)}"
    if not learned_variance and got == (wanted[0], 2 * wanted[1], *wanted[2:]):
        return f"{message}; if the second half is a learned variance, say so with --learned-variance"
    return f"{message}; see --shape and --learned-variance, or declare call="


def _whole(t: torch.Tensor) -> torch.Tensor:
    """Timesteps as int64 where they are whole numbers: tables of embeddings take no other."""
    if not t.is_floating_point():
        return t.long()
    return t.long() if bool((t == t.round()).all()) else t.float()


def _condition_input(conditions: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    numbers = _Kept(torch.tensor(conditions, dtype=torch.int64))
    return lambda condition: numbers.on(condition.device)[condition]


class _Kept:
    """A small table, with a copy on each device that asks for it: bringing it there at every call would wait."""

    def __init__(self, table: torch.Tensor) -> None:
        self._copies = {table.device: table}
        self._table = table

    def on(self, device: torch.device) -> torch.Tensor:
        """The table there."""
        if device not in self._copies:
            self._copies[device] = self._table.to(device)
        return self._copies[device]


def noise_levels(schedule: NoiseSchedule) -> npt.NDArray[np.float64]:
    """Sigma = sqrt((1 - alpha_bar) / alpha_bar) at each timestep, of the alpha_bar that samplers work with."""
    alpha_bar = schedule.alpha_bar.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.sqrt((1.0 - alpha_bar) / alpha_bar)


def _time_input(time: str | TimeInput, schedule: NoiseSchedule) -> TimeInput:
    if callable(time):
        return time
    if time in ("step", "none"):
        return lambda t: t
    if time == "t/T":
        return lambda t: t.float() / schedule.timesteps
    levels = np.log(noise_levels(schedule))
    if not np.isfinite(levels).all():
        raise DiffevalError(
            f"checkpoint: the time input {time} is infinite at timestep {int(np.argmin(np.isfinite(levels)))} of this "
            f"noise schedule; declare a function of t as time, or another schedule"
        )
    table = _Kept(torch.from_numpy(-2.0 * levels if time == "log-snr" else levels).float())
    return lambda t: _at(table, t) if time == "log-snr" else _at(table, t).exp()


def _at(kept: _Kept, t: torch.Tensor) -> torch.Tensor:
    """The table at timesteps, linear between two."""
    table = kept.on(t.device)
    if not t.is_floating_point():
        return table[t]
    low = t.floor().long().clamp(0, len(table) - 1)
    high = (low + 1).clamp(max=len(table) - 1)
    return torch.lerp(table[low], table[high], t - low)


def _edm_sample(
    edm: Edm,
    network: Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor],
    x: torch.Tensor,
    sigma: torch.Tensor,
    condition: torch.Tensor | None,
) -> torch.Tensor:
    """D(x / sqrt(alpha_bar); sigma): x_0 as predicted from a variance-preserving x.

    Source: Karras et al. 2022, eq. 7 and table 1.
    """
    wide = sigma.view(-1, 1, 1, 1)
    noisy = x * (1.0 + wide**2).sqrt()
    if edm.denoiser:
        return network(noisy, sigma, condition)
    total = wide**2 + edm.sigma_data**2
    output = network(noisy / total.sqrt(), sigma.log() / 4.0, condition)
    return noisy * edm.sigma_data**2 / total + output * wide * edm.sigma_data / total.sqrt()
