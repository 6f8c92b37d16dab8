"""The one sampling loop: noise and labels by index, a diffusers scheduler, guidance, uint8 images out."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diffeval.diffusion.conditions import Prompts, labels_of
from diffeval.diffusion.guidance import Denoiser, guided, within
from diffeval.diffusion.noise import StepNoise, initial_noise, step_generators
from diffeval.diffusion.prediction import PredictionType
from diffeval.diffusion.samplers import Sampler, build_scheduler, is_stochastic
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError

# How x in [-1, 1] becomes a level, clipped to 0..255 afterwards; the name is in the protocol. ADM's and EDM's sampling
# scripts each have their own rule, and published numbers stand on it.
ROUNDINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nearest": lambda x: ((x + 1.0) * 127.5).round(),
    "adm": lambda x: ((x + 1.0) * 127.5).floor(),
    "edm": lambda x: (x * 127.5 + 128.0).floor(),
}

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 that is float32: TF32, on by default for convolutions on recent GPUs, is off inside, and put back."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def told_timesteps(timesteps: torch.Tensor, device: torch.device) -> list[torch.Tensor]:
    """A sampler's timesteps as a network is told them, one tensor each, brought to its device in one copy.

    Where all are whole numbers they are int64, so that nobody has to look at them there.
    """
    whole = bool((timesteps == timesteps.round()).all())
    return list((timesteps.long() if whole else timesteps).to(device).unbind())


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a sampler.

    Attributes:
        t: the timestep that the network is told; some samplers use values between two.
        seen: what the network is given, x_t scaled as in training: float32 [b, C, H, W].
        output: the guided prediction there, float32.
        after: what the sampler holds after the step, in its own scale; x_0 after the last one.
    """

    t: float
    seen: torch.Tensor
    output: torch.Tensor
    after: torch.Tensor


