"""Loader for a weights file of anyone's own network: ``FILE --model file.py:factory``."""

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from diffeval.checkpoints.build import Found, build
from diffeval.checkpoints.checkpoint import LOADERS, Checkpoint
from diffeval.checkpoints.factory import make_network, network_code_sha256
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.safe_reading import SUFFIXES, read_weights
from diffeval.checkpoints.state_dicts import Candidate, choose, dicts_of_tensors
from diffeval.errors import DiffevalError
from diffeval.usercode import FORMS


class WeightsFile:
    """``FILE.safetensors|.pt|.pth|.ckpt|.bin`` with the network that the user's factory makes."""

    def accepts(self, spec: str, options: LoadOptions) -> bool:
        """Whether ``spec`` is such a file."""
        path = Path(spec)
        return path.is_file() and (path.suffix in SUFFIXES or options.model is not None)

    def load(self, spec: str, options: LoadOptions) -> Checkpoint:
        """See ``Loader``."""
        options.refuse("a weights file", ("revision",), "has none")
        path = Path(spec)
        tree = read_weights(path)
        if options.model is None:
            inside = ", ".join(f"{where or 'top level'} ({len(held)})" for where, held in dicts_of_tensors(tree))
            raise DiffevalError(
                f"checkpoint: {path} holds weights ({inside or 'no tensors by name'}) and no network; say which "
                f"network they are of with --model {FORMS}"
            )
        network, declaration = make_network(options.model)
        weights = choose(tree, network, path, key=options.key, raw=options.raw)
        fill(network, weights.used)
        with path.open("rb") as file:
            parts = (
                hashlib.file_digest(file, "sha256").hexdigest(),
                network_code_sha256(options.model, network),
                options.model.rpartition(":")[2],
                weights.used.label,
            )
        found = Found(
            name=path.stem,
            path=path,
            sha256=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
            network=network,
            raw=None if weights.raw is None else _raw(path, network, weights.raw.label, options),
            weights=weights.said,
            declaration=declaration,
        )
        return build(found, options)


LOADERS.register("weights-file")(WeightsFile())


def fill(network: torch.nn.Module, weights: Candidate) -> None:
    """Puts the weights into the network, which keeps its dtype, float32."""
    network.load_state_dict(dict(weights.state))


def _raw(path: Path, network: torch.nn.Module, label: str, options: LoadOptions) -> Callable[[], torch.nn.Module]:
    """Loads the weights at ``label`` into a copy of the network; the file is read again, not held in memory."""

    def load() -> torch.nn.Module:
        other = copy.deepcopy(network).cpu()
        fill(other, choose(read_weights(path), other, path, key=label or None, raw=True).used)
        return other

    return load
