"""What a user says about a checkpoint beside naming it."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from diffeval.errors import DiffevalError

# Which weights and which code; every other option replaces what the checkpoint declares.
_FINDING = ("model", "key", "raw", "safety_checker", "vae_tiling", "revision", "offline")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a checkpoint; None leaves it to what the files, or the factory, declare.

    Attributes:
        model: the factory of the network, ``pkg.module:factory`` or ``file.py:factory``.
        key: where the weights lie in the file, e.g. ``ema``.
        raw: True for the weights without averaging, False for the averaged ones; None takes averaged ones first.
        null_class: the class index that stands for no condition, or ``none``.
        schedule: a name of diffusers', an ``.npy`` file with alpha-bar at each timestep, or a diffusers scheduler's
            configuration (a folder or JSON file).
        timesteps: T, of a schedule that is given by name, and of EDM's grid.
        zero_snr: whether the named schedule is rescaled to zero terminal SNR.
        prediction: what the network predicts.
        value_range: that pixels were mapped to.
        time: what the network takes as time: step, t/T, log-snr, sigma or none.
        classes: number of classes, the null class not counted.
        shape: (C, H, W) of the network's input.
        preconditioning: ``edm``, ``edm-denoiser`` or ``none``; after a colon, e.g. ``edm:sigma_max=160``, its numbers.
        learned_variance: whether the network's output holds a variance behind the prediction, on C more channels.
        safety_checker: whether a pipeline's own may blank images; None for as it is.
        vae_tiling: whether a pipeline's images are decoded in overlapping tiles, for which less memory is enough.
        revision: of a checkpoint on the hub.
        offline: never ask the network.
    """

    model: str | None = None
    key: str | None = None
    raw: bool | None = None
    null_class: int | Literal["none"] | None = None
    schedule: str | None = None
    timesteps: int | None = None
    zero_snr: bool | None = None
    prediction: str | None = None
    value_range: tuple[float, float] | None = None
    time: str | None = None
    classes: int | None = None
    shape: tuple[int, int, int] | None = None
    preconditioning: str | None = None
    learned_variance: bool | None = None
    safety_checker: bool | None = None
    vae_tiling: bool = False
    revision: str | None = None
    offline: bool = False

    def given(self) -> dict[str, Any]:
        """The options that the user gave, by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}

    def refuse(self, who: str, names: tuple[str, ...], why: str) -> None:
        """Refuses options that a loader cannot honour.

        Raises:
            DiffevalError: if one of ``names`` was given.
        """
        for name in names:
            if name in self.given():
                raise DiffevalError(f"checkpoint: {flag(name)} is given, but {who} {why}; leave {flag(name)} out")


def flag(name: str) -> str:
    """The option as the command line spells it."""
    return "--" + name.replace("_", "-")


OVERRIDES = tuple(one.name for one in fields(LoadOptions) if one.name not in _FINDING)
