"""How much is gained by committing images in a thread while the next are made.

    python benchmarks/overlap.py [--turns 5] [--threads 1 2] [--scale 1]

The same ``evaluate``, with the committer as it is and with one that does all it is given at once, in turns in one
process. ``digits`` samples the digits model; the others read ready-made noise from an npz, keep it as the run's
images, and extract 48 block means of it: hardly any work, so that appearance statistics and writing are most of what
is left, and more can be gained there than with any real extractor. Both must leave the same bytes and scores.

Seconds are those of making and committing images, without the reference and without scoring. ``committing ms`` is what
the pieces of work that are handed to the thread take of a processor, per image, where they are done at once.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import torch
from record import save

import diffeval.harvest
from diffeval.committer import Committer, Piece
from diffeval.evaluate import evaluate
from diffeval.measured import Extracting
from diffeval.plan import Settings

EXTRACTOR = """
def blocks():
    return lambda pixels: pixels.float().unflatten(3, (4, -1)).unflatten(2, (4, -1)).mean((3, 5)).flatten(1)
"""
# Images of each case, and their side; the digits model makes its own.
CASES = {"digits, 8x8, sampled": (1024, 8), "ready-made, 32x32": (16384, 32), "ready-made, 256x256": (1024, 256)}
BATCH = 256


class AtOnce(Committer):
    """Does each piece where it is handed over, as if there were no thread."""

    spent: ClassVar[list[float]] = []

    def submit(self, piece: Piece) -> None:
        started = time.thread_time()
        piece()
        self.spent.append(time.thread_time() - started)


@dataclass(frozen=True)
class Case:
    """What is evaluated, and how."""

    name: str
    n: int
    folder: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def seconds(self, kind: type[Committer]) -> tuple[float, dict[str, str], object]:
        """One run: seconds of its images, hashes of the files that it left of them, and its scores."""
        out = self.folder / "run"
        with patch.object(diffeval.harvest, "Committer", kind):
            results = evaluate(metrics=("fid",), at=(self.n,), out=out, **self.arguments)
        paths = [out / "grid.npz", *sorted(out.glob("*/**/*.npz"))]
        files = {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        rmtree(out)
        return (
            results.provenance.seconds["sampling"],
            files,
            [(one.name, one.value, one.std_error) for one in results.scores],
        )


def case(name: str, n: int, side: int, folder: Path) -> Case:
    settings = Settings(n=n, device="cpu", batch=BATCH)
    if side == 8:
        return Case(name, n, folder, {"checkpoint": "digits", "settings": replace(settings, compile="off")})
    random = np.random.Generator(np.random.Philox(side))
    for file, count in (("real", 256), ("made", n)):
        pixels = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        np.savez(folder / f"{file}-{side}.npz", arr_0=pixels)
    (folder / "own.py").write_text(EXTRACTOR)
    return Case(
        name, n, folder,
        {
            "checkpoint": f"images:{folder / f'made-{side}.npz'}",
            "settings": settings,
            "ref": f"npz:{folder / f'real-{side}.npz'}",
            "extracting": Extracting(f"{folder / 'own.py'}:blocks"),
            "keep": "images",
        },
    )  # fmt: skip


def measure(one: Case, threads: int, turns: int) -> dict[str, object]:
    torch.set_num_threads(threads)
    taken: dict[type[Committer], list[float]] = {Committer: [], AtOnce: []}
    left = []
    for turn in range(turns + 1):
        AtOnce.spent.clear()
        for kind in sorted(taken, key=lambda kind: (kind is AtOnce) == turn % 2):  # neither is always first
            seconds, *found = one.seconds(kind)
            left.append(found)
            if turn:
                taken[kind].append(seconds)
    assert all(found == left[0] for found in left), "what is committed must not depend on who commits it"
    ratios = [plain / ours for plain, ours in zip(taken[AtOnce], taken[Committer], strict=True)]
    row: dict[str, object] = {
        "images": one.name,
        "n": one.n,
        "threads": threads,
        "at once s": round(statistics.median(taken[AtOnce]), 3),
        "overlapped s": round(statistics.median(taken[Committer]), 3),
        "times as fast": round(statistics.median(ratios), 3),
        "from": round(min(ratios), 3),
        "to": round(max(ratios), 3),
        "turns": turns,
        "committing ms": round(1000 * sum(AtOnce.spent) / one.n, 4),
        "equal": True,
    }
    print(row, flush=True)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of images")
    options = parser.parse_args(arguments)
    rows = []
    for name, (n, side) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            one = case(name, max(BATCH, int(options.scale * n)), side, Path(folder))
            rows += [measure(one, threads, options.turns) for threads in options.threads]
    save("overlap", rows, libraries=("torch", "numpy"))


if __name__ == "__main__":
    main()
