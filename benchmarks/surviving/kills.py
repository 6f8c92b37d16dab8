"""SIGKILL at random moments."""

import json
import time
from pathlib import Path
from random import Random

from diffeval.errors import DiffevalError
from diffeval.runs.directory import RunDirectory
from surviving.outcomes import Case, Outcome, Process, finish, run
from surviving.subjects import Subject

# Seconds of an unbroken command by its name, as ``measure`` found them.
LENGTHS: dict[str, float] = {}


def measure(subject: Subject, folder: Path) -> str:
    """Runs a command unbroken, and keeps how long it took; the digest of what it made."""
    started = time.monotonic()
    done = run(subject.words(folder / subject.output), folder)
    assert done.code == 0, f"{subject.name} ends with {done.code} where nothing befalls it: {done.errors}"
    LENGTHS[subject.name] = time.monotonic() - started
    return subject.digest(folder / subject.output)


def standing(out: Path) -> str:
    """Where a killed command stood, by what it left on the disk."""
    if out.suffix:
        return "page written" if out.exists() else "nothing written"
    state = out / "run.json"
    if not state.exists():
        return "nothing written"
    if json.loads(state.read_text())["status"] == "done":
        return "done but for the page"
    made = [*out.rglob("*.npz"), *out.glob("state.pt"), *out.glob("probe.jsonl")]
    return "work on disk" if made else "begun"


def kill(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """Kills a command, with probability one half once more when it goes on, and lets it end."""
    out, kills, struck = folder / subject.output, 0, "ended before"
    while kills == 0 or random.random() < 0.5:
        process = Process(subject.words(out), folder)
        if process.wait(random.uniform(0.0, LENGTHS[subject.name])) is not None:
            break
        process.kill()
        kills, struck = kills + 1, standing(out)
        half = half_written(subject, expected, out)
        if half is not None:
            return Outcome("wrong", struck, half, kills)
    return finish(subject, expected, folder, struck, kills)


def half_written(subject: Subject, expected: str, out: Path) -> str | None:
    """What of the output looks whole and is not; None where nothing does.

    Whole is a page that is there, and a run whose status is done: what reads runs goes by it. Checks write what they
    found so far, which must be readable.
    """
    if out.suffix:
        return "half a page" if out.exists() and subject.digest(out) != expected else None
    try:
        state, found = RunDirectory(out).state(), RunDirectory(out).results()
        if state is None or state.status != "done":
            return "results and no run" if state is None and found is not None else None
        return None if subject.digest(out) == expected else "results that are not the right ones"
    except (DiffevalError, OSError, ValueError, KeyError) as error:
        return f"it cannot be read: {error}"


def kill_in_training(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """Kills a training, and looks at its checkpoint before it goes on: whole, of one save, or refused in one line."""
    out = folder / subject.output
    process = Process(subject.words(out), folder)
    if process.wait(random.uniform(0.0, LENGTHS[subject.name])) is None:
        process.kill()
    struck = standing(out)
    shown = run(["show", str(out)], folder)
    if shown.crashed:
        return Outcome("crashed", struck, shown.errors[-600:])
    if shown.code == 0:
        return Outcome("right", struck)
    return Outcome("told" if shown.told else "wrong", struck, shown.last)


EVERY = ("train", "fid", "sweep-cfg", "check", "report")
CASES = (
    Case("killed (SIGKILL), then run again", kill, EVERY),
    Case("killed (SIGKILL), its checkpoint read as it lies", kill_in_training, ("train",), share=0.5),
)
