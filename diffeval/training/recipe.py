"""What a training run is made of, checked before anything starts."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from diffusers import UNet2DModel

from diffeval.diffusion.prediction import PREDICTION_TYPES, PredictionType
from diffeval.diffusion.sampling import DTYPES
from diffeval.diffusion.schedule import SCHEDULE_NAMES
from diffeval.errors import DiffevalError, in_line
from diffeval.registry import did_you_mean

LearningRate = Literal["cosine", "constant"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A U-Net for images up to a size. Attention sits at the lowest resolution; one level less is one downsampling."""

    largest: int
    channels: tuple[int, ...]
    layers: int
    heads_dim: int


# Smallest that fits is the default. The 8-pixel network has 0.7 million parameters.
PRESETS: dict[str, Preset] = {
    "8px": Preset(16, (32, 64), 1, 16),
    "32px": Preset(40, (64, 128, 128), 2, 32),
    "64px": Preset(96, (96, 192, 288, 384), 2, 32),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a DDPM is trained.

    Attributes:
        schedule: name of the noise schedule.
        zero_snr: rescale it to zero terminal SNR.
        prediction: what the network predicts.
        timesteps: T.
        drop_condition: probability of training an image without its class.
        conditional: whether classes are used at all.
        ema: decay of the weight average that ships.
        lr: peak learning rate.
        lr_schedule: after the warm-up, ``cosine`` to zero at the last step, or ``constant``.
        warmup: steps of linear warm-up.
        batch: training images per optimiser step.
        steps: optimiser steps.
        clip: largest gradient norm.
        seed: of initial weights, order of images, noise and timesteps.
        dtype: fp32, or bf16 or fp16 for autocast.
        preset: name of a network size; None for the smallest that fits the images.
    """

    schedule: str = "squaredcos_cap_v2"
    zero_snr: bool = False
    prediction: PredictionType = "epsilon"
    timesteps: int = 1000
    drop_condition: float = 0.1
    conditional: bool = True
    ema: float = 0.995
    lr: float = 2e-3
    lr_schedule: LearningRate = "cosine"
    warmup: int = 100
    batch: int = 128
    steps: int = 2000
    clip: float = 1.0
    seed: int = 0
    dtype: str = "fp32"
    preset: str | None = None

    def check(self) -> None:
        """Refuses what cannot be trained.

        Raises:
            DiffevalError: naming the option.
        """
        for what, name, known in (
            ("--schedule", self.schedule, SCHEDULE_NAMES),
            ("--prediction", self.prediction, PREDICTION_TYPES),
            ("--dtype", self.dtype, tuple(DTYPES)),
            ("--lr-schedule", self.lr_schedule, get_args(LearningRate)),
            ("--preset", self.preset or "8px", tuple(PRESETS)),
        ):
            if name not in known:
                raise DiffevalError(f"train: unknown {what} {name!r};{did_you_mean(name, known)}")
        if self.dtype == "fp16":
            raise DiffevalError("train: --dtype fp16 loses small gradients; use bf16 or fp32")
        if self.zero_snr and self.prediction == "epsilon":
            raise DiffevalError(
                "train: --zero-snr with --prediction epsilon: at the last timestep the noise is the input itself and "
                "nothing is learnt; use --prediction v_prediction"
            )
        for option, value, least, most in (
            ("--drop-condition", self.drop_condition, 0.0, 0.99),
            ("--ema", self.ema, 0.0, 0.999999),
            ("--lr", self.lr, 1e-8, 1.0),
            ("--batch", self.batch, 1, 1 << 20),
            ("--steps", self.steps, 1, 1 << 30),
            ("--timesteps", self.timesteps, 10, 100_000),
            ("--clip", self.clip, 1e-6, 1e6),
            ("--warmup", self.warmup, 0, 1 << 30),
            ("--seed", self.seed, 0, (1 << 63) - 1),
        ):
            if not least <= value <= most:
                got = f"{value:g}" if isinstance(value, float) else in_line(str(value), 60)
                raise DiffevalError(f"train: {option} is {got}, must be from {least:g} to {most:g}")

    def differs_from(self, other: "Recipe") -> str | None:
        """Why a run of the other recipe cannot be continued with this one; more steps are fine at a constant rate."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine == theirs or (field.name == "steps" and self.lr_schedule == "constant"):
                continue
            return f"{field.name} was {theirs}, now {mine}"
        return None


def preset_for(size: int, name: str | None) -> Preset:
    """The preset that the user names, or the smallest that fits images of ``size`` pixels.

    Raises:
        DiffevalError: if the images are too large for every preset, or do not divide by its downsampling.
    """
    fitting = [preset for preset in PRESETS.values() if size <= preset.largest]
    if name is None and not fitting:
        raise DiffevalError(
            f"train: images of {size} pixels; the largest preset takes {max(p.largest for p in PRESETS.values())}"
        )
    preset = PRESETS[name] if name is not None else fitting[0]
    factor = 2 ** (len(preset.channels) - 1)
    if size % factor:
        raise DiffevalError(f"train: images of {size} pixels do not divide by {factor}, as this preset needs")
    return preset


def make_network(preset: Preset, shape: tuple[int, int, int], classes: int) -> UNet2DModel:
    """A ``UNet2DModel`` of the preset; with classes, one more embedding stands for the null condition."""
    levels = len(preset.channels)
    return UNet2DModel(
        sample_size=shape[1],
        in_channels=shape[0],
        out_channels=shape[0],
        layers_per_block=preset.layers,
        block_out_channels=preset.channels,
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        attention_head_dim=preset.heads_dim,
        norm_num_groups=8,
        num_class_embeds=classes + 1 if classes else None,
    )
