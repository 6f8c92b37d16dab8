"""A ``UNet2DModel`` in a folder: its weights, its table of classes, how it is called."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.utils import logging

from diffeval.checkpoints.room import require_sound
from diffeval.checkpoints.safe_reading import read_weights
from diffeval.checkpoints.scheduler_config import read_json
from diffeval.errors import DiffevalError

WEIGHTS = "diffusion_pytorch_model"


def read_network(folder: Path) -> UNet2DModel:
    """The network, float32, in eval mode; a pickle is read only if it holds tensors and nothing that runs.

    Raises:
        DiffevalError: if the weights are damaged, or do not fit config.json.
    """
    files = weights_files(folder)
    if not files:
        raise DiffevalError(f"checkpoint: {folder} holds a config.json and no weights ({WEIGHTS}.safetensors or .bin)")
    pickled = files[0].suffix == ".bin"
    # Read ahead of diffusers, so that one that is refused, or cut short, is refused by name.
    tensors = sum(_tensors(read_weights(file), file) for file in files)
    variant = files[0].name.removeprefix(WEIGHTS).split("-")[0].strip(".").split(".")[0]
    with quiet_diffusers():
        require_sound(UNet2DModel, read_json(folder / "config.json"), folder, tensors)
    try:
        with quiet_diffusers():
            network, info = UNet2DModel.from_pretrained(
                folder,
                use_safetensors=not pickled,
                variant=None if variant in ("safetensors", "bin", "") else variant,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # of configurations diffusers checks next to nothing
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


def _tensors(held: Any, file: Path) -> int:
    """How many tensors a file holds by name."""
    if not isinstance(held, Mapping) or not all(isinstance(one, torch.Tensor) for one in held.values()):
        raise DiffevalError(f"checkpoint: {file} holds no tensors by name, as a diffusers folder has them; restore it")
    return len(held)


def weights_files(folder: Path) -> list[Path]:
    """The weights to read: safetensors before pickles, full precision before a variant such as fp16."""
    for suffix in ("safetensors", "bin"):
        for names in (f"{WEIGHTS}.{suffix}", f"{WEIGHTS}*.{suffix}"):
            files = sorted(folder.glob(names))
            if files:
                return files
    return []


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """What diffusers logs at loading, we refuse or do not mind."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def class_embeddings(network: UNet2DModel, folder: Path) -> int | None:
    """Size of the table of class embeddings; None for an unconditional network."""
    if network.class_embedding is None:
        return None
    count = getattr(network.class_embedding, "num_embeddings", None)
    if count is None:
        kind = network.config.class_embed_type
        raise DiffevalError(
            f"checkpoint: {folder} has class_embed_type {kind!r}, whose class embedding is no table of classes; this "
            f"version cannot sample it"
        )
    return int(count)


def call_network(
    network: torch.nn.Module, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None
) -> torch.Tensor:
    """Calls the network as diffusers has it."""
    prediction: torch.Tensor = network(x, t, class_labels=condition).sample
    return prediction


def weights_hash(network: torch.nn.Module) -> str:
    """sha256 over names and values of a network's tensors, however their file is written."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
