"""Loader for a folder of a diffusers pipeline that works on latents, of one of the kinds in ``pipelines``."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch

from diffeval.checkpoints.build import Found, build
from diffeval.checkpoints.checkpoint import LOADERS, Checkpoint, sha256_of_files
from diffeval.checkpoints.components import files_of, read_component, read_tokenizer
from diffeval.checkpoints.declaration import UNIT_RANGE, Declaration
from diffeval.checkpoints.latents import Latents
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.pipeline_sampling import FLUX_SIDE, as_called, declared_shape, drawn_shape
from diffeval.checkpoints.pipelines import KINDS, Kind
from diffeval.checkpoints.safety import CLASSES, safety_checker
from diffeval.checkpoints.scheduler_config import FILE, DeclaredScheduler, read_json, read_scheduler
from diffeval.checkpoints.text import TextCondition
from diffeval.checkpoints.text_encoding import text_condition
from diffeval.checkpoints.text_networks import is_distilled
from diffeval.data.prompts import read_prompts
from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular

INDEX = "model_index.json"
# Prompts that lie beside the weights, used where the user gives none.
PROMPTS = "prompts.csv"
# What the checkpoint was trained on, where somebody says so: {"data": as ``--ref`` takes it, "data_hash": sha256}.
TRAINED = "diffeval.json"


class PipelineFolder:
    """Loads denoiser, scheduler, autoencoder and text encoders, each by the class that the pipeline's kind names."""

    def accepts(self, spec: str, options: LoadOptions) -> bool:
        """Whether ``spec`` is the folder of a pipeline that is loaded here."""
        return kind_of(Path(spec)) is not None

    def load(self, spec: str, options: LoadOptions) -> Checkpoint:
        """See ``Loader``."""
        options.refuse("the folder of a pipeline", ("model", "key", "raw"), "names its network itself")
        options.refuse("a folder", ("revision",), "has none")
        folder = Path(spec)
        kind = kind_of(folder)
        assert kind is not None, "the folder was accepted"
        index = read_json(folder / INDEX)
        classes = check_index(folder, kind, index)
        parts = {name: read_component(folder / name, one) for name, one in classes.items() if "tokenizer" not in name}
        declared = declared_shape(parts[kind.network], kind)
        shape = drawn_shape(declared, options.shape, kind, folder / kind.network)
        scheduler, changed = as_called(kind, _scheduler(folder, index, options), parts[kind.network], shape)
        network, latents = parts[kind.network], latents_of(parts[kind.vae], kind, folder / kind.network)
        text = _text(folder, kind, index, classes, parts, shape)
        found = _found(folder, kind, index, network, scheduler, text, declared)
        if kind.text == "flux" and options.shape is None:
            sides = f"{latents_channels(parts[kind.vae])},{FLUX_SIDE},{FLUX_SIDE}"
            changed = (
                *changed,
                f"no file says how large images are: latents are {sides}, as its pipeline draws (--shape)",
            )
        found = dataclasses.replace(found, assumptions=(*found.assumptions, *changed))
        checkpoint = build(found, options)
        if checkpoint.shape[0] != latents_channels(parts[kind.vae]):
            raise DiffevalError(
                f"checkpoint: {folder}: the network takes {checkpoint.shape[0]} channels, its {kind.vae} makes "
                f"{latents_channels(parts[kind.vae])}"
            )
        latents = dataclasses.replace(latents, shape=_decoded(latents, checkpoint.shape))
        if options.vae_tiling:
            checkpoint, latents = tiled(checkpoint, latents, classes[kind.vae])
        checker, said = safety_checker(folder, index, options)
        return dataclasses.replace(
            checkpoint,
            sha256=checkpoint.sha256 if checker is None else hashed(checkpoint.sha256, "safety checker"),
            decode=latents.decode if checker is None else lambda x: checker(latents.decode(x)),
            latents=latents,
            text=text,
            guidance=1.0 if kind.text == "flux" and not is_distilled(network) else kind.guidance,
            assumptions=(*checkpoint.assumptions, *((said,) if said else ())),
        )


LOADERS.register("diffusers-pipeline")(PipelineFolder())


def hashed(sha256: str, what: str) -> str:
    """The identity of the same files with something more at work."""
    return hashlib.sha256(f"{sha256} {what}".encode()).hexdigest()


