"""What a network's configuration asks of memory, found on tensors without data before anything is allocated."""

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from diffeval.errors import DiffevalError
from diffeval.usercode import one_line

_IMAGES, _BYTES = 2, 4
# Largest outputs of a layer that are there at once, roughly: a block's input, its output, and the skips.
_AT_ONCE = 4


def free_memory() -> int:
    """Bytes that this process may still take: of the machine's, and of its own limit (``ulimit -v``)."""
    free = int(psutil.virtual_memory().available)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return free if limit == resource.RLIM_INFINITY else min(free, limit - psutil.Process().memory_info().vms)


def require_sound(kind: Any, config: Mapping[str, Any], folder: Path, tensors: int) -> None:
    """Refuses a configuration of which no network can be made, or none that this machine can call on two images.

    The network is made and called without data: that takes no memory, however large its numbers are.

    Args:
        kind: diffusers' class of the network.
        config: its configuration.
        folder: where that lies.
        tensors: how many the weights are.

    Raises:
        DiffevalError: the message says why not.
    """
    where = folder / "config.json"
    blocks = config.get("down_block_types")
    count = len(blocks) if isinstance(blocks, list | tuple) else 0
    layers = sum(_counts(config.get("layers_per_block", 2), count or 4))
    if layers > tensors:
        raise DiffevalError(
            f"checkpoint: {where} asks for {layers} layers, and the weights are {tensors} tensors; restore it"
        )
    try:
        with torch.device("meta"):
            network = kind.from_config(dict(config))
    except Exception as error:  # diffusers looks at none of these values, so that anything can go wrong
        raise DiffevalError(
            f"checkpoint: {where} describes no {kind.__name__} that diffusers can make: {one_line(error)}; restore it"
        ) from error
    shape = _shape(network, where)
    if shape is not None:
        _require_room(network, shape, where)


def _counts(value: Any, blocks: int) -> Iterator[int]:
    """Layers of each block; what is no count is left to diffusers."""
    for one in value if isinstance(value, list | tuple) else [value] * blocks:
        if isinstance(one, int):
            yield one


def _shape(network: torch.nn.Module, where: Path) -> tuple[int, int, int] | None:
    """(C, H, W) that the configuration declares; None where it leaves that open."""
    config: Any = network.config
    size = config.sample_size
    if size is None:
        return None
    sides = size if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or not all(type(one) is int and one > 0 for one in sides):
        raise DiffevalError(f"checkpoint: {where} says sample_size {size!r}, needs a side, or a height and a width")
    return int(config.in_channels), int(sides[0]), int(sides[1])


def _require_room(network: torch.nn.Module, shape: tuple[int, int, int], where: Path) -> None:
    largest = _BYTES * _IMAGES * shape[0] * shape[1] * shape[2]

    def look(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, _BYTES * output.numel())

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    failed: Exception | None = None
    try:
        with torch.inference_mode(), torch.device("meta"):
            x, t = torch.empty(_IMAGES, *shape), torch.zeros(_IMAGES, dtype=torch.int64)
            classes = None if getattr(network, "class_embedding", None) is None else t
            network(x, t, class_labels=classes)
    except Exception as error:
        failed = error
    finally:
        for hook in hooks:
            hook.remove()
    size, free = "x".join(map(str, shape)), free_memory()
    needed = _AT_ONCE * largest
    if needed > free:
        raise DiffevalError(
            f"checkpoint: {where} declares images of {size}, for which a call takes about {needed / 1e9:.3g} GB, and "
            f"{free / 1e9:.3g} GB are free; mend sample_size and channels, or use a larger machine"
        )
    if failed is not None:
        raise DiffevalError(
            f"checkpoint: {where} declares images of {size}, on which its own network fails: {one_line(failed)}"
        ) from failed
