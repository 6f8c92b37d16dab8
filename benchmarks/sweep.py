"""A sweep against a loop over single evaluations: wall time and network evaluations, and the same numbers.

    python benchmarks/sweep.py [--n 1000]

Both measure the digits model at the same guidance scales by the same metrics, each in a fresh process and folder and a
warm cache of the reference. The loop is what one would write without ``sweep-cfg``: ``diffeval eval`` once per scale.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import save

from diffeval.sweeps.run import FAMILIES

SCALES = ("1", "2", "3", "5")
EVALUATIONS = {"1": 10}
GUIDED = 20


def timed(commands: list[list[str]], folder: Path) -> tuple[float, list[dict[str, object]]]:
    """Seconds of all commands together, and the documents that they print."""
    started, documents = time.monotonic(), []
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "diffeval", *command, "--json", "-q"],
            cwd=folder, capture_output=True, text=True, check=True, env=dict(os.environ),
        )  # fmt: skip
        documents.append(json.loads(done.stdout))
    return time.monotonic() - started, documents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    given = parser.parse_args()
    n = str(given.n)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        timed([["fid", "digits", "--n", "100", "--steps", "2"]], Path(one))  # the reference's features
        swept, (document,) = timed([["sweep-cfg", "digits", "--scales", ",".join(SCALES), "--n", n]], Path(one))
        names = ",".join(FAMILIES)
        looped, singles = timed(
            [["eval", "digits", "--w", w, "--n", n, "--metrics", names] for w in SCALES], Path(other)
        )
        again, _ = timed([["sweep-cfg", "digits", "--scales", ",".join(SCALES), "--n", n]], Path(one))
    ours = {(row["w"], row["score"]): row["value"] for row in document["tables"]["curve"]}  # type: ignore[index]
    for w, single in zip(SCALES, singles, strict=True):
        for score in single["scores"]:  # type: ignore[attr-defined]
            assert ours[(float(w), score["name"])] == score["value"], (w, score["name"])
    evaluations = given.n * sum(EVALUATIONS.get(w, GUIDED) for w in SCALES)
    rows = [
        {"command": "sweep-cfg, with choices and page", "seconds": swept, "network evaluations": evaluations},
        {"command": "eval once per scale", "seconds": looped, "network evaluations": evaluations},
        {"command": "sweep-cfg again", "seconds": again, "network evaluations": 0},
    ]
    save("sweep", rows, libraries=("torch", "diffusers", "numpy"))


if __name__ == "__main__":
    main()
