"""What looking costs: images that went through the network, whoever sent them."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from diffeval.checks.check import CHECKS, EXPECTED_TIMES, Calls, Row, Subject
from diffeval.checks.probe import BATCH, SEED, Probe
from diffeval.checks.scan import LEVELS
from diffeval.diffusion.noise import initial_noise

PROBE = "risk probe"
# Calls that are made to time one, of which the first does not count; images from eight times of which on fewer are
# tried first; seconds of these from which on more are not tried.
TRIES, FEW, LONG = 4, 8, 0.2

T = TypeVar("T")


@dataclass(slots=True)
class Cost:
    """Passes and seconds by what they were spent on.

    Attributes:
        rows: one for each, with its name, forward passes and seconds.
    """

    rows: tuple[Row, ...] = ()
    _passes: int = 0

    def spend(self, on: str, do: Callable[[], T]) -> T:
        """Does it, and remembers what it cost."""
        before, started = self._passes, time.monotonic()
        done = do()
        seconds = time.monotonic() - started
        row: Row = {"spent_on": on, "forward_passes": self._passes - before, "seconds": seconds}
        self.rows = (*self.rows, row)
        return done

    def count(self, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Every image of the batch is a pass."""
        batch = next((one for one in (*args, *named.values()) if isinstance(one, torch.Tensor) and one.ndim), None)
        self._passes += 1 if batch is None else len(batch)


@contextmanager
def counting(network: torch.nn.Module) -> Iterator[Cost]:
    """Counts what goes through a network and through copies that are made of it meanwhile."""
    cost = Cost()

    # No method: a copy of the network would hold a copy of its object, and count for itself.
    def count(module: torch.nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        cost.count(args, named)

    hook = network.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield cost
    finally:
        hook.remove()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a look is about to cost.

    Attributes:
        spent_on: the risk probe, or a check.
        passes: images through the network.
        seconds: of its calls.
    """

    spent_on: str
    passes: int
    seconds: float


def forecast(subject: Subject, names: Sequence[str]) -> list[Forecast]:
    """About what looking at a subject costs, from a few calls that are timed: the risk probe first, if it is read.

    Args:
        subject: what is to be looked at.
        names: the checks; those that do not call the network, or cannot be called, cost nothing.
    """
    clock, found = _Clock(subject), list[Forecast]()
    if subject.source is not None and any("scan" in CHECKS[name].reads for name in names):
        found.append(clock.priced(PROBE, {BATCH: len(LEVELS) * EXPECTED_TIMES * len(subject.probe_images) / BATCH}))
    for name in names:
        needs_images = {"images", "scan"} & set(CHECKS[name].reads)
        calls = {} if needs_images and subject.source is None else CHECKS[name].calls(subject)
        if calls:
            found.append(clock.priced(name, calls))
    return found


class _Clock:
    """Times calls of a network, each number of images once."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._known: dict[int, float] = {}

    def priced(self, name: str, calls: Calls) -> Forecast:
        """What so many calls cost."""
        passes = sum(images * count for images, count in calls.items())
        return Forecast(name, round(passes), sum(self.seconds(images) * count for images, count in calls.items()))

    def seconds(self, images: int) -> float:
        """Of a call with so many images; many are not tried where fewer take long enough to tell."""
        if images not in self._known:
            fewer = self.seconds(images // 8) if images >= 8 * FEW else 0.0
            self._known[images] = 8 * fewer if fewer > LONG else self._timed(images)
        return self._known[images]

    def _timed(self, images: int) -> float:
        checkpoint, device = self._subject.checkpoint, self._subject.generator.device
        probe = Probe(checkpoint.denoiser, torch.zeros(0), None, device)
        x = initial_noise(SEED, range(images), checkpoint.shape)
        told = torch.full((images,), checkpoint.schedule.timesteps // 2)
        condition = torch.arange(images) % len(checkpoint.classes) if checkpoint.classes else None
        seconds = []
        for _ in range(TRIES):
            started = time.monotonic()
            probe.output(x, told, condition)
            seconds.append(time.monotonic() - started)
        return statistics.mean(seconds[1:])


def told(rows: Sequence[Row]) -> str:
    """In a sentence: all of it, and the risk probe's part."""
    passes, seconds = (sum(float(row[key] or 0) for row in rows) for key in ("forward_passes", "seconds"))
    text = f"{passes:,.0f} forward passes, {seconds:.0f} s"
    of_probe = next((row for row in rows if row["spent_on"] == PROBE), None)
    if of_probe is None:
        return text
    return f"{text}; of these {of_probe['forward_passes']:,} and {of_probe['seconds']:.1f} s for the {PROBE}"