def kind_of(folder: Path) -> Kind | None:
    """The pipeline that a folder declares, if it is loaded here; never an error."""
    try:
        data = json.loads(regular(folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return KINDS.get(str(data.get("_class_name"))) if isinstance(data, dict) else None


def check_index(folder: Path, kind: Kind, index: Mapping[str, Any]) -> dict[str, str]:
    """The class of each component that is read; a component of anything else is refused, and never imported.

    Raises:
        DiffevalError: for a component that is missing, of another class, or from another library.
    """
    found = {}
    for name, allowed in kind.parts.items():
        declared = index.get(name)
        if name in kind.optional and declared in (None, [None, None]):
            continue
        known = ", ".join(f"{library}'s {one}" for library, classes in allowed.items() for one in classes)
        if not isinstance(declared, list | tuple) or len(declared) != 2 or None in declared:
            raise DiffevalError(f"checkpoint: {folder / INDEX} names no {name}; a {kind.name} needs {known}")
        library, one = map(str, declared)
        if one not in allowed.get(library, ()):
            raise DiffevalError(
                f"checkpoint: {folder / INDEX} names {library}'s {one} for {name}, which is not loaded; a {kind.name} "
                f"needs {known}"
            )
        if not (folder / name).is_dir():
            raise DiffevalError(f"checkpoint: {folder} has no {name}/, which its {INDEX} names; fetch it whole")
        found[name] = one
    strange = [name for name, one in index.items() if isinstance(one, list) and one != [None, None]]
    unknown = [name for name in strange if name not in (*kind.parts, *kind.left_out, "scheduler")]
    if unknown:
        raise DiffevalError(f"checkpoint: {folder / INDEX} names {unknown[0]}, which a {kind.name} has not")
    return found


def latents_of(vae: torch.nn.Module, kind: Kind, place: Path) -> Latents:
    """The space of an autoencoder, as its configuration scales it; the shape is not known yet."""
    config: Any = vae.config
    scale = getattr(config, "scaling_factor", None)
    if scale is None:
        raise DiffevalError(f"checkpoint: the autoencoder beside {place} has no scaling_factor in its config.json")
    shift = float(getattr(config, "shift_factor", None) or 0.0)
    mean, spread = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    if kind.text != "xl" or mean is None or spread is None:  # no other pipeline reads them
        return Latents(vae, float(scale), shift, (0, 0, 0))
    return Latents(vae, float(scale), shift, (0, 0, 0), mean=tuple(map(float, mean)), spread=tuple(map(float, spread)))


def tiled(checkpoint: Checkpoint, latents: Latents, name: str) -> tuple[Checkpoint, Latents]:
    """The same with an autoencoder that works in overlapping tiles; its images are others, if slightly.

    Raises:
        DiffevalError: if the autoencoder cannot.
    """
    vae: Any = latents.vae
    if not hasattr(vae, "enable_tiling"):
        raise DiffevalError(f"checkpoint: --vae-tiling, but {name} of {checkpoint.name} has no tiles; leave it out")
    vae.enable_tiling()
    said = (
        f"images are decoded in overlapping tiles of {vae.tile_sample_min_size} pixels; where they meet, pixels "
        f"differ slightly from the pipeline's own"
    )
    checkpoint = dataclasses.replace(
        checkpoint, sha256=hashed(checkpoint.sha256, "tiles"), assumptions=(*checkpoint.assumptions, said)
    )
    return checkpoint, dataclasses.replace(latents, tiled=True)


def latents_channels(vae: torch.nn.Module) -> int:
    """Channels that an autoencoder makes of pixels."""
    config: Any = vae.config
    return int(config.latent_channels)


@torch.inference_mode()
def _decoded(latents: Latents, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(C, H, W) of the images: each block but the last of the autoencoder halves a side."""
    config: Any = latents.vae.config
    factor = 2 ** (len(config.block_out_channels) - 1)
    return int(config.out_channels), shape[1] * factor, shape[2] * factor


def _scheduler(folder: Path, index: Mapping[str, Any], options: LoadOptions) -> DeclaredScheduler | None:
    """What the scheduler's file declares, sampled by the class that the pipeline names, as diffusers makes it."""
    place = folder / "scheduler"
    named = index.get("scheduler")
    sampled_by = str(named[1]) if isinstance(named, list) and len(named) == 2 and named[1] else None
    if sampled_by is not None and not hasattr(getattr(diffusers, sampled_by, None), "set_timesteps"):
        raise DiffevalError(
            f"checkpoint: {folder / INDEX} names {sampled_by} for scheduler, which diffusers {diffusers.__version__} "
            f"does not know as one"
        )
    if not (place / FILE).is_file():
        if options.schedule is None:
            raise DiffevalError(f"checkpoint: {folder} has no scheduler/{FILE}; give --schedule, or fetch it whole")
        return None
    try:
        return read_scheduler(place, sampled_by)
    except DiffevalError:
        if options.schedule is None:
            raise
        return None


def _text(
    folder: Path, kind: Kind, index: Mapping[str, Any], classes: Mapping[str, str], parts: Mapping[str, Any],
    shape: tuple[int, int, int],
) -> TextCondition | None:  # fmt: skip
    """How the checkpoint takes text; None for one that takes none."""
    if not kind.encoders:
        return None
    tokenizers = {name: read_tokenizer(folder / name, one) for name, one in classes.items() if "tokenizer" in name}
    files = [file for name in classes if name.startswith(("text", "token")) for file in files_of(folder / name)]
    beside = read_prompts(folder / PROMPTS) if (folder / PROMPTS).is_file() else ()
    return text_condition(kind, index, parts, tokenizers, sha256_of_files(folder, files), beside, shape)


def _found(
    folder: Path,
    kind: Kind,
    index: Mapping[str, Any],
    network: torch.nn.Module,
    scheduler: DeclaredScheduler | None,
    text: TextCondition | None,
    shape: tuple[int, int, int] | None,
) -> Found:
    config: Any = network.config
    classes = _class_names(network, index)
    trained = read_json(folder / TRAINED) if (folder / TRAINED).is_file() else {}
    declaration = Declaration(
        shape=shape,
        schedule=scheduler.schedule if scheduler else None,
        prediction=scheduler.prediction if scheduler else None,
        value_range=UNIT_RANGE,
        time="step",
        classes=classes,
        null_class=len(classes) if classes else None,
        learned_variance=int(config.out_channels or config.in_channels) == 2 * int(config.in_channels),
        sampler=scheduler.sampler if scheduler else None,
        steps=kind.steps if scheduler else None,
        reference=trained.get("data"),
        call=_call(network, text),
    )
    files = [folder / INDEX, *(file for name in kind.parts for file in files_of(folder / name))]
    if scheduler is not None:
        files.append(folder / "scheduler" / FILE)
    left = [name for name in kind.left_out if index.get(name, [None, None]) != [None, None] and name not in CLASSES]
    said = f"{', '.join(left)} of the pipeline {'are' if len(left) > 1 else 'is'} left out: no image is its input"
    return Found(
        name=folder.resolve().name,
        path=folder,
        sha256=sha256_of_files(folder, files),
        network=network,
        raw=None,
        weights=f"{kind.network}/; whether they are averaged is not said",
        declaration=declaration,
        reference_hash=trained.get("data_hash"),
        assumptions=(said,) if left else (),
        sampled_by=None if scheduler is None else scheduler.sampled_by,
    )


def _class_names(network: torch.nn.Module, index: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a network whose transformer has a table of classes, with the names that the pipeline gives them."""
    config: Any = network.config
    count = getattr(config, "num_embeds_ada_norm", None)
    if count is None:
        return ()
    names = index.get("id2label") or {}
    return tuple(str(names.get(str(number), number)).split(",")[0] for number in range(int(count)))


def _call(network: torch.nn.Module, text: TextCondition | None) -> Callable[..., torch.Tensor]:
    if text is not None:
        from diffeval.checkpoints.text_table import NOTHING, TextTable

        return text.network_call(TextTable(text.encode, (NOTHING,), text.encoder), 0)
    config: Any = network.config
    if hasattr(config, "num_embeds_ada_norm"):
        return partial(_call_classes, null=int(config.num_embeds_ada_norm))
    return _call_plain


def _call_classes(
    network: torch.nn.Module, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None, *, null: int
) -> torch.Tensor:
    """A transformer that takes classes; without one, the row of its null class."""
    labels = torch.full((len(x),), null, device=x.device) if condition is None else condition
    prediction: torch.Tensor = network(x, timestep=t, class_labels=labels).sample
    return prediction


def _call_plain(
    network: torch.nn.Module, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None
) -> torch.Tensor:
    prediction: torch.Tensor = network(x, t).sample
    return prediction
