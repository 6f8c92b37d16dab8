"""``--model``: the network that the user's own code makes, and what it declares."""

import hashlib
from pathlib import Path

import torch

from diffeval.checkpoints.declaration import Declaration
from diffeval.errors import DiffevalError
from diffeval.usercode import call_factory, code_sha256


def make_network(spec: str) -> tuple[torch.nn.Module, Declaration]:
    """Calls the factory: the network, and what it declares; nothing where it returns the network alone.

    The network's random initial weights are drawn without moving the global random state.

    Raises:
        DiffevalError: if there is no such factory, it fails, or returns something else.
    """
    who = f"checkpoint: --model {spec}"
    with torch.random.fork_rng(devices=[]):
        made = call_factory(who, spec)
    network, declaration = made if isinstance(made, tuple) and len(made) == 2 else (made, Declaration())
    if not isinstance(network, torch.nn.Module) or not isinstance(declaration, Declaration):
        kinds = ", ".join(type(part).__name__ for part in (made if isinstance(made, tuple) else (made,)))
        raise DiffevalError(f"{who} returns {kinds}; needs a torch.nn.Module and a diffeval.Declaration")
    return network.cpu().eval().requires_grad_(False).float(), declaration


def network_code_sha256(spec: str, network: torch.nn.Module) -> str:
    """sha256 over the user's code: the factory's file, and those of the network's layers."""
    where = spec.rpartition(":")[0]
    layers = {type(layer).__module__ for layer in network.modules()}
    if not where.endswith(".py"):
        return code_sha256({where, *layers})
    return hashlib.sha256(Path(where).read_bytes() + code_sha256(layers).encode()).hexdigest()
