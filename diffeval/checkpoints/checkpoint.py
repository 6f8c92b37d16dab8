"""The one record of a checkpoint, and the loaders that make it, found by folder."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from diffeval.checkpoints.latents import Latents
from diffeval.checkpoints.options import LoadOptions, flag
from diffeval.checkpoints.scheduler_config import SamplingScheduler
from diffeval.data.decode import EXTENSIONS, extension
from diffeval.data.pixels import Shape
from diffeval.data.prompts import Prompt
from diffeval.diffusion.conditions import Prompts
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.prediction import PredictionType
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError
from diffeval.registry import Registry

if TYPE_CHECKING:
    from diffeval.checkpoints.text import TextCondition


def identity(x: torch.Tensor) -> torch.Tensor:
    """The decoder of a model that works on pixels."""
    return x


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A diffusion model as its files declare it. Nothing downstream asks where it came from.

    Attributes:
        name: what the user typed, shortened to a name.
        path: where its files lie.
        sha256: over the files that define it.
        network: the module, in eval mode, float32, on the CPU; EMA weights where there are such.
        denoiser: f(x, t, condition) -> prediction; t is the integer training timestep, condition the class or None.
        raw: loads the weights without EMA, or None; ``with_raw_weights`` is the same as a checkpoint.
        schedule: the noise schedule.
        prediction: what the network predicts.
        shape: (C, H, W) of the network's input.
        value_range: of the data it was trained on.
        classes: names of the classes, empty for an unconditional model.
        null_class: class index that stands for no condition, or None.
        decode: maps x_0 to pixels in [-1, 1].
        sampler: the declared sampler, or None.
        steps: the declared number of steps, or None.
        reference: the data that it was trained on, as ``--ref`` takes it, or None.
        reference_hash: sha256 of that data when it was trained, or None.
        assumptions: what the files leave open and how it was read.
        adapter: makes the denoiser of a network of this kind, such as ``raw()`` loads.
        weights: which weights the network has, in words.
        overrides: what the user declared otherwise than the files, as flags.
        sampled_by: the scheduler that lies beside the weights, as it is configured there; None without.
        latents: the space that the network works in, where that is not pixels.
        text: how it takes text; None for a checkpoint that takes none.
        prompts: the texts that it was given for conditions; empty without.
        asked: which of them each image has; None without.
        guidance: scale that it is meant to be sampled with.
        at_w: the denoiser at a guidance scale, where that is an input of the network (it is guidance-distilled);
            ``denoiser`` is the one at w = 1. None for any other.
        training_step: optimiser steps behind the weights; None where nothing says so.
    """

    name: str
    path: Path
    sha256: str
    network: torch.nn.Module
    denoiser: Denoiser
    raw: Callable[[], torch.nn.Module] | None
    schedule: NoiseSchedule
    prediction: PredictionType
    shape: tuple[int, int, int]
    value_range: tuple[float, float]
    classes: tuple[str, ...]
    null_class: int | None
    decode: Callable[[torch.Tensor], torch.Tensor]
    sampler: Sampler | None
    steps: int | None
    reference: str | None
    reference_hash: str | None = None
    assumptions: tuple[str, ...] = ()
    adapter: Callable[[torch.nn.Module], Denoiser] | None = None
    weights: str = ""
    overrides: tuple[str, ...] = ()
    sampled_by: SamplingScheduler | None = None
    latents: Latents | None = None
    text: "TextCondition | None" = None
    prompts: tuple[Prompt, ...] = ()
    asked: Prompts | None = None
    guidance: float = 1.0
    at_w: Callable[[float], Denoiser] | None = None
    training_step: int | None = None

    @property
    def image_shape(self) -> Shape:
        """(C, H, W) of the images that it makes."""
        return self.latents.shape if self.latents else self.shape

    @property
    def time_agnostic(self) -> bool:
        """Whether the network is declared not to heed the timestep."""
        return getattr(self.adapter, "time", None) == "none"

    def with_raw_weights(self) -> "Checkpoint":
        """The same checkpoint with the weights that were not averaged.

        Raises:
            DiffevalError: if there are none.
        """
        if self.raw is None or self.adapter is None:
            raise DiffevalError(f"checkpoint: {self.name} holds one set of weights, and none without averaging")
        network = self.raw()
        digest = hashlib.sha256(f"{self.sha256} raw".encode()).hexdigest()
        return dataclasses.replace(
            self, network=network, denoiser=self.adapter(network), raw=None, weights="raw", sha256=digest
        )

    def renamed(self, name: str) -> "Checkpoint":
        """The same checkpoint under another name."""
        return dataclasses.replace(self, name=name)


