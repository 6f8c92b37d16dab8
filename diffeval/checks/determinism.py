"""``determinism``: the same seed makes the same image, whenever, after whatever, and beside whatever it is made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from diffeval.checks.batch_norm import norm_layers
from diffeval.checks.check import Calls, Finding, Subject, check
from diffeval.checks.probe import SEED, Probe
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.samplers import check_steps, is_stochastic
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.runs.records import CheckStatus

# In half precision an image differs by this much more beside others.
HALF = 10.0

Said = tuple[CheckStatus, str, str]


# Images beside each other, and steps at most.
TOGETHER, STEPS = 8, 20


def _calls(subject: Subject) -> Calls:
    branches, steps = subject.generator.branches, min(STEPS, subject.generator.steps)
    return {branches: 3.0 * steps, branches * TOGETHER: 2.0 + 2.0 * steps}


@check(
    "determinism",
    about="the same seed gives the same image: twice, under another global seed, and in another batch",
    calls=_calls,
)
def determinism(
    subject: Subject,
    *,
    batch: int = TOGETHER,
    steps: int = STEPS,
    repeat_fail: float = 1e-6,
    beside_warn: float = 1e-3,
    beside_fail: float = 0.05,
) -> Finding:
    """Calls the network twice, samples twice under different global seeds, and samples images alone.

    Values, each the largest difference over the largest element: ``repeat``, of two calls of the network on the same
    batch; ``other_seed``, of images sampled after another seed of torch's global generator; ``beside``, of images
    sampled alone and in a batch of ``batch``; ``draws``, 1 where the global generator was drawn from. Anything but 0
    in ``repeat`` and ``other_seed`` warns, and above ``repeat_fail`` fails, as drawing does.

    Costs 2 + 2 ``steps`` forward passes of ``batch`` images, and 3 ``steps`` of one. The global generator is put back.

    Args:
        subject: what is looked at.
        batch: images beside each other.
        steps: of the sampler, at most.
        repeat_fail: relative difference of two equal calls that fails; convolutions on a GPU need not be exact.
        beside_warn: relative difference of an image alone that warns; ten times that in half precision.
        beside_fail: relative difference of an image alone that fails.
    """
    generator = replace(subject.generator, steps=_fewer(subject.generator, steps))
    network = subject.checkpoint.network
    with _own_random_state(generator.device):
        repeat, network_draws = _repeat(subject, batch)
        _seed(generator.device, 1)
        before = _state(generator.device)
        first = generator.latents(range(batch))
        sampler_draws = _moved(before, _state(generator.device))
        _seed(generator.device, 2)
        other_seed = _apart(generator.latents(range(batch)), first)
        alone = [generator.latents(range(index, index + 1)) for index in dict.fromkeys((0, batch // 2, batch - 1))]
    indices = list(dict.fromkeys((0, batch // 2, batch - 1)))
    beside = _apart(torch.cat(alone), first[indices])
    values = {"repeat": repeat, "other_seed": other_seed, "beside": beside}
    values |= {"draws": float(network_draws or sampler_draws)}
    if not all(np.isfinite(value) for value in values.values()):
        return Finding("inconclusive", "the network or the sampler ends in NaN or infinity, which equals nothing")
    said = list[Said]()
    if network_draws or repeat > 0:
        status: CheckStatus = "fail" if network_draws or repeat > repeat_fail else "warn"
        drawn = ", and draws from the global generator" if network_draws else ""
        text = f"two equal calls of the network differ by {repeat:.2g} of the output (at most {repeat_fail:g}){drawn}"
        said.append((status, text, _of_network(network)))
    elif sampler_draws or other_seed > 0:
        status = "fail" if sampler_draws or other_seed > repeat_fail else "warn"
        drawn = ", as sampling draws from the global generator" if sampler_draws else ""
        text = f"under another global seed images differ by {other_seed:.2g} (at most {repeat_fail:g}){drawn}"
        said.append((status, text, "noise belongs to a generator per image; eta=0 needs none"))
    warn = beside_warn * (1.0 if generator.dtype == "fp32" else HALF)
    if not said and beside > warn:
        status = "fail" if beside > beside_fail else "warn"
        text = (
            f"an image sampled alone differs by {beside:.2g} from the same one in a batch of {batch} (at most "
            f"{beside_fail if status == 'fail' else warn:g})"
        )
        said.append((status, text, _of_batch(network)))
    if said:
        status, text, fix = said[0]
        return Finding(status, text, values, fix)
    noise = "noise of its own per image" if is_stochastic(generator.sampler) else "no noise"
    return Finding(
        "pass",
        f"equal calls are equal, sampling draws {noise}, and an image sampled alone differs by {beside:.2g} from the "
        f"same one in a batch of {batch} (at most {warn:g})",
        values,
    )


def _fewer(generator: Generator, most: int) -> int:
    """The largest number of steps up to ``most`` that the sampler takes."""
    for count in range(min(most, generator.steps), 1, -1):
        try:
            check_steps(generator.sampler, generator.schedule, count)
        except DiffevalError:
            continue
        return count
    return generator.steps


def _repeat(subject: Subject, batch: int) -> tuple[float, bool]:
    """Relative difference of two equal calls, and whether they draw from the global generator."""
    checkpoint, device = subject.checkpoint, subject.generator.device
    probe = Probe(checkpoint.denoiser, torch.zeros(0), None, device)
    x = initial_noise(SEED, range(batch), checkpoint.shape)
    condition = torch.arange(batch) % len(checkpoint.classes) if checkpoint.classes else None
    told = torch.linspace(0, checkpoint.schedule.timesteps - 1, batch).long()
    before = _state(device)
    first, second = (probe.output(x, told, condition) for _ in range(2))
    return _apart(second, first), _moved(before, _state(device))


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference over the largest element."""
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))


@contextmanager
def _own_random_state(device: torch.device) -> Iterator[None]:
    """The global generators may be seeded inside, and are put back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _state(device: torch.device) -> tuple[torch.Tensor, ...]:
    """Of the global generators."""
    here = (torch.random.get_rng_state(),)
    return (*here, torch.cuda.get_rng_state(device)) if device.type == "cuda" else here


def _moved(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> bool:
    return not all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def _of_network(network: nn.Module) -> str:
    """What may make two calls differ."""
    active = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training
    ]
    if active:
        return f"{active[0]} drops out: call network.eval() before it is saved or returned"
    return "the network draws random numbers, or keeps something between calls; it must be a function of its input"


def _of_batch(network: nn.Module) -> str:
    """What may make an image depend on its neighbours."""
    if any(layer.training or layer.running_mean is None for layer in norm_layers(network).values()):
        return "BatchNorm uses the statistics of the batch (see batch-norm): call network.eval()"
    return (
        "something in the network or the sampler works across the images of a batch; look for means over dimension 0"
    )
