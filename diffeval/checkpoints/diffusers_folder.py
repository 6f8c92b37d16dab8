"""Loader for a folder in one of diffusers' layouts with a pixel-space ``UNet2DModel``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel

from diffeval.checkpoints.build import Found, build
from diffeval.checkpoints.card import FILE_NAME, Card, read_card
from diffeval.checkpoints.checkpoint import LOADERS, Checkpoint, sha256_of_files
from diffeval.checkpoints.declaration import UNIT_RANGE, Declaration
from diffeval.checkpoints.diffusers_network import (
    call_network,
    class_embeddings,
    read_network,
    weights_files,
    weights_hash,
)
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.pipeline_folder import kind_of
from diffeval.checkpoints.pipelines import KINDS
from diffeval.checkpoints.scheduler_config import (
    FILE,
    DeclaredScheduler,
    read_json,
    read_scheduler,
)
from diffeval.diffusion.schedule import named_schedule
from diffeval.errors import DiffevalError

INDEX = "model_index.json"

# Pipelines of pixel-space models, with the scheduler class that each samples by where it is not the file's own.
PIPELINES = {"DDPMPipeline": None, "DDIMPipeline": "DDIMScheduler"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things lie in a folder.

    Attributes:
        network: folder with the network's config.json and weights.
        raw: folder with the weights without averaging, where both are there.
        averaged: whether ``network`` holds averaged weights; None if nothing says so.
        scheduler: folder with the scheduler's configuration, or None.
    """

    network: Path
    raw: Path | None
    averaged: bool | None
    scheduler: Path | None


class DiffusersFolder:
    """Loads a network with its scheduler, and reads ``diffeval.json`` where it lies beside them."""

    def accepts(self, spec: str, options: LoadOptions) -> bool:
        """Whether ``spec`` is a folder with a network in it, and no pipeline that works on latents."""
        return _find(Path(spec)) is not None and kind_of(Path(spec)) is None

    def check(self, folder: Path) -> _Layout:
        """Refuses, by its name, a network that this version does not load; reads no weights."""
        layout = _find(folder)
        assert layout is not None, "the folder was accepted"
        kind = read_json(layout.network / "config.json").get("_class_name")
        if kind != "UNet2DModel":
            raise DiffevalError(f"checkpoint: {layout.network} holds a {kind}, this version loads UNet2DModel")
        _pipeline(folder)
        return layout

    def load(self, spec: str, options: LoadOptions) -> Checkpoint:
        """See ``Loader``."""
        options.refuse("a diffusers folder", ("model", "key"), "names its network itself")
        options.refuse("a folder", ("revision",), "has none")
        folder = Path(spec)
        layout = _wanted(self.check(folder), options, folder)
        card = read_card(folder)
        pipeline = _pipeline(folder)
        scheduler = _scheduler(folder, layout.scheduler, pipeline, options)
        network = _described(layout.network, card, folder)
        classes = class_embeddings(network, layout.network)
        declaration, said = _declaration(network, card, scheduler, pipeline, options, classes)
        found = Found(
            name=folder.resolve().name,
            path=folder,
            sha256=sha256_of_files(folder, _defining(folder, layout)),
            network=network,
            raw=None if layout.raw is None else partial(_described, layout.raw, card, folder),
            weights=_said(layout),
            declaration=declaration,
            embeddings=classes,
            reference_hash=card.data_hash if card else None,
            training_step=card.step if card else None,
            assumptions=said,
            # Where there is a card, that says how the model is sampled.
            sampled_by=None if scheduler is None or card is not None else scheduler.sampled_by,
        )
        return build(found, options)


LOADERS.register("diffusers-folder")(DiffusersFolder())


def _find(folder: Path) -> _Layout | None:
    """The layout: ``unet/`` with ``unet_raw/`` or ``unet_ema/`` beside it, or a network at the top."""
    scheduler = next((place for place in (folder / "scheduler", folder) if (place / FILE).is_file()), None)
    plain, averaged, raw = (folder / name for name in ("unet", "unet_ema", "unet_raw"))
    has = {place: (place / "config.json").is_file() for place in (plain, averaged, raw)}
    if has[averaged]:
        return _Layout(averaged, plain if has[plain] else None, True, scheduler)
    if has[plain]:
        # What trains here averages, and leaves a card.
        averaging = has[raw] or (folder / FILE_NAME).is_file()
        return _Layout(plain, raw if has[raw] else None, averaging or None, scheduler)
    if (folder / "config.json").is_file() and _is_network(folder / "config.json"):
        return _Layout(folder, None, True if folder.name == "unet_ema" else None, scheduler)
    return None


def _is_network(config: Path) -> bool:
    """Whether a config.json is of a diffusers network; never an error."""
    try:
        data = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and "_class_name" in data


