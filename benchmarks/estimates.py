"""What ``--dry-run`` and a running command say of the time, against what it takes.

    python benchmarks/estimates.py [--turns 1] [--threads 2] [--only demo,fid,...]

Each case is two processes with empty caches: ``diffeval ... --dry-run --json``, and the command itself, timed from
outside by the lines that it prints; the MNIST run measures a checkpoint that ``diffeval train`` has just made, with an
extractor that is fitted on the way. What was measured is kept in ``results/estimates.partial.json``, and a script that
was stopped goes on there. ``$DIFFEVAL_TEST_MNIST`` names the folder of MNIST.

A row is a stage: what the dry run said, what it took, and the ratio, medians over turns. What is made of an image on
its way (sampling, decoding, features) is one stage, as it is one loop; so is what follows the scores (pictures, the
page). ``running`` rows are what the command said was left of it while it ran, at any moment with more than 5 s left.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from record import FOLDER, save

KEPT = FOLDER / "estimates.partial.json"
# Where the checkpoint of the MNIST run lies between turns.
MADE = FOLDER.parent / ".estimates"
MODEL = MADE / "model"
MNIST = os.environ.get("DIFFEVAL_TEST_MNIST", "")
TRAINED = ("--steps", "30", "--batch", "64", "--preset", "32px")
CASES: Mapping[str, tuple[str, ...]] = {
    "demo": ("demo",),
    "fid digits": ("fid", "digits", "--n", "5000"),
    "eval digits": ("eval", "digits"),
    "sweep-cfg digits": ("sweep-cfg", "digits", "--scales", "1,2,4", "--n", "1000"),
    "check digits": ("check", "digits"),
    "train mnist": ("train", f"mnist:{MNIST}", "--out", str(MODEL), *TRAINED),
    "fid mnist": ("fid", str(MODEL), "--ref", f"mnist:{MNIST}", "--n", "1024", "--steps", "12", "--batch", "128"),
}
LIBRARIES = ("torch", "diffusers", "numpy")
# Lines that begin a stage of the command, and what prices they are held against; the rest belongs to the one before.
LOOP, AFTER = "images", "scores, pictures, page"
MARKS = (
    (r"extractor: fitting one", "fitting"),
    (r"\[sampling\]", LOOP),
    (r"compiling the network", "compiling"),
    (r"reference .*: extracting", "reference"),
    (r"\[scoring\]", AFTER),
    (r"\[training\]", "training"),
)
STAGE_OF = dict.fromkeys(("sampling", "decoding", "features", "judge"), LOOP) | dict.fromkeys(
    ("scoring", "pictures", "page"), AFTER
)
# Time that is left, as the command says it.
IN_ALL = re.compile(r"(?:(\d+):)?(\d+):(\d\d) in all")
TO_GO = re.compile(r"about (\d+) s to go")
# Training is one stage: what is left of it is all that is left.
TRAINING = re.compile(r"\[training\].*ETA (?:(\d+):)?(\d+):(\d\d)")
# Moments with less than this left tell little.
LEAST_LEFT = 5.0

Line = tuple[float, str]


def run(words: Sequence[str], threads: int, folder: Path) -> tuple[float, list[Line], dict[str, Any]]:
    """Seconds of a command in a folder, what it said on stderr and when, and its document."""
    with tempfile.TemporaryDirectory() as cache:
        told = {"DIFFEVAL_CACHE": cache, "OMP_NUM_THREADS": str(threads), "CI": "1"}
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "diffeval", *words, "--json"],
            cwd=folder, env={**os.environ, **told}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines: list[Line] = []
        assert process.stderr is not None, "piped"
        assert process.stdout is not None, "piped"

        def listen(stream: Any) -> None:
            lines.extend((time.perf_counter() - started, line.strip()) for line in stream)

        listener = Thread(target=listen, args=(process.stderr,))
        listener.start()
        document = process.stdout.read()
        process.wait()
        listener.join()
        taken = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: " + "\n".join(line for _, line in lines[-20:]))
    return taken, lines, json.loads(document)


def measure(name: str, threads: int) -> dict[str, Any]:
    """A dry run, and the command."""
    words = CASES[name]
    if name == "train mnist":
        shutil.rmtree(MODEL, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        spent, _, plan = run([*words, "--dry-run"], threads, Path(folder))
        taken, lines, document = run(words, threads, Path(folder))
    told = [(one["stage"], one["seconds"]) for one in plan["stages"]]
    truth = stages(name, taken, lines, document, [stage for stage, _ in told])
    estimates: dict[str, float] = {}
    for stage, seconds in told:
        joined = STAGE_OF.get(stage, stage)
        estimates[joined] = estimates.get(joined, 0.0) + seconds
    return {
        "dry run": spent, "estimates": estimates, "truth": truth, "total": plan["seconds"], "taken": taken,
        "running": running(taken, lines),
    }  # fmt: skip


def stages(
    name: str, taken: float, lines: Sequence[Line], document: Mapping[str, Any], told: Sequence[str]
) -> dict[str, float]:
    """Seconds that each stage took."""
    if name == "demo":  # its own headings, in the order of its prices
        begins = [at for at, line in lines if re.match(r"\d/\d ", line)]
        borders = [0.0, *begins[1:], taken]
        return {stage: end - at for stage, (at, end) in zip(told, itertools.pairwise(borders), strict=True)}
    if name == "check digits":
        cost = {row["spent_on"]: row["seconds"] for row in document["tables"]["cost"]}
        named = {stage: cost.get(stage, 0.0) for stage in told if stage in cost}
        others = sum(seconds for stage, seconds in cost.items() if stage not in named)
        return {"start": taken - sum(cost.values()), **named, "other checks": others}
    found, current, since = dict[str, float](), "start", 0.0
    for at, line in lines:
        mark = next((stage for pattern, stage in MARKS if re.match(pattern, line)), None)
        if mark is not None and mark != current:
            found[current] = found.get(current, 0.0) + at - since
            current, since = mark, at
    found[current] = found.get(current, 0.0) + taken - since
    return found


def running(taken: float, lines: Sequence[Line]) -> list[float]:
    """What a command said was left of it, over what was."""
    ratios = []
    for at, line in lines:
        said, other = IN_ALL.search(line) or TRAINING.search(line), TO_GO.search(line)
        if said is None and other is None:
            continue
        if said is not None:
            hours, minutes, seconds = (int(one or 0) for one in said.groups())
            left = 3600.0 * hours + 60 * minutes + seconds
        else:
            assert other is not None, "one of them"
            left = float(other[1])
        if taken - at > LEAST_LEFT:
            ratios.append(left / (taken - at))
    return ratios


def rows_of(name: str, kept: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Medians over turns."""

    def row(stage: str, said: Sequence[float], took: Sequence[float]) -> dict[str, Any]:
        ratios = [one / other for one, other in zip(said, took, strict=True) if other > 0]
        middle = [statistics.median(one) if one else None for one in (said, took, ratios)]
        return {
            "case": name, "stage": stage, "estimate s": middle[0], "taken s": middle[1], "ratio": middle[2],
            "turns": len(kept),
        }  # fmt: skip

    names = list(dict.fromkeys(stage for one in kept for stage in (*one["truth"], *one["estimates"])))
    found = [
        row(stage, [one["estimates"].get(stage, 0.0) for one in kept], [one["truth"].get(stage, 0.0) for one in kept])
        for stage in names
    ]
    found.append(row("total", [one["total"] for one in kept], [one["taken"] for one in kept]))
    said = [ratio for one in kept for ratio in one["running"]]
    if said:
        found.append(
            {
                "case": name, "stage": f"running, {len(said)} moments", "ratio": statistics.median(said),
                "turns": len(kept), "lowest": min(said), "highest": max(said),
            }
        )  # fmt: skip
    spent = statistics.median(one["dry run"] for one in kept)
    found.append({"case": name, "stage": "the dry run itself", "taken s": spent, "turns": len(kept)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default=",".join(CASES), help="Cases, e.g. 'demo,fid mnist'.")
    options = parser.parse_args()
    names = [name for name in CASES if name in options.only.split(",")]
    if any("mnist" in name for name in names) and not MNIST:
        raise SystemExit("DIFFEVAL_TEST_MNIST is not set: where does MNIST lie?")
    MADE.mkdir(exist_ok=True)
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for turn in range(options.turns):
        for name in names:
            key = f"{name}/{options.threads}/{turn}"
            if key in kept and (name != "train mnist" or MODEL.exists()):
                continue
            kept[key] = measure(name, options.threads)
            KEPT.write_text(json.dumps(kept, indent=1) + "\n")
            total, taken = kept[key]["total"], kept[key]["taken"]
            print(f"{key}: {total:.1f} s said, {taken:.1f} s taken, ratio {total / taken:.2f}", flush=True)
    rows = []
    for name in CASES:
        turns = [one for key, one in kept.items() if key.split("/")[:2] == [name, str(options.threads)]]
        rows += rows_of(name, turns) if turns else []
    save("estimates", rows, LIBRARIES)


if __name__ == "__main__":
    main()
