"""The network of a checkpoint compiled by torch.compile, where the work ahead is long enough to pay for it.

Compiling takes from half a minute to some minutes, and then every network call is somewhat faster. What the compiler
makes stays in the cache, so that the next checkpoint of the same architecture takes seconds. ``auto`` compiles where
what is saved is ``MARGIN`` times what it costs, both as they were measured for this architecture on this machine, or,
the first time, with the cautious guesses below. Compiled images agree with the others to rounding.
"""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch.utils._pytree import tree_map_only

from diffeval.cache import cache_folder
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.progress import Reporter
from diffeval.registry import did_you_mean
from diffeval.speed import TIMED, call_seconds, recalled, remember

Choice = Literal["auto", "on", "off"]
CHOICES: tuple[Choice, ...] = get_args(Choice)

# What a network is guessed to gain, and compiling to cost in seconds, before either was measured.
FIRST_GAIN, FIRST_SECONDS = 1.2, 120.0
# Share of the first time that compiling is guessed to take again, before that was measured (seen: 5 of 37 s).
AGAIN = 1 / 3
# What is saved must exceed the cost by this factor: both are measured on a machine that does other things, too.
MARGIN = 1.5
# Root mean square of what compiling changes in predictions, over theirs: float32 agrees to 1e-6. What changes
# more is miscompiled, and not used.
AGREEING = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}
# Shorter runs are not even timed: that would take a share of them that is felt.
FEWEST_CALLS = 40 * (TIMED + 1)
COMPILERS = ("c++", "g++", "clang++")


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured of one network on one machine.

    Attributes:
        plain: seconds of a batch's network call.
        compiled: the same, compiled.
        warm_up: seconds that compiling took the first time.
        again: seconds that it takes when what the compiler made is in the cache.
    """

    plain: float
    compiled: float
    warm_up: float
    again: float

    @property
    def gain(self) -> float:
        """How many times as fast."""
        return self.plain / self.compiled


def pays(calls: int, plain: float, known: Costs | None) -> bool:
    """Whether compiling pays.

    Args:
        calls: network calls ahead, of whole batches.
        plain: seconds that each takes now.
        known: what was measured before, None the first time.
    """
    gain, cost = (FIRST_GAIN, FIRST_SECONDS) if known is None else (known.gain, known.again)
    return calls * plain * (1.0 - 1.0 / gain) > MARGIN * cost


def check_choice(choice: str) -> Choice:
    """What the user wrote.

    Raises:
        DiffevalError: if it is none of them.
    """
    if choice not in CHOICES:
        raise DiffevalError(f"sampling: --compile {choice!r} is none;{did_you_mean(choice, CHOICES)}")
    return choice


class CompiledNetwork(torch.nn.Module):
    """A network that is called in batches of a few sizes, compiled for these; others go to the network itself.

    A batch that is somewhat smaller is filled up with its last image, as another size would be compiled anew.

    Args:
        network: in eval mode.
        sizes: of the batches.
        device: where it is; CUDA graphs take its calls together on a GPU, and write every output into the same place.
    """

    def __init__(self, network: torch.nn.Module, sizes: tuple[int, ...], device: torch.device) -> None:
        super().__init__()
        self.plain, self.sizes, self._graphs = network, tuple(sorted(sizes)), device.type == "cuda"
        mode = "reduce-overhead" if self._graphs else "default"
        self._compiled: Callable[..., Any] = torch.compile(network, mode=mode, dynamic=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network gives."""
        count = len(args[0]) if args else len(next(iter(kwargs.values())))
        size = next((one for one in self.sizes if one // 2 < count <= one), None)
        if size is None:
            return self.plain(*args, **kwargs)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        output = self._compiled(*_filled(args, count, size), **_filled(kwargs, count, size))
        if self._graphs:
            return tree_map_only(torch.Tensor, lambda one: one[:count].clone(), output)
        return output if count == size else tree_map_only(torch.Tensor, lambda one: one[:count], output)

    def __getattr__(self, name: str) -> Any:
        """What a network is asked for beside being called."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("plain"), name)


def _filled(given: Any, count: int, size: int) -> Any:
    """Tensors of ``count`` rows filled up to ``size``."""
    if count == size:
        return given

    def fill(one: torch.Tensor) -> torch.Tensor:
        if one.ndim == 0 or len(one) != count:
            return one
        return torch.cat([one, one[-1:].expand(size - count, *one.shape[1:])])

    return tree_map_only(torch.Tensor, fill, given)


def reason_against(checkpoint: Checkpoint, generator: Generator, *, offload: bool) -> str | None:
    """Why this network cannot be compiled here, or None."""
    kind = generator.device.type
    if offload:
        return "--offload moves its layers about"
    if checkpoint.adapter is None:
        return "its denoiser is more than a network"
    if generator.distilled:
        return "its guidance scale is an input of its network"
    if kind not in ("cpu", "cuda"):
        return f"torch compiles for CPUs and CUDA, not for {kind}"
    if kind == "cpu" and not any(map(shutil.which, COMPILERS)):
        return f"no C++ compiler ({', '.join(COMPILERS)}) is found"
    return None


def worth_it(generator: Generator, checkpoint: Checkpoint, batch: int, images: int) -> bool:
    """Whether compiling pays for so many images in batches of ``batch``; what lies ahead is timed for that."""
    calls = -(-images // batch) * generator.calls
    if calls < FEWEST_CALLS:
        return False
    return pays(calls, call_seconds(generator, batch), known_costs(generator, checkpoint, batch))


def known_costs(generator: Generator, checkpoint: Checkpoint, batch: int) -> Costs | None:
    """What was measured when this network was compiled here before; None where it was not."""
    known = recalled("compiled", generator, checkpoint, batch)
    return None if known is None or set(known) != {"plain", "compiled", "warm_up", "again"} else Costs(**known)


def compiled(
    generator: Generator, checkpoint: Checkpoint, batch: int, reporter: Reporter, *, anyway: bool, offload: bool
) -> Generator | None:
    """The generator with its network compiled and warm; None, with a word to the user, where it stays as it is.

    Args:
        generator: of the run.
        checkpoint: whose network it calls.
        batch: images per network call.
        reporter: hears what is done, and why it could not be.
        anyway: whether to use it even if it turns out to be no faster.
        offload: whether the network's layers come and go.
    """
    reason = reason_against(checkpoint, generator, offload=offload)
    if reason is None:
        reporter.note("compiling the network; this takes half a minute to some minutes")
        started = time.perf_counter()
        made, costs, reason = _compile(generator, checkpoint, batch)
        taken = time.perf_counter() - started
        if costs is not None:
            remember("compiled", generator, checkpoint, batch, dataclasses.asdict(costs))
        if made is not None and costs is not None and (anyway or costs.gain > 1.0):
            reporter.note(f"compiled in {taken:.0f} s; a network call is {costs.gain:.2f} times as fast")
            return made
        reason = reason or "its calls then take as long as before"
    reporter.warn(f"{checkpoint.name} is not compiled: {reason}")
    return None


def _compile(
    generator: Generator, checkpoint: Checkpoint, batch: int
) -> tuple[Generator | None, Costs | None, str | None]:
    """The compiled generator, what it cost, and why there is none."""
    assert checkpoint.adapter is not None, "asked before"
    expected = generator.trial(batch)
    plain = call_seconds(generator, batch, warm=True)
    sizes = (batch,) if generator.branches == 1 else (batch, 2 * batch)
    denoiser = checkpoint.adapter(CompiledNetwork(checkpoint.network, sizes, generator.device))
    made = dataclasses.replace(generator, denoiser=denoiser)
    known = known_costs(generator, checkpoint, batch)
    # As torch does itself, where it finds no folder named; its own is gone when the machine is started again.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    started = time.perf_counter()
    try:
        with torch.random.fork_rng(devices=[]):  # the compiler draws from the global generator
            # CUDA graphs are recorded some calls after the first.
            for _ in range(3 if generator.device.type == "cuda" else 1):
                found = made.trial(batch)
    except Exception as error:  # torch names no base for what its compilers raise
        return None, None, " ".join(f"{type(error).__name__}: {error}".split())[:160]
    warm_up = time.perf_counter() - started
    gap = max(_gap(one, other) for one, other in zip(found, expected, strict=True))
    if not gap <= AGREEING[generator.dtype]:
        return None, None, f"its predictions would differ by {gap:.2g} of their size"
    fast = call_seconds(made, batch, warm=True)
    if known is None:
        return made, Costs(plain, fast, warm_up, AGAIN * warm_up), None
    return made, Costs(plain, fast, max(known.warm_up, warm_up), warm_up), None


def _gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the difference, over that of what is expected."""
    size = float(expected.double().square().mean().sqrt())
    return float((found.double() - expected.double()).square().mean().sqrt()) / max(size, 1e-12)