@dataclass(frozen=True, slots=True)
class Generator:
    """Everything that turns image indices into images.

    Attributes:
        denoiser: f(x, t, condition) on ``device``, in ``dtype``.
        shape: (C, H, W) of what the denoiser works on.
        schedule: the noise schedule that it was trained with.
        prediction: what it predicts.
        sampler: how to sample.
        steps: how many steps.
        w: guidance scale; None for a model without a condition.
        classes: number of classes, 0 without.
        null_class: the index that stands for no condition; None if there is none.
        seed: keys the noise.
        device: where the denoiser is.
        dtype: name in ``DTYPES``.
        decode: maps the final x_0 (float32, on ``device``) to pixels in [-1, 1].
        rounding: name in ``ROUNDINGS``.
        interval: noise levels sigma, low and high, at which guidance acts (elsewhere w is 1); None for all.
        rescale: phi, how far guided predictions are scaled back to the spread of conditional ones, 0 to 1.
        prompts: which prompt each image has, where conditions are prompts.
        pixels: (C, H, W) of the images, where they are decoded to another shape.
        distilled: whether the denoiser was made for ``w``, which then is not applied here.
    """

    denoiser: Denoiser
    shape: tuple[int, int, int]
    schedule: NoiseSchedule
    prediction: PredictionType
    sampler: Sampler
    steps: int
    w: float | None
    classes: int
    null_class: int | None
    seed: int
    device: torch.device
    dtype: str
    decode: Callable[[torch.Tensor], torch.Tensor]
    rounding: str = "nearest"
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    prompts: Prompts | None = None
    pixels: tuple[int, int, int] | None = None
    distilled: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return self.pixels or self.shape

    @property
    def branches(self) -> int:
        """Predictions that a step takes of the network for each image."""
        return 1 if self.distilled or self.w in (None, 0.0, 1.0) else 2

    @property
    def calls(self) -> int:
        """Network calls that a batch takes; both branches of guidance go in one."""
        return len(self._timesteps())

    @property
    def guided_calls(self) -> int:
        """Of these calls, those that are made inside the guidance interval; all without one."""
        return sum(within(self.interval, self._log_snr(float(t))) for t in self._timesteps())

    def _timesteps(self) -> torch.Tensor:
        found: torch.Tensor = build_scheduler(self.sampler, self.schedule, self.prediction, self.steps).timesteps
        return found

    @property
    def limit(self) -> None:
        """There is an image for every index."""

    def labels(self, indices: Sequence[int]) -> npt.NDArray[np.int64] | None:
        """Class of each image, by the rule in ``conditions``; None for a model without classes."""
        if not self.classes or not indices:
            return None
        return labels_of(indices, self.classes)

    @torch.inference_mode()
    def images(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Images of these indices as one batch: uint8 [len(indices), C, H, W].

        Raises:
            DiffevalError: if the network's output stops being finite.
        """
        return self.to_uint8(self.decode(self.latents(indices)), indices)

    @torch.inference_mode()
    def latents(self, indices: Sequence[int], *, same_start: bool = False) -> torch.Tensor:
        """What the sampler ends with, before it is decoded and rounded: float32 [len(indices), C, H, W]."""
        last = deque(self.walk(indices, same_start=same_start), maxlen=1)
        return last[0].after

    @torch.inference_mode()
    def walk(self, indices: Sequence[int], *, same_start: bool = False) -> Iterator[Step]:
        """The sampler's steps, from x_T to x_0, for these indices as one batch.

        Args:
            indices: of the images.
            same_start: whether the network is to see at first exactly the noise. Some samplers scale it by a few
                per mille where a schedule ends with signal left, and then differ from others from the start.
        """
        noise = torch.cat([initial_noise(*key, self.shape) for key in self._keys(indices)])
        condition, null = self._conditions(indices)
        yield from self.follow(noise, condition, null, self._step_options(indices), same_start=same_start)

    @torch.inference_mode()
    def follow(
        self,
        noise: torch.Tensor,
        condition: torch.Tensor | None,
        null: torch.Tensor | None,
        options: Mapping[str, Any],
        *,
        same_start: bool = False,
    ) -> Iterator[Step]:
        """The sampler's steps from noise of anyone's.

        Args:
            noise: standard normal, float32 [b, C, H, W].
            condition: what the denoiser takes, int64 [b]; None for a model without a condition.
            null: what stands for no condition, of each; None without.
            options: arguments of the scheduler's ``step``.
            same_start: see ``walk``.
        """
        scheduler = build_scheduler(self.sampler, self.schedule, self.prediction, self.steps)
        noise = noise.to(self.device)
        x = noise * scheduler.init_noise_sigma
        if same_start:
            x = x * (noise.norm() / scheduler.scale_model_input(x, scheduler.timesteps[0]).norm())
        # The scheduler reckons with timesteps on the CPU, the network has its own: nothing is fetched at a step.
        told = told_timesteps(scheduler.timesteps, self.device)
        drawn, options = self._drawn(dict(options), len(told))
        for number, t in enumerate(scheduler.timesteps):
            seen = scheduler.scale_model_input(x, t)
            output = self._predict(seen, float(t), told[number], condition, null)
            with drawn:
                x = scheduler.step(output, t, x, **options, return_dict=False)[0]
            yield Step(float(t), seen, output, x)

    def _drawn(self, options: dict[str, Any], steps: int) -> tuple[AbstractContextManager[Any], dict[str, Any]]:
        """Where steps are taken, and their options: generators, one of each image, draw for many steps at once."""
        own = options.get("generator")
        if not isinstance(own, list):
            return nullcontext(), options
        noise = StepNoise(own, self.shape, steps, self.device)
        return noise, {**options, "generator": noise.generator}

    def _step_options(self, indices: Sequence[int]) -> dict[str, Any]:
        options = dict(self.sampler.step_options)
        if is_stochastic(self.sampler):
            options["generator"] = [one for key in self._keys(indices) for one in step_generators(*key)]
        return options

    def _keys(self, indices: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """What keys the noise: seeds, and the indices of each; a prompt with a seed of its own has another."""
        if self.prompts is None or not any(seed is not None for seed in self.prompts.seeds):
            return [(self.seed, indices)]
        return [(seed, [index]) for seed, index in self.prompts.keys(self.seed, indices)]

    def _conditions(self, indices: Sequence[int]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if self.prompts is not None:
            rows = self.prompts.of(indices)
            nulls = np.array(self.prompts.nulls)[rows]
            return torch.from_numpy(rows).to(self.device), torch.from_numpy(nulls).to(self.device)
        labels = self.labels(indices)
        if labels is None:
            return None, None
        condition = torch.from_numpy(labels).to(self.device)
        return condition, None if self.null_class is None else torch.full_like(condition, self.null_class)

    def _predict(
        self,
        x: torch.Tensor,
        t: float,
        told: torch.Tensor,
        condition: torch.Tensor | None,
        null: torch.Tensor | None,
    ) -> torch.Tensor:
        """Guided prediction in float32; only the network itself runs in ``dtype``, not the sampler."""
        inside = self.w is None or within(self.interval, self._log_snr(t))
        w = self.w if inside and not self.distilled else None if self.w is None else 1.0
        return self._guided(x, told, condition, null, w)

    def _guided(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        condition: torch.Tensor | None,
        null: torch.Tensor | None,
        w: float | None,
    ) -> torch.Tensor:
        with self._autocast():
            return guided(self.denoiser, x.float(), t, condition, null, w, self.rescale).float()

    @torch.inference_mode()
    def trial(self, count: int) -> list[torch.Tensor]:
        """Predictions on noise of ``count`` images, float32: the network is called once in each way that sampling is.

        With an interval guidance is on and off; else there is one way.
        """
        x = initial_noise(self.seed, range(count), self.shape).to(self.device)
        condition, null = self._conditions(range(count))
        t = told_timesteps(torch.tensor([self.schedule.timesteps // 2]), self.device)[0]
        acting = self.w if not self.distilled or self.w is None else 1.0
        ways = [acting] if self.interval is None or acting in (None, 1.0) else [acting, 1.0]
        return [self._guided(x, t, condition, null, w) for w in ways]

    def _log_snr(self, t: float) -> float:
        """At a timestep, or between two."""
        if self.interval is None:
            return 0.0
        return float(np.interp(t, np.arange(self.schedule.timesteps), np.maximum(self.schedule.log_snr, -1e4)))

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == "fp32":
            return full_precision()
        return torch.autocast(self.device.type, DTYPES[self.dtype])

    def to_uint8(self, x: torch.Tensor, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Pixels in [-1, 1], float32 [b, C, H, W], as levels; ``indices`` name them in messages.

        Raises:
            DiffevalError: if they are not finite.
        """
        finite = torch.isfinite(x).flatten(1).all(dim=1)
        if not bool(finite.all()):
            first = indices[int((~finite).nonzero()[0])]
            raise DiffevalError(
                f"sampling: {int((~finite).sum())} of {len(indices)} images hold NaN or infinity, the first is image "
                f"{first}; try --dtype fp32, another --sampler, or look at the checkpoint"
            )
        levels = ROUNDINGS[self.rounding](x).clamp(0, 255).to(torch.uint8)
        pixels: npt.NDArray[np.uint8] = levels.cpu().numpy()
        return pixels
