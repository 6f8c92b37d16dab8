"""How fast a network is on this machine: measured on the very calls that sampling makes, and remembered."""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from diffeval.cache import cache_folder
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.diffusion.batching import device_name, is_out_of_memory
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.runs.files import replace_text

# Calls that a time is the median of, after one that is not counted.
TIMED = 3
# A batch is as good as one that is this much faster: smaller ones lose less when a run is stopped.
AS_GOOD = 0.95
# The batch is measured where that is at most this share of the work.
MOST_SHARE = 0.01


def call_seconds(generator: Generator, batch: int, *, warm: bool = False) -> float:
    """Seconds of the network calls of one step for ``batch`` images; ``warm`` says that some were made before."""
    times = []
    for _ in range(TIMED if warm else TIMED + 1):
        started = time.perf_counter()
        generator.trial(batch)
        if generator.device.type == "cuda":
            torch.cuda.synchronize(generator.device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[-TIMED:])


def best_batch(seconds: Callable[[int], float | None], least: int, most: int) -> int:
    """The smallest batch that is as good as the best, of ``least``, twice that, and so on up to ``most``.

    Args:
        seconds: that a batch takes; None where there is no room for it.
        least: images, at least.
        most: images, at most.
    """
    rates: dict[int, float] = {}
    batch = min(least, most)
    while batch <= most:
        taken = seconds(batch)
        if taken is None:
            break
        rates[batch] = batch / max(taken, 1e-9)
        batch *= 2
    best = max(rates.values(), default=0.0)
    return next((one for one, rate in rates.items() if rate >= AS_GOOD * best), least)


def measured_batch(generator: Generator, checkpoint: Checkpoint, images: int, least: int, most: int) -> int:
    """Images per network call for a run of so many: measured, remembered for the next; ``most`` for small runs."""
    tried = (TIMED + 1) * 2 * most
    if least >= most or tried > MOST_SHARE * images * generator.calls:
        return most
    known = recalled("batch", generator, checkpoint, most)
    if known is not None and least <= known.get("batch", 0) <= most:
        return int(known["batch"])

    def seconds(batch: int) -> float | None:
        try:
            return call_seconds(generator, batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    found = best_batch(seconds, least, most)
    remember("batch", generator, checkpoint, most, {"batch": found})
    return found


def remember(what: str, generator: Generator, checkpoint: Checkpoint, batch: int, values: Mapping[str, float]) -> None:
    """Keeps what was measured of this network on this machine; where it cannot be kept, it is measured again."""
    try:
        replace_text(_place(what, generator, checkpoint, batch), json.dumps(dict(values)))
    except DiffevalError:
        return


def recalled(what: str, generator: Generator, checkpoint: Checkpoint, batch: int) -> dict[str, float] | None:
    """What was remembered, positive numbers by name; None where there is nothing to be used."""
    try:
        held = json.loads(_place(what, generator, checkpoint, batch).read_text(encoding="utf-8"))
        found = {str(name): float(value) for name, value in held.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return found if all(value > 0 for value in found.values()) else None


def _place(what: str, generator: Generator, checkpoint: Checkpoint, batch: int) -> Path:
    key = (
        _architecture(checkpoint.network), device_name(generator.device), torch.get_num_threads(), generator.dtype,
        generator.branches,
        generator.shape, batch, torch.__version__,
    )  # fmt: skip
    return cache_folder() / "speed" / f"{what}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"


def _architecture(network: torch.nn.Module) -> str:
    """What a network's speed depends on, its weights' values left out: checkpoints of one training share it."""
    tensors = [(name, tuple(one.shape), str(one.dtype)) for name, one in network.state_dict().items()]
    layers = [(name, type(one).__qualname__) for name, one in network.named_modules()]
    settings = sorted((str(name), str(value)) for name, value in dict(getattr(network, "config", {})).items())
    return hashlib.sha256(repr((layers, tensors, settings)).encode()).hexdigest()
