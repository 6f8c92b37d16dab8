"""Faults planted into trained networks afterwards: in the weights, or in what is declared of them."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import named_schedule

Time = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault.

    Attributes:
        fault: its name, in kebab case.
        check: that must fail.
        checkpoint: that has it.
        also: checks that may fail, too, because the fault is theirs as well.
    """

    fault: str
    check: str
    checkpoint: Checkpoint
    also: tuple[str, ...] = ()


def planted(healthy: Checkpoint) -> Iterator[Planted]:
    """All faults that can be planted into a checkpoint that is as declared."""
    yield Planted("random-weights", "untrained", _with_network(healthy, _randomise))
    if _time_layers(healthy.network):
        yield Planted("embedding-zeroed", "timestep-embedding", _with_network(healthy, _zero_time))
    for name in ("linear", "squaredcos_cap_v2"):
        if healthy.schedule.name not in (name, "karras"):
            other = dataclasses.replace(
                healthy, schedule=named_schedule(name, healthy.schedule.timesteps), sampler=None, steps=None
            )
            yield Planted(f"declared-{name}", "noise-schedule", other, ("terminal-snr",))
    if healthy.schedule.timesteps == 1000 and healthy.schedule.name in ("squaredcos_cap_v2", "sigmoid"):
        short = named_schedule(healthy.schedule.name, 50)
        declared = dataclasses.replace(healthy, schedule=short, sampler=None, steps=None)
        yield Planted("declared-50-timesteps", "noise-schedule", declared, ("terminal-snr",))
    for prediction in ("epsilon", "sample", "v_prediction"):
        if prediction != healthy.prediction and healthy.schedule.name != "karras":
            wrong = dataclasses.replace(healthy, prediction=prediction)
            yield Planted(f"declared-{prediction}", "prediction-type", wrong)
    last = healthy.schedule.timesteps - 1
    yield Planted("index-turned", "noise-schedule", _with_time(healthy, lambda t: last - t))
    if healthy.value_range == (-1.0, 1.0):
        yield Planted("declared-range-unit", "data-range", dataclasses.replace(healthy, value_range=(0.0, 1.0)))
    if healthy.null_class is not None and (table := _class_table(healthy)) is not None:
        yield Planted(
            "null-row-random", "guidance-branch", _with_network(healthy, lambda one: _randomise_null(one, table))
        )
    if any(isinstance(one, torch.nn.modules.batchnorm._BatchNorm) for one in healthy.network.modules()):
        training = _with_network(healthy, lambda one: one.train())
        yield Planted("left-in-training", "batch-norm", training, ("determinism",))


def sampler_faults(healthy: Checkpoint) -> Iterator[Planted]:
    """Faults of the sampler, the network apart."""
    stops = Sampler("declared", "EulerDiscreteScheduler", {"use_karras_sigmas": True, "sigma_min": 0.3})
    yield Planted("stops-at-noise", "step-convergence", dataclasses.replace(healthy, sampler=stops, steps=20))


def _with_network(healthy: Checkpoint, change: Callable[[torch.nn.Module], object]) -> Checkpoint:
    network = copy.deepcopy(healthy.network)
    with torch.no_grad():
        change(network)
    assert healthy.adapter is not None, "every network of the zoo has one"
    # The raw weights do not have the fault, and would tell on it.
    return dataclasses.replace(healthy, network=network, denoiser=healthy.adapter(network), raw=None)


def _with_time(healthy: Checkpoint, time: Time) -> Checkpoint:
    """Told another timestep, in whatever mode and with whatever weights the network is called."""
    inner = healthy.adapter
    assert inner is not None, "every network of the zoo has one"

    def adapter(network: torch.nn.Module) -> Denoiser:
        denoiser = inner(network)
        return lambda x, t, condition: denoiser(x, time(torch.as_tensor(t)), condition)

    return dataclasses.replace(healthy, denoiser=adapter(healthy.network), adapter=adapter)


def _randomise(network: torch.nn.Module) -> None:
    """Weights of the spread that they have, in another order."""
    random = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            order = torch.randperm(parameter.numel(), generator=random)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))


# Last layers of time embeddings, as the networks of the zoo call them.
TIME_ENDS = ("time_embedding.linear_2", "timestep_embedder.linear_2")


def _time_layers(network: torch.nn.Module) -> list[str]:
    return [name for name, _ in network.named_modules() if name.endswith(TIME_ENDS)]


def _zero_time(network: torch.nn.Module) -> None:
    for name in _time_layers(network):
        for parameter in network.get_submodule(name).parameters():
            parameter.zero_()


def _class_table(healthy: Checkpoint) -> str | None:
    """The table of class embeddings: it has a row for every class and one for none."""
    rows = len(healthy.classes) + 1
    tables = [
        name
        for name, one in healthy.network.named_modules()
        if isinstance(one, torch.nn.Embedding) and one.num_embeddings == rows
    ]
    return tables[0] if len(tables) == 1 else None


def _randomise_null(network: torch.nn.Module, table: str) -> None:
    """A row as it is drawn before training."""
    embedding = network.get_submodule(table)
    assert isinstance(embedding, torch.nn.Embedding), "chosen so"
    embedding.weight[-1] = torch.randn(embedding.embedding_dim, generator=torch.Generator().manual_seed(0))
