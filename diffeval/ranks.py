"""Several processes that work on one run: which of them this one is, and what they tell each other.

A launcher (torchrun, accelerate launch, srun) starts the same command several times. Each rank makes its part of the
images; these and their features pass through the run's directory, so that ranks exchange a few words and no tensors.
That is why gloo serves on GPUs, too. Rank 0 speaks, writes the run's state, and does alone what comes after sampling.
"""

import json
import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from diffeval.errors import DiffevalError, StoppedError
from diffeval.progress import Reporter

T = TypeVar("T")

# How long the others may take to start.
JOINING = timedelta(minutes=10)
# A rank may wait for others for as long as they sample; one that is gone is noticed at once, by its connection.
WAITING = timedelta(days=30)
POLL_SECONDS = 0.02
# How long a file may take from one machine to another.
SEEN_SECONDS = 10.0
# How long a rank that ends with an error waits for others who may end with the same.
LISTENING_SECONDS = 5.0
PROBE = ".ranks"
# What launchers call rank and number of ranks; srun's own names come last, as they are also those of plain scripts.
_NAMES = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))
_SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")


class PartDone(Exception):  # noqa: N818  # no error: what comes next is for others
    """This process has made its part of the images; the rest of the command is for another.

    Attributes:
        message: what the user is to know; empty where another process speaks.
        folder: where the part lies.
    """

    def __init__(self, message: str = "", folder: Path | None = None) -> None:
        super().__init__(message)
        self.message, self.folder = message, folder


class AgreedError(DiffevalError):
    """What all ranks found together, and rank 0 says for all."""


@dataclass(frozen=True, slots=True)
class Share:
    """One of ``count`` equal parts of a list.

    Attributes:
        index: which, from 0.
        count: of how many.
    """

    index: int
    count: int

    def of(self, items: Sequence[T]) -> list[T]:
        """Every ``count``-th item, from ``index`` on: known to each process without asking another."""
        return list(items[self.index :: self.count])

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def parse_share(text: str) -> Share:
    """``2/8``: the second of eight.

    Raises:
        DiffevalError: for anything else.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise DiffevalError(f"--shard: {text!r} is no part of a whole; write I/N with I from 1 to N, e.g. 2/8")
    return Share(int(found[1]) - 1, int(found[2]))


def shard_folder(base: Path, shard: Share | None) -> Path:
    """Where a shard's part of the run in ``base`` lies; ``base`` without one."""
    return base if shard is None else base / f"shard-{shard.index + 1}-of-{shard.count}"


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of one command.

    Attributes:
        rank: of this one, from 0.
        world: how many there are.
        group: through which they speak, of torch.distributed; None for one process.
    """

    rank: int = 0
    world: int = 1
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """What this one does of what they do together."""
        return Share(self.rank, self.world)

    def tell(self, word: Any, reporter: Reporter) -> Any:
        """What rank 0 says, JSON's types alone; what others say is passed over. See ``gather``."""
        return self.gather(word if self.first else None, reporter)[0]

    def gather(self, word: Any, reporter: Reporter) -> list[Any]:
        """What each rank says, in their order, JSON's types alone. Waits until all have spoken.

        Raises:
            StoppedError: if asked to stop meanwhile, or a rank has ended.
        """
        if self.world == 1:
            return [word]
        said = self._exchange({"word": word}, lambda: reporter.stop_requested)
        for rank, one in enumerate(said):
            if "failed" in one:
                raise StoppedError(
                    f"ranks: rank {rank} has ended with an error; what is on disk is kept, run the same command "
                    "to continue"
                )
        return [one["word"] for one in said]

    def failed(self, message: str) -> bool:
        """Tells the others why this rank ends, if they listen; whether rank 0 says the same: once is enough."""
        if self.world == 1:
            return False
        until = time.monotonic() + LISTENING_SECONDS
        try:
            said = self._exchange({"failed": message}, lambda: time.monotonic() > until)
        except StoppedError:
            return False
        return bool(said[0].get("failed") == message)

    def _exchange(self, word: Mapping[str, Any], stop: Callable[[], bool]) -> list[dict[str, Any]]:
        import torch

        said = torch.frombuffer(bytearray(json.dumps(word).encode()), dtype=torch.uint8)
        lengths = [int(one) for one in self._all(torch.tensor([len(said)]), stop)]
        padded = torch.zeros(max(lengths), dtype=torch.uint8)
        padded[: len(said)] = said
        found = self._all(padded, stop)
        return [json.loads(bytes(one[:k].tolist())) for one, k in zip(found, lengths, strict=True)]

    def _all(self, tensor: Any, stop: Callable[[], bool]) -> list[Any]:
        import torch
        from torch import distributed

        found = [torch.empty_like(tensor) for _ in range(self.world)]
        work = distributed.all_gather(found, tensor, group=self.group, async_op=True)
        # Python hears signals only between its own steps: a plain wait would be deaf.
        while not work.is_completed():
            if stop():
                raise StoppedError("ranks: stopped while waiting for the others; run the same command to continue")
            time.sleep(POLL_SECONDS)
        try:
            work.wait()
        except RuntimeError as error:
            raise StoppedError(
                "ranks: another rank has ended; what is on disk is kept, run the same command to continue"
            ) from error
        return found

    def meet(self, run: Path, known: str, reporter: Reporter) -> None:
        """Makes sure that all ranks work on the same thing, in the same directory.

        Args:
            run: the directory; rank 0 leaves a word in it that the others have to find.
            known: what must be the same everywhere.
            reporter: can ask to stop.

        Raises:
            AgreedError: if it is not so.
            StoppedError: see ``gather``.
        """
        if self.world == 1:
            return
        token = os.urandom(8).hex()
        if self.first:
            (run / PROBE).write_text(token, encoding="utf-8")
        try:
            told = self.tell({"token": token, "known": known}, reporter)
            problem = None
            if told["known"] != known:
                problem = "reads other files, or was given other options, than rank 0; give all the same"
            elif not _sees(run / PROBE, told["token"]):
                problem = (
                    f"on {socket.gethostname()} does not see rank 0's {run}; put --out on a file system that all "
                    "machines share, or run parts apart with --shard I/N and join them with diffeval runs merge"
                )
            for rank, said in enumerate(self.gather(problem, reporter)):
                if said is not None:
                    raise AgreedError(f"ranks: rank {rank} {said}")
        finally:
            if self.first:
                (run / PROBE).unlink(missing_ok=True)


