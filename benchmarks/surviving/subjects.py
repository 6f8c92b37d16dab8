"""The commands that mishaps befall, and what of their output must be as if nothing had happened."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# What results say of the machine, the moment and the command, and not of the model; the seal is over these, too.
OF_THE_DAY = ("run", "provenance", "warnings", "seal")
# The table of what took how long.
SECONDS = "cost"
# Some of each sort: those that probe the network, that sample, and that read weights alone.
CHECKS = ("untrained", "timestep-embedding", "noise-schedule", "ema", "step-convergence", "trajectory")


@dataclass(frozen=True, slots=True)
class Subject:
    """A command.

    Attributes:
        name: of the command.
        words: its arguments for an output of this path, in a folder that ``prepare`` filled.
        digest: of what it made, times and places left out.
        output: name of its output in the round's folder.
        needs: whether a finished run must lie beside it.
    """

    name: str
    words: Callable[[Path], list[str]]
    digest: Callable[[Path], str]
    output: str = "run"
    needs: bool = False


def _hashed(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def numbers(document: Mapping[str, Any]) -> bytes:
    """What results say of the model, as text."""
    tables = {name: rows for name, rows in document["tables"].items() if name != SECONDS}
    kept = {name: value for name, value in document.items() if name not in OF_THE_DAY}
    return json.dumps({**kept, "tables": tables}, sort_keys=True).encode()


def arrays(path: Path) -> bytes:
    """Names and contents of an npz, without its dates."""
    if not path.exists():
        return b"none"
    with np.load(path, allow_pickle=False) as file:
        return b"".join(name.encode() + repr(file[name].shape).encode() + file[name].tobytes() for name in file.files)


def run_digest(out: Path) -> str:
    """Of an evaluation or of checks: its numbers, terms, and first images."""
    document = json.loads((out / "results.json").read_text())
    kept = [arrays(out / name) for name in ("terms.npz", "grid.npz", "sample_pictures.npz")]
    return _hashed(numbers(document), *kept)


def sweep_digest(out: Path) -> str:
    """Of a sweep: its own results and table, and those of its points."""
    points = sorted(path.parent for path in out.glob("points/*/results.json"))
    return _hashed(
        numbers(json.loads((out / "results.json").read_text())),
        (out / "sweep.csv").read_bytes(),
        *(point.name.encode() + run_digest(point).encode() for point in points),
    )


def training_digest(out: Path) -> str:
    """Of a training: both weights, its losses, and that it says it is done."""
    weights = [next((out / name).glob("*.safetensors")).read_bytes() for name in ("unet", "unet_raw")]
    status = json.loads((out / "run.json").read_text())["status"]
    return _hashed(*weights, (out / "log.jsonl").read_bytes(), (out / "probe.jsonl").read_bytes(), status.encode())


def page_digest(out: Path) -> str:
    """Of a page: all of its bytes."""
    return _hashed(out.read_bytes())


def _evaluation(out: Path) -> list[str]:
    return ["fid", "digits", "--n", "1200", "--batch", "64", "--device", "cpu", "--out", str(out)]


def _sweep(out: Path) -> list[str]:
    words = ["sweep-cfg", "digits", "--scales", "1,4", "--n", "400", "--batch", "64", "--device", "cpu"]
    return [*words, "--out", str(out)]


def _check(out: Path) -> list[str]:
    words = ["check", "digits", "--only", ",".join(CHECKS), "--n", "8", "--device", "cpu"]
    return [*words, "--out", str(out)]


def _training(out: Path) -> list[str]:
    words = ["train", "digits", "--out", str(out), "--steps", "90", "--batch", "32", "--save-every", "30"]
    # A training is continued by a word of its own, once there is something to continue.
    return [*words, "--device", "cpu", *(["--resume"] if (out / "state.pt").exists() else [])]


def _page(out: Path) -> list[str]:
    return ["report", "finished", "--out", str(out)]  # commands run in their round's folder; the page names its runs


SUBJECTS = {
    one.name: one
    for one in (
        Subject("train", _training, training_digest),
        Subject("fid", _evaluation, run_digest),
        Subject("sweep-cfg", _sweep, sweep_digest),
        Subject("check", _check, run_digest),
        Subject("report", _page, page_digest, output="page.html", needs=True),
    )
}