def _wanted(layout: _Layout, options: LoadOptions, folder: Path) -> _Layout:
    """The layout with the weights that the user asked for in the network's place."""
    if options.raw is True:
        if layout.raw is None:
            raise DiffevalError(
                f"checkpoint: --raw is given, but {folder} holds one set of weights; leave --raw out, or give the "
                f"folder with both (unet/ and unet_ema/, or unet/ and unet_raw/)"
            )
        return _Layout(layout.raw, None, False, layout.scheduler)
    if options.raw is False and not layout.averaged:
        raise DiffevalError(f"checkpoint: --ema is given, but nothing in {folder} says that its weights are averaged")
    return layout


def _said(layout: _Layout) -> str:
    """Which weights these are."""
    name = f"{layout.network.name}/"
    if layout.averaged is None:
        return f"{name}; whether they are averaged is not said"
    beside = f"; raw ones in {layout.raw.name}/" if layout.raw is not None else ""
    return f"{'averaged (EMA)' if layout.averaged else 'raw'}, in {name}{beside}"


def _pipeline(folder: Path) -> str | None:
    """Class of the pipeline that the folder declares; one that is not of pixel-space models is refused."""
    if not (folder / INDEX).is_file():
        return None
    name = str(read_json(folder / INDEX).get("_class_name"))
    if name not in PIPELINES:
        raise DiffevalError(f"checkpoint: {folder} is a {name}, this version loads {', '.join((*PIPELINES, *KINDS))}")
    return name


def _scheduler(
    folder: Path, place: Path | None, pipeline: str | None, options: LoadOptions
) -> DeclaredScheduler | None:
    """What the scheduler's file declares; the user's --schedule stands in for one that is missing or unknown."""
    if place is None and options.schedule is None:
        raise DiffevalError(
            f"checkpoint: {folder} has no scheduler/{FILE}, which tells its schedule; give --schedule, e.g. linear, "
            f"or the folder of its scheduler"
        )
    try:
        return None if place is None else read_scheduler(place, PIPELINES.get(pipeline or ""))
    except DiffevalError:
        if options.schedule is None:
            raise
        return None


def _defining(folder: Path, layout: _Layout) -> list[Path]:
    """What defines the model; logs, optimiser state and other weights beside it do not."""
    files = [folder / FILE_NAME, folder / INDEX, layout.network / "config.json", *weights_files(layout.network)]
    if layout.scheduler is not None:
        files.append(layout.scheduler / FILE)
    return [path for path in files if path.is_file()]


def _declaration(
    network: UNet2DModel,
    card: Card | None,
    scheduler: DeclaredScheduler | None,
    pipeline: str | None,
    options: LoadOptions,
    embeddings: int | None,
) -> tuple[Declaration, tuple[str, ...]]:
    """What the folder's files say together, and what they leave open."""
    size = network.config.sample_size
    if size is None and options.shape is None:
        raise DiffevalError("checkpoint: the network's config.json has no sample_size; give --shape, e.g. 3,32,32")
    sides: Sequence[int] = (size, size) if isinstance(size, int) else size or ()
    common: dict[str, Any] = {
        "shape": (network.config.in_channels, *sides) if sides else None,
        "schedule": scheduler.schedule if scheduler else None,
        "time": "step",
        "call": call_network,
    }
    if card is not None:
        if scheduler is not None:
            _check_card(card, scheduler)
        return Declaration(
            **common,
            prediction=card.prediction,
            value_range=card.value_range,
            classes=card.classes,
            null_class=card.null_class,
            sampler=card.sampler.name,
            eta=card.sampler.eta,
            steps=card.sampler.steps,
            reference=card.data,
        ), ()
    undecided = embeddings is not None and options.null_class is None and options.classes is None
    said = (
        f"{embeddings} class embeddings are taken as {embeddings} classes without a null class: guidance is off; "
        f"whether the last is the null class is not declared (--null-class)"
    )
    return Declaration(
        **common,
        prediction=scheduler.prediction if scheduler else None,
        # What these pipelines decode from; a bare network says nothing.
        value_range=UNIT_RANGE if pipeline is not None else None,
        classes=embeddings or 0,
        sampler=scheduler.sampler if scheduler else None,
    ), (said,) if undecided else ()


def _described(place: Path, card: Card | None, folder: Path) -> UNet2DModel:
    """The network in ``place``, whose weights must be those that the card was written for, where it says so."""
    network = read_network(place)
    written = None if card is None else card.weights.get(place.name)
    if card is not None and written not in (None, weights_hash(network)):
        raise DiffevalError(
            f"checkpoint: the weights in {place} are not those that {folder / FILE_NAME} was written for (step "
            f"{card.step}): a save was interrupted (diffeval train ... --resume mends it), or the file was damaged or "
            f"replaced (restore it, or remove {FILE_NAME} if the new weights are meant)"
        )
    return network


def _check_card(card: Card, declared: DeclaredScheduler) -> None:
    """Both files were written at once; where they differ, one was changed."""
    expected = named_schedule(card.schedule, card.timesteps, zero_snr=card.zero_snr)
    if expected.sha256() != declared.schedule.sha256() or card.prediction != declared.prediction:
        raise DiffevalError(
            f"checkpoint: {FILE_NAME} says {card.schedule} with {card.prediction}, scheduler/ says "
            f"{declared.schedule.name} with {declared.prediction}; one of the two files was changed"
        )
