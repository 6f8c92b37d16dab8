"""Runs diffeval commands in several processes; one rank can be made to fail.

    torchrun ... tests/launched.py '{"commands": [["fid", ...], ["sweep", ...]], "how": "kill"}'
    python tests/launched.py '[{"commands": ..., "how": ..., "world": 3, "folder": DIR}, ...]'

The second form starts the ranks itself, one group after the other, with stdout and stderr in the folder: imports are
paid once for all of them. It ends no rank when another ends. With ``kill`` or ``raise`` rank 1 ends at its second
batch; with ``elsewhere`` each rank works in a folder of its own, as on machines that share none.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import accelerate  # noqa: F401  # what the ranks need is imported once, before they are started

import diffeval.ranks
import diffeval.report.page
import diffeval.sweeps.sweep
from diffeval.cli.app import make_app
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError


def _spoil(how: str) -> None:
    """Has the second batch of this rank end in disaster."""
    original, calls = Generator.images, [0]

    def images(self: Generator, indices: range):  # type: ignore[no-untyped-def]
        calls[0] += 1
        if calls[0] == 2 and how == "kill":
            while not list(Path("run").glob("features/*/00000130.npz")):  # it is committed meanwhile
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if calls[0] == 2:
            raise DiffevalError("the disk of this rank is full")
        return original(self, indices)

    Generator.images = images  # type: ignore[method-assign]


def run(commands: list[list[str]], how: str) -> None:
    """Runs the commands as the rank that the environment names."""
    rank = os.environ["RANK"]
    if how in ("kill", "raise") and rank == "1":
        _spoil(how)
    if how == "elsewhere":
        diffeval.ranks.SEEN_SECONDS = 0.2
        Path(f"rank{rank}").mkdir()
        os.chdir(f"rank{rank}")
    for words in commands[:-1]:
        make_app()(words, prog_name="diffeval", standalone_mode=False)
    make_app()(commands[-1], prog_name="diffeval")


def start(group: dict[str, Any]) -> None:
    """Starts a group of ranks, and writes their exit codes into its folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = str(group["world"])
    os.environ.update(WORLD_SIZE=world, LOCAL_WORLD_SIZE=world, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    children = []
    for rank in range(group["world"]):
        child = os.fork()
        if child == 0:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            os.chdir(group["folder"])
            for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
                file = os.open(name, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
                os.dup2(file, stream.fileno())
            run(group["commands"], group["how"])
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    Path(group["folder"], "codes").write_text(json.dumps(codes))


def main() -> None:
    """Is a rank, or starts some."""
    given = json.loads(sys.argv[1])
    if isinstance(given, dict):
        run(given["commands"], given["how"])
        return
    for group in given:
        start(group)


if __name__ == "__main__":
    main()
