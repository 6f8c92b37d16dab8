"""Planted faults and healthy networks against every health check that names a cause.

    python benchmarks/fault_matrix.py --zoo DIR [--mnist DIR] [--only GLOB] [--redo CHECKS] [--plain] [--seconds N]

Runs the checks over every network of the zoo that is trained, over faults planted into healthy ones afterwards, and
over the raw weights of healthy ones. A case that is done is not done again, but for the checks that --redo names;
results/fault_matrix_cases.json holds all.
Then it tells, per check: how many of its faults it caught, how many healthy trainings it failed (raw and averaged
weights of one training count once), and how many faults of others it failed, each with a Clopper-Pearson interval.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from record import FOLDER, save
from zoo.planted import Planted, planted, sampler_faults
from zoo.table import ENTRIES, Entry
from zoo.trainings import open_data, open_entry

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Subject, look, ordered
from diffeval.errors import DiffevalError
from diffeval.metrics.shares import share_interval
from diffeval.plan import Settings, plan_sampling

CASES = FOLDER / "fault_matrix_cases.json"
# Those that name a cause. A trajectory shows symptoms, and the log of a training is judged by itself.
LEFT_OUT = ("trajectory", "training-log")
# Healthy networks that faults are planted into, one of each kind.
PLANTED_INTO = (
    "unet-epsilon-linear", "unet-sample-scaled-linear", "unet-v-cosine", "unet-epsilon-sigmoid", "dit", "batchnorm",
    "cnn", "cnn-v-linear",
)  # fmt: skip
SEEDS, SEEDS_MNIST = 64, 16


@dataclass(frozen=True, slots=True)
class Case:
    """One network to be checked.

    Attributes:
        name: of the case.
        cluster: the training behind it.
        fault: planted into it; empty for a healthy one.
        check: that must fail; empty for a healthy one.
        also: that may fail, too.
        checkpoint: as declared.
        entry: of the zoo.
    """

    name: str
    cluster: str
    fault: str
    check: str
    also: tuple[str, ...]
    checkpoint: Checkpoint
    entry: Entry


def cases(folder: Path, wanted: str, *, plain: bool = False) -> Iterator[Case]:
    """All that can be made of what is trained; plainly, what is trained."""
    for entry in ENTRIES:
        if not fnmatch(entry.name, wanted):
            continue
        try:
            checkpoint = open_entry(entry, folder)
        except DiffevalError:
            continue
        fault = entry.fault or ""
        yield Case(entry.name, entry.name, fault, entry.check or "", (), checkpoint, entry)
        if fault:
            continue
        yield Case(f"{entry.name} raw", entry.name, "", "", (), open_entry(entry, folder, raw=True), entry)
        if entry.name in PLANTED_INTO and not plain:
            for one in (*planted(checkpoint), *sampler_faults(checkpoint)):
                yield _case(entry, one)


def _case(entry: Entry, one: Planted) -> Case:
    return Case(f"{entry.name} {one.fault}", entry.name, one.fault, one.check, one.also, one.checkpoint, entry)


def looked_at(
    case: Case, folder: Path, mnist: str | None, before: Mapping[str, Any], wanted: Sequence[str]
) -> dict[str, Any]:
    """What checks say of a case.

    Args:
        case: that is looked at.
        folder: of the zoo.
        mnist: where the data lie.
        before: what others said of it.
        wanted: names of the checks.
    """
    source = open_data(case.entry, "train", mnist)
    subset = folder / case.entry.name / "train.npz"
    generator = plan_sampling(case.checkpoint, Settings(n=SEEDS)).generator
    found, started = dict(before), time.process_time()
    known = {name: one["status"] for name, one in before.items() if name not in wanted}
    seeds = SEEDS_MNIST if case.entry.data == "mnist" else SEEDS
    subject = Subject(case.checkpoint, generator, seeds, source, known=known)  # type: ignore[arg-type]  # is sampled
    if subset.exists():
        subject = _of_subset(case, subset, subject)
    for name in wanted:
        result, _ = look(name, subject)
        summary = _without_places(result.summary, folder, mnist)
        found[name] = {"status": result.status, "summary": summary, "values": dict(result.values)}
    return {
        "cluster": case.cluster, "fault": case.fault, "check": case.check, "also": list(case.also),
        "seconds": time.process_time() - started, "found": dict(sorted(found.items())),
    }  # fmt: skip


def _without_places(summary: str, folder: Path, mnist: str | None) -> str:
    """Where the zoo and the data lie is nobody's business."""
    shown = summary.replace(str(folder), "ZOO")
    return shown.replace(mnist, "MNIST") if mnist else shown


