"""Trains the networks of the planted-fault matrix: healthy ones, one factor varied at a time, and ones with a fault.

    python benchmarks/train_zoo.py --into DIR [--only GLOB] [--list] [--mnist DIR]

One process, one thread, about a minute per entry on the 8x8 digits and five on MNIST. An entry whose files are
complete is skipped, so that the same command continues a stopped run. ``DIR/NAME/`` holds the weights (averaged, raw),
``entry.json`` with the command that opens them, the training log, and what was measured (``result.json``).
"""

import argparse
import json
import os
import shlex
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

# Before torch is imported, as it reads it then.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from record import save
from zoo.risks import risks
from zoo.table import ENTRIES, NETWORKS, Entry
from zoo.trainings import WEIGHTS, Trained, as_json, open_data, open_entry, packed, train

from diffeval.checkpoints.options import flag
from diffeval.errors import DiffevalError
from diffeval.runs.files import replace_arrays, replace_bytes, replace_text

# The result is written last: with it, an entry is complete.
ENTRY, LOG, PROBES, RESULT, IMAGES = "entry.json", "log.jsonl", "probe.jsonl", "result.json", "train.npz"


def command(entry: Entry, folder: Path) -> str:
    """The command line that checks the averaged weights as they are declared, from the root of the repository."""
    words = ["diffeval", "check", str(folder / entry.name / WEIGHTS)]
    model = f"{NETWORKS.relative_to(NETWORKS.parents[2])}:{entry.network}"
    for name, value in entry.options().given().items():
        if name == "value_range":
            # With "=", as a range may begin with a minus.
            words.append(f"{flag(name)}={','.join(f'{end:g}' for end in value)}")
        elif value is True:
            words.append(flag(name))
        else:
            words += [flag(name), model if name == "model" else str(value)]
    if entry.images is not None:
        words += ["--ref", f"npz:{folder / entry.name / IMAGES}"]
    elif entry.data == "mnist":
        words += ["--ref", "mnist:$DIFFEVAL_TEST_MNIST"]
    return " ".join(word if "$" in word else shlex.quote(word) for word in words)


def result_of(entry: Entry, folder: Path) -> dict[str, Any] | None:
    """What was measured of an entry; None where it is not complete, or was trained by another recipe."""
    try:
        result: dict[str, Any] = json.loads((folder / entry.name / RESULT).read_text())
        told = json.loads((folder / entry.name / ENTRY).read_text())["entry"]
    except (OSError, ValueError, KeyError):
        return None
    whole = all((folder / entry.name / name).exists() for name in (WEIGHTS, LOG, PROBES))
    # A factor that was added to the table since had its default.
    same = {**as_json(Entry(entry.name)), **told} == as_json(entry)
    return result if same and whole else None


def make(entry: Entry, folder: Path, mnist: str | None) -> dict[str, Any]:
    """Trains an entry, writes its files, and measures it as it is declared."""
    place = folder / entry.name
    (place / RESULT).unlink(missing_ok=True)
    data, heldout = open_data(entry, "train", mnist), open_data(entry, "heldout", mnist)
    trained = train(entry, data)
    _write(entry, folder, trained)
    averaged, raw = open_entry(entry, folder), open_entry(entry, folder, raw=True)
    result = {
        "final loss": trained.final_loss,
        "seconds": round(trained.seconds, 1),
        "parameters": trained.parameters,
        **risks(averaged, raw, trained.source, data, heldout),
        "rows": trained.rows,
    }
    replace_text(place / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def _write(entry: Entry, folder: Path, trained: Trained) -> None:
    place = folder / entry.name
    for name, rows in ((LOG, trained.log), (PROBES, trained.probes)):
        replace_text(place / name, "".join(json.dumps(row) + "\n" for row in rows))
    if entry.images is not None:
        images = {"arr_0": trained.source.images.transpose(0, 2, 3, 1)}
        labels = {} if trained.source.labels is None else {"arr_1": np.asarray(trained.source.labels)}
        replace_arrays(place / IMAGES, {**images, **labels})
    replace_bytes(place / WEIGHTS, packed(trained.weights))
    told = {"entry": as_json(entry), "command": command(entry, folder)}
    replace_text(place / ENTRY, json.dumps(told, indent=2) + "\n")


def row_of(entry: Entry, result: dict[str, Any]) -> dict[str, object]:
    """What the table of results shows."""
    recipe = {
        "name": entry.name,
        "fault": entry.fault,
        "check": entry.check,
        "network": entry.network,
        "prediction": entry.prediction,
        "schedule": entry.schedule + (", zero SNR" if entry.zero_snr else ""),
        "T": entry.timesteps,
        "steps": entry.last_step,
        "seed": entry.seed,
    }
    measured = {name: value for name, value in result.items() if name != "rows"}
    return {**recipe, **measured, "enough": _enough(entry, result)}


def _enough(entry: Entry, result: dict[str, Any]) -> bool | None:
    """Whether a healthy network beats the affine denoiser by 10% at log-SNR 0; None for others."""
    return bool(result["ema 0"] < 0.9 * result["affine 0"]) if entry.healthy and not entry.early else None


def _line(result: dict[str, Any]) -> str:
    """An entry's numbers, for the log."""
    risks_at_0 = ", ".join(f"{kind} {result[f'{kind} 0']:.4f}" for kind in ("ema", "raw", "affine"))
    return f"{result['seconds']:.0f} s, loss {result['final loss']:.4f}, at log-SNR 0: {risks_at_0}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, help="folder of the trained networks")
    parser.add_argument("--only", default="*", help="names of entries, e.g. 'unet-v-*'")
    parser.add_argument("--list", action="store_true", help="say what there is, and what is trained, and stop")
    parser.add_argument("--mnist", default=os.environ.get("DIFFEVAL_TEST_MNIST"), help="folder of MNIST's files")
    given = parser.parse_args()
    wanted = [entry for entry in ENTRIES if fnmatch(entry.name, given.only)]
    if given.list:
        for entry in wanted:
            state = "trained" if given.into and result_of(entry, given.into) else "-"
            print(f"{entry.name:36} {entry.fault or 'healthy':26} {entry.check or '':20} {state}")
        return
    if given.into is None:
        parser.error("give --into DIR")
    torch.set_num_threads(1)
    os.nice(10)
    folder = given.into.resolve()
    for number, entry in enumerate(wanted, 1):
        if result_of(entry, folder) is not None:
            continue
        try:
            result = make(entry, folder, given.mnist)
        except DiffevalError as error:
            print(f"{number}/{len(wanted)} {entry.name}: left out: {error}", flush=True)
            continue
        lacking = "" if _enough(entry, result) in (True, None) else " NOT TRAINED WELL ENOUGH"
        print(f"{number}/{len(wanted)} {entry.name}: {_line(result)}{lacking}", flush=True)
    found = [(entry, result_of(entry, folder)) for entry in ENTRIES]
    rows = [row_of(entry, result) for entry, result in found if result is not None]
    if rows:
        save("zoo", rows, libraries=("torch", "diffusers", "numpy"))


if __name__ == "__main__":
    main()
