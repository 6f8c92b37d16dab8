"""Kills ``diffeval fid`` at random moments; the same command must always end with an unbroken run's numbers.

    python benchmarks/kill.py [--rounds 20] [--n 1500]

Each round starts the command, sends SIGKILL after a random time between its first second and the length of an unbroken
run, and starts it again until it finishes, killing it with probability one half each time. Images, imports, scoring
and the writing of results are all hit. Every number in ``results.json`` must equal the unbroken run's exactly.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from record import save


def command(out: Path, n: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "diffeval",
        "fid",
        "digits",
        "--n",
        str(n),
        "--device",
        "cpu",
        "-q",
        "--out",
        str(out),
    ]


def scores(out: Path) -> Any:
    return json.loads((out / "results.json").read_text())["scores"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--n", type=int, default=1500)
    options: SimpleNamespace = SimpleNamespace(**vars(parser.parse_args()))
    random = np.random.Generator(np.random.Philox(0))
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run(command(Path(folder) / "whole", options.n), check=True, stdout=subprocess.DEVNULL)
        length = time.monotonic() - started
        expected = scores(Path(folder) / "whole")
        for number in range(options.rounds):
            out = Path(folder) / f"round-{number}"
            kills: list[int] = []
            while True:
                process = subprocess.Popen(command(out, options.n), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                if not kills or random.random() < 0.5:
                    try:
                        process.wait(timeout=random.uniform(1.0, length))
                    except subprocess.TimeoutExpired:
                        process.send_signal(signal.SIGKILL)
                        kills.append(len(list(out.glob("features/*/*.npz"))))
                _, errors = process.communicate()
                if process.returncode != -signal.SIGKILL:
                    break
            assert process.returncode == 0, errors.decode()
            equal = scores(out) == expected
            rows.append({"round": number, "kills": len(kills), "chunks_at_kill": str(kills), "equal": equal})
            assert equal, f"round {number} ended with other numbers"
    save("kill", rows, libraries=("torch", "numpy"))


if __name__ == "__main__":
    main()
