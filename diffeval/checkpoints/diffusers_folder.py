"""Loader for a folder in diffusers' layout with a pixel-space ``UNet2DModel``: ``unet/`` and ``scheduler/``."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel

from diffeval.checkpoints.card import FILE_NAME, Card, read_card
from diffeval.checkpoints.checkpoint import LOADERS, Checkpoint, identity, sha256_of_files
from diffeval.checkpoints.options import LoadOptions
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.prediction import PREDICTION_TYPES, PredictionType
from diffeval.diffusion.samplers import Sampler, named_sampler
from diffeval.diffusion.schedule import NoiseSchedule, from_betas, named_schedule
from diffeval.errors import DiffevalError

UNIT_RANGE = (-1.0, 1.0)

# What defines the model; logs, optimiser state and raw weights beside it do not.
_DEFINING = (FILE_NAME, "unet/*", "scheduler/*")


@dataclass(frozen=True, slots=True)
class _Declared:
    """What the scheduler's configuration says."""

    schedule: NoiseSchedule
    prediction: PredictionType
    sampler: Sampler


class DiffusersFolder:
    """Loads ``unet/`` with ``scheduler/``, and reads ``diffeval.json`` where it lies beside them."""

    def accepts(self, spec: str, options: LoadOptions) -> bool:
        """Whether ``spec`` is a folder with a network in it."""
        return (Path(spec) / "unet" / "config.json").is_file()

    def load(self, spec: str, options: LoadOptions) -> Checkpoint:
        """See ``Loader``."""
        for name in options.given():
            options.refuse("this version's loader of diffusers folders", (name,), "does not know it")
        folder = Path(spec)
        config = _read_json(folder / "unet" / "config.json")
        if config.get("_class_name") != "UNet2DModel":
            raise DiffevalError(
                f"checkpoint: {folder}/unet holds a {config.get('_class_name')}, this version loads UNet2DModel"
            )
        card = read_card(folder)
        declared = _declared(folder)
        network = _read_network(folder / "unet")
        size = network.config.sample_size
        if size is None:
            raise DiffevalError(f"checkpoint: {folder}/unet/config.json has no sample_size; add the image size to it")
        height, width = (size, size) if isinstance(size, int) else size
        classes, null_class, assumptions = _classes(network, card)
        sampler, steps = _sampler(card, declared)
        value_range = card.value_range if card else UNIT_RANGE
        return Checkpoint(
            name=folder.resolve().name,
            path=folder,
            sha256=sha256_of_files(folder, [path for pattern in _DEFINING for path in folder.glob(pattern)]),
            network=network,
            denoiser=_denoiser(network),
            raw=(lambda: _read_network(folder / "unet_raw")) if (folder / "unet_raw").is_dir() else None,
            schedule=declared.schedule,
            prediction=declared.prediction,
            shape=(network.config.in_channels, height, width),
            value_range=value_range,
            classes=classes,
            null_class=null_class,
            decode=identity if value_range == UNIT_RANGE else _to_unit_range(value_range),
            sampler=sampler,
            steps=steps,
            reference=card.data if card else None,
            reference_hash=card.data_hash if card else None,
            assumptions=assumptions,
        )


LOADERS.register("diffusers-folder")(DiffusersFolder())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DiffevalError(f"checkpoint: cannot read {path}: {error}; is this a diffusers folder?") from error
    if not isinstance(data, dict):
        raise DiffevalError(f"checkpoint: {path} holds no JSON object; is this a diffusers folder?")
    return data


def _read_network(folder: Path) -> UNet2DModel:
    """The network from safetensors, float32, in eval mode; pickled weights are not read."""
    try:
        network, info = UNet2DModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DiffevalError(f"checkpoint: cannot load the weights in {folder}: {reason}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # diffusers only logs these, and leaves missing weights at random values.
        if info.get(what):
            named = ", ".join(map(str, list(info[what])[:3]))
            raise DiffevalError(
                f"checkpoint: the weights in {folder} do not fit its config.json: {len(info[what])} "
                f"{what.replace('_', ' ')}, e.g. {named}"
            )
    return network.eval().requires_grad_(False).float()


def _denoiser(network: UNet2DModel) -> Denoiser:
    conditional = network.class_embedding is not None

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        prediction: torch.Tensor = network(x, t, class_labels=condition if conditional else None).sample
        return prediction

    return denoise


def _to_unit_range(value_range: tuple[float, float]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Decoder of a model whose data lay in another range."""
    low, high = value_range

    def decode(x: torch.Tensor) -> torch.Tensor:
        return (x - low) / (high - low) * 2.0 - 1.0

    return decode


def _declared(folder: Path) -> _Declared:
    path = folder / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        raise DiffevalError(f"checkpoint: {folder} has no scheduler/scheduler_config.json, which tells its schedule")
    config = _read_json(path)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        raise DiffevalError(f"checkpoint: {path} says prediction_type {prediction!r}; known: {PREDICTION_TYPES}")
    shown = {
        key: value
        for key, value in config.items()
        if not key.startswith("_")
        and key
        not in {"trained_betas", "prediction_type", "num_train_timesteps", "beta_schedule", "beta_start", "beta_end"}
        and key != "rescale_betas_zero_snr"
    }
    name = str(config.get("_class_name", ""))
    sampler = Sampler("declared", name, shown, default_steps=1000 if name == "DDPMScheduler" else 50)
    return _Declared(_schedule(config, path), prediction, sampler)


def _schedule(config: dict[str, Any], path: Path) -> NoiseSchedule:
    """The schedule as the configuration describes it, through diffusers' own arithmetic."""
    from diffusers import DDPMScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "rescale_betas_zero_snr")
    try:
        if config.get("trained_betas") is not None:
            return from_betas(config["trained_betas"])
        scheduler = DDPMScheduler(**{key: config[key] for key in keys if key in config})
    except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        raise DiffevalError(f"checkpoint: {path} describes no noise schedule: {str(error)[:120]}") from error
    return from_betas(scheduler.betas.tolist(), str(config.get("beta_schedule", "linear")))


def _sampler(card: Card | None, declared: _Declared) -> tuple[Sampler, int]:
    """The card's word goes before the scheduler file's: that one was written for training."""
    if card is None:
        return declared.sampler, min(declared.sampler.default_steps, declared.schedule.timesteps)
    expected = named_schedule(card.schedule, card.timesteps, zero_snr=card.zero_snr)
    if expected.sha256() != declared.schedule.sha256() or card.prediction != declared.prediction:
        raise DiffevalError(
            f"checkpoint: {FILE_NAME} says {card.schedule} with {card.prediction}, scheduler/ says "
            f"{declared.schedule.name} with {declared.prediction}; one of the two files was changed"
        )
    sampler = named_sampler(
        card.sampler.name,
        declared.schedule,
        declared.prediction,
        eta=card.sampler.eta,
        bounded=card.value_range == UNIT_RANGE,
    )
    return sampler, card.sampler.steps


def _classes(network: UNet2DModel, card: Card | None) -> tuple[tuple[str, ...], int | None, tuple[str, ...]]:
    if card is not None:
        return card.classes, card.null_class, ()
    embedding = network.class_embedding
    if embedding is None:
        return (), None, ()
    count = getattr(embedding, "num_embeddings", None)
    if count is None:
        raise DiffevalError("checkpoint: the class embedding is no table of classes; this version cannot sample it")
    said = f"{count} class embeddings are taken as {count} classes without a null class: guidance is off"
    return tuple(str(index) for index in range(count)), None, (said,)
