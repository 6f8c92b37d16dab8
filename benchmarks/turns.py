"""Contestants that each live in a process of their own and work in turns, so that memory is each one's, too."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

# One piece of work: seconds that it took, and anything that can be pickled.
Work = Callable[[], tuple[float, Any]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a contestant did.

    Attributes:
        warm_up: seconds of the first piece, with all that is done once.
        seconds: of each turn.
        first: what the first piece gave.
        peak_bytes: of memory, of its whole process.
    """

    warm_up: float
    seconds: tuple[float, ...]
    first: Any
    peak_bytes: int

    @property
    def median(self) -> float:
        """Seconds of a turn."""
        return statistics.median(self.seconds)

    def times_as_fast_as(self, other: "Taken") -> float:
        """Median over turns of the ratio of both in the same turn."""
        return statistics.median(b / a for a, b in zip(self.seconds, other.seconds, strict=True))


def _serve(pipe: Connection, make: Callable[..., Work], arguments: Mapping[str, Any]) -> None:
    work, warm = make(**arguments), False
    while pipe.recv():
        started = time.perf_counter()
        taken, result = work()
        # Compilers work in processes of their own, so that warming up counts by the clock on the wall.
        taken, warm = taken if warm else time.perf_counter() - started, True
        pipe.send((taken, result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def take_turns(
    make: Callable[..., Work], contestants: Mapping[str, Mapping[str, Any]], turns: int
) -> dict[str, Taken]:
    """Starts ``make(**arguments)`` for each contestant, warms each up by one piece, and lets them work in turns.

    Args:
        make: a function of a module, which makes the work.
        contestants: its arguments by name.
        turns: pieces that each does after the first.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, {}
    found: dict[str, list[Any]] = {}
    for name, arguments in contestants.items():
        pipes[name], far = context.Pipe()
        processes[name] = context.Process(target=_serve, args=(far, make, arguments), daemon=True)
        processes[name].start()
        found[name] = [_once(pipes[name])]
        print(f"{name}: warm after {found[name][0][0]:.1f} s", flush=True)
    for _ in range(turns):
        for name, pipe in pipes.items():
            found[name].append(_once(pipe))
    for name, pipe in pipes.items():
        pipe.send(False)
        processes[name].join()
    return {name: _summed(pieces) for name, pieces in found.items()}


def _once(pipe: Connection) -> Any:
    pipe.send(True)
    return pipe.recv()


def _summed(pieces: Sequence[Any]) -> Taken:
    seconds = tuple(piece[0] for piece in pieces[1:])
    return Taken(pieces[0][0], seconds, pieces[0][1], max(piece[2] for piece in pieces))
