"""How many images go through the network at once, and what to do when that was too many."""

from collections.abc import Iterator

import psutil
import torch

from diffeval.errors import DiffevalError

# On a CPU larger batches stop paying long before memory ends; on a GPU this many small images fill it.
MAX_BATCH = {"cpu": 256, "cuda": 1024, "mps": 256}
# Activations of a U-Net forward pass, as multiples of its input; generous, because the halving below is the net.
_ACTIVATION_FACTOR = 2000
_BYTES = 4
# Pixels on a side from which channels-last convolutions are measurably faster on a CPU.
LEAST_SIDE = 16


def pick_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda[:i]`` or ``mps`` means here.

    Raises:
        DiffevalError: if it does not exist on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DiffevalError(f"device: {name!r} is no device; use auto, cpu, cuda, cuda:1 or mps") from error
    usable = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not usable.get(device.type, False):
        raise DiffevalError(f"device: {name} is not available here; use --device cpu, and see diffeval doctor")
    return device


def device_name(device: torch.device) -> str:
    """The device with its hardware's own name where torch knows it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def pick_batch(device: torch.device, shape: tuple[int, int, int], *, branches: int, weights: int = 0) -> int:
    """Images per network call that should fit into free memory: a power of two.

    Args:
        device: where the network runs.
        shape: (C, H, W) of its input.
        branches: 2 with guidance, which doubles the network's batch, else 1.
        weights: bytes of the network that are not in that memory yet.
    """
    cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if cuda else psutil.virtual_memory().available
    per_image = max(shape[0], 3) * shape[1] * shape[2] * _BYTES * _ACTIVATION_FACTOR * branches
    fitting = max(1, int(0.5 * (free - weights)) // per_image)
    largest = 1 << (fitting.bit_length() - 1)
    return min(MAX_BATCH.get(device.type, 64), largest)


def memory_format(device: torch.device, shape: tuple[int, int, int], dtype: torch.dtype) -> torch.memory_format:
    """The layout of weights that convolutions are fastest in; it moves images by rounding alone.

    Channels last: on a CPU from ``LEAST_SIDE`` pixels on, below which nothing is gained and bfloat16 loses; on a GPU
    in half precision, whose matrix units take it.
    """
    if device.type == "cuda":
        return torch.contiguous_format if dtype == torch.float32 else torch.channels_last
    large = device.type == "cpu" and min(shape[1:]) >= LEAST_SIDE
    return torch.channels_last if large else torch.contiguous_format


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device ran out of memory; CPU and MPS allocators raise plain RuntimeErrors."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def split_batches(start: int, stop: int, batch: int) -> Iterator[range]:
    """Consecutive index ranges of ``batch`` images, the last as short as it must be."""
    for first in range(start, stop, batch):
        yield range(first, min(first + batch, stop))
