"""Which parts of a network depend on the timestep alone, found by calling it, whatever it is made of.

A layer whose output stays as it is when x changes, and moves when t does, carries the timestep. The embedding is what
comes out of the first such layers before x is met again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Row
from diffeval.checks.real_images import ModelImages
from diffeval.diffusion.sampling import full_precision
from diffeval.metrics.metric import Array

# Timesteps of which the embedding is read at most, and how many go through the network at once.
MOST_TIMES, BATCH = 1000, 250
# Numbers that features of t are at least, to be judged as such: a network may well take t itself.
FEATURES = 8
# Relative difference of two embeddings that float32 does not tell apart.
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of the timestep, and the layers that it passes through.

    Attributes:
        where: the layer that it comes out of.
        timesteps: how many were read.
        rank: participation ratio of the covariance over timesteps: 1 for a line, more for a curve that bends.
        relative_variance: its variance over timesteps over its mean square.
        first_rank: participation ratio of the first features of t, e.g. sinusoids; 0 where those are single numbers.
        first_variance: their relative variance: next to 0 where they are nearly constant; 1 where not judged.
        least_cosine: between any two timesteps.
        adjacent: distance between neighbouring timesteps over the mean norm.
        distinct: share of the timesteps whose embedding is their own.
        sites: layers with weights that depend on t alone, or on nothing.
        still: those that depend on nothing.
        unmoved: names of parameters among them that get no gradient.
        rows: distance to the next timestep, by timestep.
    """

    where: str
    timesteps: int
    rank: float
    relative_variance: float
    first_rank: float
    first_variance: float
    least_cosine: float
    adjacent: float
    distinct: float
    sites: int
    still: tuple[str, ...]
    unmoved: tuple[str, ...]
    rows: tuple[Row, ...]

    def values(self) -> dict[str, float]:
        """The numbers of a check."""
        return {
            "rank": self.rank,
            "relative_variance": self.relative_variance,
            "first_rank": self.first_rank,
            "first_variance": self.first_variance,
            "least_cosine": self.least_cosine,
            "adjacent": self.adjacent,
            "distinct": self.distinct,
            "still_sites": float(len(self.still)),
            "unmoved_parameters": float(len(self.unmoved)),
        }


@dataclass(frozen=True, slots=True)
class _Call:
    """What the network is called with, once."""

    x: torch.Tensor
    t: int
    condition: torch.Tensor | None