def _of_subset(case: Case, subset: Path, whole: Subject) -> Subject:
    """Trained on few images: those are its training images, and the split's held-out ones are held out."""
    from diffeval.checks.real_images import model_images
    from diffeval.data.source import open_source

    source = open_source(f"npz:{subset}@all")
    subject = Subject(case.checkpoint, whole.generator, SEEDS, source, known=whole.known)
    subject.__dict__["images"] = model_images(source, case.checkpoint)
    subject.__dict__["held_out"] = whole.held_out
    return subject


def interval(hits: int, of: int) -> str:
    """Clopper and Pearson's 95% interval of a share."""
    if not of:
        return ""
    low, high = share_interval(hits, of)
    return f"{low:.2f} .. {high:.2f}"


def rates(done: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Per check, over what was looked at."""
    rows: list[dict[str, object]] = []
    for name in sorted({check for case in done.values() for check in case["found"]}):
        mine = [case for case in done.values() if case["check"] == name]
        caught = sum(case["found"][name]["status"] == "fail" for case in mine)
        open_ = sum(case["found"][name]["status"] == "inconclusive" for case in mine)
        healthy: dict[str, bool] = {}
        for case in done.values():
            if not case["fault"] and _applies(case, name):
                failed = case["found"][name]["status"] == "fail"
                healthy[case["cluster"]] = healthy.get(case["cluster"], False) or failed
        others = [
            case for case in done.values()
            if case["fault"] and case["check"] != name and name not in case["also"] and _applies(case, name)
        ]  # fmt: skip
        wrong = sum(case["found"][name]["status"] == "fail" for case in others)
        alarms = sum(healthy.values())
        rows.append(
            {
                "check": name, "faults": len(mine), "caught": caught, "inconclusive": open_,
                "detection 95%": interval(caught, len(mine)), "healthy trainings": len(healthy), "failed": alarms,
                "false alarm 95%": interval(alarms, len(healthy)), "faults of others": len(others), "blamed": wrong,
                "wrong cause 95%": interval(wrong, len(others)),
            }
        )  # fmt: skip
    return rows


def _applies(case: Mapping[str, Any], name: str) -> bool:
    return bool(name in case["found"] and case["found"][name]["status"] != "not-applicable")


def complaints(done: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Every miss, false alarm and wrong cause, one line each."""
    lines = []
    for name, case in done.items():
        for check, found in case["found"].items():
            status, text = found["status"], found["summary"]
            if check == case["check"] and status != "fail":
                lines.append(f"missed ({status}): {name}: {check}: {text}")
            elif not case["fault"] and status == "fail":
                lines.append(f"false alarm: {name}: {check}: {text}")
            elif case["fault"] and status == "fail" and check not in (case["check"], *case["also"]):
                lines.append(f"wrong cause: {name}: {check}: {text}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--mnist", default=None)
    parser.add_argument("--only", default="*")
    parser.add_argument("--redo", default="", help="checks to be looked at again")
    parser.add_argument("--plain", action="store_true", help="networks as trained, without faults planted afterwards")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no case after so long")
    given = parser.parse_args()
    torch.set_num_threads(1)
    done: dict[str, Any] = json.loads(CASES.read_text()) if CASES.exists() else {}
    started = time.monotonic()
    every = tuple(name for name in ordered() if name not in LEFT_OUT)
    again = tuple(name for name in every if name in given.redo.split(","))
    for case in cases(given.zoo, given.only, plain=given.plain):
        before = done.get(case.name, {}).get("found", {})
        wanted = tuple(name for name in every if name not in before or name in again)
        if not wanted or time.monotonic() - started > given.seconds:
            continue
        if case.entry.data == "mnist" and not given.mnist:
            continue
        done[case.name] = looked_at(case, given.zoo, given.mnist, before, wanted)
        told = {
            name: one["status"] for name, one in done[case.name]["found"].items() if one["status"] in ("fail", "warn")
        }
        print(f"{case.name}: {told} {done[case.name]['seconds']:.0f} s", flush=True)
        CASES.write_text(json.dumps(done, indent=1) + "\n")
    save("fault_matrix", rates(done), ("diffeval", "torch", "diffusers"))
    print("\n".join(complaints(done)))


if __name__ == "__main__":
    main()