def _sees(path: Path, token: str) -> bool:
    """Whether a file holds the token, within the time that a network file system may take."""
    until = time.monotonic() + SEEN_SECONDS
    while True:
        try:
            if path.read_text(encoding="utf-8") == token:
                return True
        except OSError:
            pass
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)


_ALONE = Ranks()
_here = _ALONE


def here() -> Ranks:
    """The ranks that this process works with; itself alone where it has not joined any, or has left them."""
    return _here


def leave() -> None:
    """From here on this process works alone; the others expect no word of it any more."""
    global _here
    _here = _ALONE


def launched(environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Rank and number of ranks, as the launcher's environment says; 0 and 1 without a launcher. Imports no torch."""
    for names in (*_NAMES, _SLURM):
        rank, world = (environ.get(name, "") for name in names)
        if rank.isdigit() and world.isdigit() and int(world) > 1:
            return int(rank), int(world)
    return 0, 1


def join() -> Ranks:
    """Joins the ranks that a launcher has started with this one; accelerate and torch.distributed do the work.

    Raises:
        DiffevalError: if they do not find each other.
    """
    global _here
    rank, world = launched()
    if world == 1 or _here.world > 1:
        return _here
    os.environ.update(_from_slurm(os.environ))
    import torch
    from accelerate import PartialState
    from torch import distributed

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how many threads a rank takes is recorded with the run
            state = PartialState(cpu=True, timeout=JOINING)
        group = distributed.new_group(backend="gloo", timeout=WAITING)
    except (RuntimeError, ValueError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DiffevalError(
            f"ranks: rank {rank} of {world} cannot reach the others: {said}; see MASTER_ADDR and MASTER_PORT"
        ) from error
    if torch.cuda.is_available():
        torch.cuda.set_device(state.local_process_index % torch.cuda.device_count())
    _here = Ranks(state.process_index, state.num_processes, group)
    return _here


def _from_slurm(environ: Mapping[str, str]) -> dict[str, str]:
    """What torch.distributed wants to know, said in the words of srun; nothing where it is known already."""
    rank, world = (environ.get(name, "") for name in _SLURM)
    if "WORLD_SIZE" in environ or not (rank.isdigit() and world.isdigit()):
        return {}
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "localhost")
    port = 20_000 + int(environ.get("SLURM_JOB_ID", "0")) % 20_000  # two jobs on a machine do not meet
    told = {"MASTER_ADDR": first_host(nodes), "MASTER_PORT": str(port)}
    return {
        "RANK": rank,
        "WORLD_SIZE": world,
        "LOCAL_RANK": environ.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": environ.get("SLURM_NTASKS_PER_NODE", "1"),
        **{name: value for name, value in told.items() if name not in environ},
    }


def first_host(nodes: str) -> str:
    """The first machine of Slurm's list: ``gpu03`` of ``gpu[03-05,9],cpu1``."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,]*))?", nodes)
    return nodes if found is None else "".join(part or "" for part in found.groups())


@contextmanager
def in_turn(reporter: Reporter) -> Iterator[None]:
    """Rank 0 goes first, so that the others find in the cache what it has fetched, or trained."""
    ranks = here()
    if not ranks.first:
        ranks.tell(None, reporter)
    yield
    if ranks.first:
        ranks.tell(None, reporter)


def end_part(run: Path, shard: Share | None) -> None:
    """Ends what was done together: rank 0 alone goes on, and nobody where ``run`` holds a shard.

    Raises:
        PartDone: for all others.
    """
    first = here().first
    leave()
    if not first:
        raise PartDone
    if shard is not None:
        raise PartDone(f"shard {shard} is done; when all are: diffeval runs merge {run.parent}", run)