class Loader(Protocol):
    """Turns what a user typed into a Checkpoint."""

    def accepts(self, spec: str, options: LoadOptions) -> bool:
        """Whether this loader is the one for ``spec``; cheap, and never an error."""

    def load(self, spec: str, options: LoadOptions) -> Checkpoint:
        """Loads it.

        Raises:
            DiffevalError: if the files are not what they should be, or an option cannot be honoured.
        """


_FORMS = (
    "give a diffusers folder, or digits for the built-in model, hf:ORG/NAME, or a weights file "
    "(.safetensors, .pt, .pth) with --model"
)

LOADERS: Registry[Loader] = Registry("checkpoint loader", "diffeval.checkpoints")


def load(spec: str | Path, options: LoadOptions | None = None) -> Checkpoint:
    """Loads a checkpoint.

    Args:
        spec: ``digits`` (built in); a diffusers folder; ``hf:ORG/NAME``, with ``@REVISION`` or without; or a weights
            file, with ``options.model``.
        options: what the user says beside it.

    Raises:
        DiffevalError: if no loader knows what ``spec`` is, or its loader cannot read it or cannot honour an option.
    """
    text = str(spec)
    options = options or LoadOptions()
    for name in LOADERS:
        if LOADERS[name].accepts(text, options):
            return _of_a_pipeline(LOADERS[name].load(text, options), options)
    path = Path(text)
    kind, colon, rest = text.partition(":")
    if (path.is_dir() and _holds_images(path)) or (colon and kind in ("folder", "zip", "npz")):
        raise DiffevalError(f"checkpoint: {text} holds images, no network; to measure them: images:{rest or text}")
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir())[:6]
        raise DiffevalError(
            f"checkpoint: {text} is a folder without unet/config.json (it holds: {', '.join(inside) or 'nothing'}); "
            f"{_FORMS}"
        )
    if path.exists():
        raise DiffevalError(f"checkpoint: {text} is a file, and none with weights by its name; {_FORMS}")
    near = " did you mean 'digits'?" if get_close_matches(text, ["digits"], cutoff=0.7) else ""
    raise DiffevalError(f"checkpoint: {text} does not exist;{near} {_FORMS}")


def _of_a_pipeline(checkpoint: Checkpoint, options: LoadOptions) -> Checkpoint:
    """The checkpoint, unless the user says of it what only a pipeline of latents can honour."""
    if checkpoint.latents is None and (options.vae_tiling or options.safety_checker is not None):
        name = "vae_tiling" if options.vae_tiling else "safety_checker"
        raise DiffevalError(
            f"checkpoint: {flag(name)} is of pipelines that work on latents, and {checkpoint.name} works on pixels; "
            f"leave it out"
        )
    return checkpoint


def _holds_images(folder: Path) -> bool:
    """Whether a picture lies in it, or in a folder in it."""
    places = itertools.chain(folder.glob("*"), folder.glob("*/*"))
    return any(extension(path.name) in EXTENSIONS for path in itertools.islice(places, 1000))


def sha256_of_files(root: Path, files: Iterable[Path]) -> str:
    """sha256 over relative names and contents of files, in the order of their names.

    Raises:
        DiffevalError: if one of them is none, but a folder, a pipe, or a link to nothing.
    """
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        if not path.is_file():
            raise DiffevalError(f"checkpoint: {path} is no file; fetch {root} whole")
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