def read_embedding(checkpoint: Checkpoint, images: ModelImages, device: torch.device) -> Embedding | None:
    """The embedding of a network on ``device``; None where no layer depends on t alone."""
    network = checkpoint.network
    first, last = 0, checkpoint.schedule.timesteps - 1
    classes = len(checkpoint.classes)
    x, other = (images.x0[row : row + 1].to(device) for row in (0, 1))
    told = torch.zeros(1, dtype=torch.long, device=device) if classes else None
    another = torch.ones(1, dtype=torch.long, device=device) if classes > 1 else told
    calls = (
        _Call(x, last // 3, told),
        _Call(other, last // 3, told),
        _Call(x, last, told),
        _Call(x, last // 3, another),
    )
    plain, moved_x, moved_t, moved_c = (_outputs(checkpoint, network, call) for call in calls)
    order = [name for name in plain if all(name in one for one in (moved_x, moved_t, moved_c))]
    free = [name for name in order if torch.equal(plain[name], moved_x[name])]
    moving = [name for name in free if not torch.equal(plain[name], moved_t[name])]
    weighted = {
        name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))
    }
    still = [
        name
        for name in free
        if name in weighted and name not in moving and torch.equal(plain[name], moved_c[name])
        and not isinstance(network.get_submodule(name), torch.nn.Embedding)
    ]  # fmt: skip
    vectors = [name for name in moving if plain[name].ndim == 2]
    where = _first_run(vectors, order)
    if where is None:
        return _dead(still) if still else None
    times = np.unique(np.linspace(first, last, min(last + 1, MOST_TIMES)).round().astype(int))
    features = next((name for name in vectors if plain[name].shape[1] >= FEATURES), where)
    tables = _tables(checkpoint, (where, features), x, told, times)
    sites = [name for name in (*moving, *still) if name in weighted]
    unmoved = _unmoved(checkpoint, calls[0], calls[2], sites)
    return _described(where, tables[where], tables[features], times, len(sites), tuple(still), unmoved)


def _first_run(moving: list[str], order: list[str]) -> str | None:
    """The last of the first layers that carry t, before one that does not comes."""
    if not moving:
        return None
    at = order.index(moving[0])
    while at + 1 < len(order) and order[at + 1] in moving:
        at += 1
    return order[at]


def _dead(still: list[str]) -> Embedding:
    """Layers without x, none of which moves with t."""
    return Embedding("", 0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, len(still), tuple(still), (), ())


def _described(
    where: str,
    table: Array,
    features: Array,
    times: npt.NDArray[np.int64],
    sites: int,
    still: tuple[str, ...],
    unmoved: tuple[str, ...],
) -> Embedding:
    norms = np.linalg.norm(table, axis=1)
    many = features.shape[1] >= FEATURES
    steps = np.linalg.norm(np.diff(table, axis=0), axis=1) / max(float(norms.mean()), 1e-30)
    unit = table / np.maximum(norms, 1e-30)[:, None]
    rows = tuple({"timestep": int(t), "step_to_next": float(step)} for t, step in zip(times[:-1], steps, strict=True))
    return Embedding(
        where=where,
        timesteps=len(times),
        rank=participation_ratio(table),
        relative_variance=_relative_variance(table),
        first_rank=participation_ratio(features) if many else 0.0,
        first_variance=_relative_variance(features) if many else 1.0,
        least_cosine=float((unit @ unit.T).min()),
        adjacent=float(steps.mean()),
        distinct=(1 + int((steps > SAME).sum())) / len(times),
        sites=sites,
        still=still,
        unmoved=unmoved,
        rows=rows,
    )


def _relative_variance(table: Array) -> float:
    """Variance over rows over the mean square."""
    return float(table.var(axis=0).sum() / max(float((table**2).sum(axis=1).mean()), 1e-30))


def participation_ratio(embedding: Array) -> float:
    """(sum w)^2 / sum w^2 of the eigenvalues w of the covariance of rows [T, d]: 1 for a line, d for a ball."""
    centred = embedding - embedding.mean(axis=0)
    # The trace and the squared norm of either product matrix have these sums, without eigenvalues.
    product = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    square = float((product**2).sum())
    return float(np.trace(product)) ** 2 / square if square > 0 else 0.0


@contextmanager
def _watching(modules: dict[str, torch.nn.Module], see: Callable[[str, torch.Tensor], object]) -> Iterator[None]:
    """Calls ``see`` with the output of each module, the first time in a call of the network that it has one."""

    def hook(name: str) -> Callable[[torch.nn.Module, object, object], None]:
        def look(module: torch.nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.is_floating_point():
                see(name, output.detach())

        return look

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _outputs(checkpoint: Checkpoint, network: torch.nn.Module, call: _Call) -> dict[str, torch.Tensor]:
    """Output of every layer that has no layers in it, in the order in which they are called."""
    leaves = {
        name: module for name, module in network.named_modules() if name and not any(True for _ in module.children())
    }
    found: dict[str, torch.Tensor] = {}

    def see(name: str, output: torch.Tensor) -> None:
        found.setdefault(name, output.clone())

    with _watching(leaves, see), full_precision():
        checkpoint.denoiser(call.x, torch.tensor([call.t], device=call.x.device), call.condition)
    return found


@torch.no_grad()
def _tables(
    checkpoint: Checkpoint,
    wanted: tuple[str, ...],
    x: torch.Tensor,
    condition: torch.Tensor | None,
    times: npt.NDArray[np.int64],
) -> dict[str, Array]:
    """Output of layers at the given timesteps, float64 [T, d]."""
    modules = {name: checkpoint.network.get_submodule(name) for name in wanted}
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in wanted}
    for start in range(0, len(times), BATCH):
        told = torch.from_numpy(times[start : start + BATCH]).to(x.device)
        count = len(told)
        seen: dict[str, torch.Tensor] = {}
        with _watching(modules, seen.setdefault), full_precision():
            checkpoint.denoiser(
                x.expand(count, *x.shape[1:]), told, None if condition is None else condition.expand(count)
            )
        for name, output in seen.items():
            parts[name].append(output.expand(count, -1).double().cpu())
    return {name: torch.cat(part).numpy() for name, part in parts.items()}


def _unmoved(checkpoint: Checkpoint, one: _Call, other: _Call, sites: list[str]) -> tuple[str, ...]:
    """Parameters of the layers without any gradient, of a loss at two timesteps."""
    network = checkpoint.network
    named = {f"{site}.{name}": p for site in sites for name, p in network.get_submodule(site).named_parameters()}
    if not named:
        return ()
    before = {name: parameter.requires_grad for name, parameter in named.items()}
    try:
        for parameter in named.values():
            parameter.requires_grad_(True)
        with torch.enable_grad(), full_precision():
            loss = sum(
                checkpoint.denoiser(call.x, torch.tensor([call.t], device=call.x.device), call.condition)
                .square()
                .mean()
                for call in (one, other)
            )
            assert isinstance(loss, torch.Tensor), "a network has an output"
            found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    except RuntimeError:  # an output that no parameter is behind
        return ()
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(before[name])
    return tuple(
        name for name, gradient in zip(named, found, strict=True) if gradient is None or not bool(gradient.any())
    )
