"""Several processes for one run, as torchrun starts them: are features and scores those of one process?

    python benchmarks/ranks.py [--n 3000] [--most 8]

``diffeval fid digits`` by 1, 2, 3 and 8 ranks of one thread each, and by 2 that are killed on the way (all of them, by
SIGKILL) and continued by 3. All are held against one process that knows nothing of ranks: chunk files of features byte
by byte as arrays, scores with errors and intervals by their largest relative difference. Seconds are of the whole
command; with more ranks than cores they say nothing of speed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from record import save

RANKS = (1, 2, 3, 8)
BATCH = 64
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(out: Path, n: int, ranks: int | None) -> list[str]:
    """One process, or so many ranks."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    words = ["-m", "diffeval", "fid", "digits", "-n", str(n), "--batch", str(BATCH), "--device", "cpu", "-q"]
    return [sys.executable, *launcher, *words, "--out", str(out)]


def run(out: Path, n: int, ranks: int | None = None) -> float:
    """Seconds of the whole command."""
    started = time.monotonic()
    subprocess.run(command(out, n, ranks), check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.monotonic() - started


def killed(out: Path, n: int, ranks: int) -> None:
    """Kills the launcher and all ranks as soon as a chunk is on disk."""
    launcher = psutil.Popen(command(out, n, ranks), stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    while not list(out.glob("features/*/*.npz")):
        assert launcher.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    every = [launcher, *launcher.children(recursive=True)]
    for process in every:
        process.kill()
    psutil.wait_procs(every)
    assert not (out / "results.json").exists(), "it ended before it was killed"


def features(out: Path) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of every chunk file."""
    found = {}
    for path in sorted(out.glob("features/*/*.npz")):
        with np.load(path) as file:
            found[path.name] = {name: file[name] for name in file.files}
    return found


def numbers(out: Path) -> list[float]:
    """Values, errors and intervals of all scores."""
    scores = json.loads((out / "results.json").read_text())["scores"]
    every = [one for score in scores for one in (score["value"], score["std_error"], *(score["ci95"] or ()))]
    return [one for one in every if one is not None]


def row(name: str, out: Path, one: Path, n: int, seconds: float) -> dict[str, object]:
    """A run held against that of one process."""
    ours, theirs = features(out), features(one)
    assert set(ours) == set(theirs), "other chunks than one process has"
    differ = [
        file
        for file, arrays in theirs.items()
        if set(arrays) != set(ours[file]) or not all(np.array_equal(arrays[key], ours[file][key]) for key in arrays)
    ]
    found, wanted = np.array(numbers(out)), np.array(numbers(one))
    gap = np.abs(found - wanted) / np.maximum(np.abs(wanted), np.finfo(float).tiny)
    return {
        "processes": name, "n": n, "seconds": seconds, "files": len(theirs), "files that differ": len(differ),
        "scores differ by": float(gap.max()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--most", type=int, default=RANKS[-1])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one"
        rows = [row("one, without a launcher", one, one, options.n, run(one, options.n))]
        for ranks in (ranks for ranks in RANKS if ranks <= options.most):
            out = Path(folder) / str(ranks)
            rows.append(row(str(ranks), out, one, options.n, run(out, options.n, ranks)))
            print(rows[-1], flush=True)
        out = Path(folder) / "killed"
        killed(out, options.n, 2)
        rows.append(row("2, killed, then 3", out, one, options.n, run(out, options.n, 3)))
    save("ranks", rows, libraries=("torch", "numpy"))


if __name__ == "__main__":
    main()
