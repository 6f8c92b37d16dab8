"""What looking costs: images that went through the network, whoever sent them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from diffeval.checks.check import EXPECTED_TIMES, Row, Subject
from diffeval.checks.scan import LEVELS

PROBE = "risk probe"
# Images in the batches that are timed beforehand, and how many such batches.
TRIED, TRIES = 64, 3

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


def forecast(subject: Subject) -> tuple[int, float]:
    """Forward passes of the risk probe, about, and their seconds, from a few batches that are timed."""
    images = subject.probe_images
    probe, t = subject.probe(), subject.checkpoint.schedule.timesteps // 2
    rows = torch.arange(TRIED) % len(images)
    told = torch.full((TRIED,), t)
    condition = None if probe.condition is None else probe.condition[rows]
    seconds = []
    for _ in range(TRIES):
        started = time.monotonic()
        probe.output(images.x0[rows], told, condition)
        seconds.append(time.monotonic() - started)
    passes = len(LEVELS) * EXPECTED_TIMES * len(images)
    return passes, min(seconds) / TRIED * passes


def told(rows: Sequence[Row]) -> str:
    """In a sentence: all of it, and the risk probe's part."""
    passes, seconds = (sum(float(row[key] or 0) for row in rows) for key in ("forward_passes", "seconds"))
    text = f"{passes:,.0f} forward passes, {seconds:.0f} s"
    of_probe = next((row for row in rows if row["spent_on"] == PROBE), None)
    if of_probe is None:
        return text
    return f"{text}; of these {of_probe['forward_passes']:,} and {of_probe['seconds']:.1f} s for the {PROBE}"
