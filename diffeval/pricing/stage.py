"""A stage and what it will take; how pieces of work are timed, and how prices are told."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from diffeval.diffusion.batching import is_out_of_memory
from diffeval.errors import DiffevalError

# Seconds that are spent on timing one kind of work, about, and how often it is done at most.
ENOUGH, MOST_TIMES = 1.0, 8


@dataclass(frozen=True, slots=True)
class Price:
    """One stage.

    Attributes:
        stage: its name.
        seconds: about how long it takes here.
        about: what there is to do.
    """

    stage: str
    seconds: float
    about: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a command would do.

    Attributes:
        lines: in words, each begins with what it is about.
        prices: of its stages, in order; empty where nothing is slow.
        missing: what the prices leave out, in words; empty where they are of everything.
        held: what is there already of it, in words, so that these are the prices of the rest; empty of a new run.
    """

    lines: tuple[str, ...]
    prices: tuple[Price, ...] = ()
    missing: str = ""
    held: str = ""

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return summed(self.prices)

    def told(self) -> list[str]:
        """The lines, with one for each stage and one for the whole before the last."""
        if not self.prices:
            return list(self.lines)
        title = len(self.lines[0]) - len(self.lines[0].split(maxsplit=1)[1])
        width = max(len(one.stage) for one in self.prices)
        stages = [
            f"{'takes':<{title}}{one.stage:<{width}}  {duration(one.seconds):>9}  {one.about}" for one in self.prices
        ]
        held = f", {self.held}" if self.held else ""
        but = f", beside {self.missing}" if self.missing else ""
        whole = f"{'total':<{title}}about {duration(self.seconds)} on this machine{held}{but}"
        return [*self.lines[:-1], *stages, whole, self.lines[-1]]


def summed(prices: Sequence[Price]) -> float:
    """Seconds of all of them."""
    return sum(one.seconds for one in prices)


def duration(seconds: float) -> str:
    """Seconds, for people."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def rate(images: int, seconds: float) -> str:
    """Images per second, or seconds per image."""
    if seconds <= 0:
        return "at once"
    return f"{images / seconds:.3g} images/s" if images >= seconds else f"{seconds / images:.3g} s per image"


def timed(work: Callable[[], object], *, device: torch.device | None = None) -> float:
    """Seconds that a piece of work takes on average, after a first time, which also pays for memory and compilation.

    Work of less than ``ENOUGH`` seconds is done several times.

    Raises:
        DiffevalError: if there is no room for it.
    """
    with roomy():
        work()
        finish(device)
        taken: list[float] = []
        while len(taken) < MOST_TIMES and (not taken or sum(taken) < ENOUGH):
            started = time.perf_counter()
            work()
            finish(device)
            taken.append(time.perf_counter() - started)
    return statistics.mean(taken)


def finish(device: torch.device | None) -> None:
    """Waits for what a GPU was given to do."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def roomy() -> Iterator[None]:
    """Says what to do where memory does not suffice for a piece of the work."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DiffevalError(
            "dry run: there is no room for a batch of this size, which a run would halve; give --batch"
        ) from error
