"""Two processes on one output, and too little memory."""

import json
import time
from functools import partial
from pathlib import Path
from random import Random

from surviving.kills import EVERY, LENGTHS
from surviving.outcomes import Case, Outcome, Process, compared, finish, run
from surviving.subjects import Subject
from surviving.tight import tight

# Of a score, or of its error where that is larger.
NEAR = 1e-3


def two(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """A second process begins while the first is at work: one makes the output, the other too, or it says why not."""
    words = subject.words(folder / subject.output)
    first = Process(words, folder)
    time.sleep(random.uniform(0.0, LENGTHS[subject.name]))
    ended = [Process(words, folder).end(), first.end()]
    if any(one.crashed for one in ended):
        return Outcome("crashed", "both", next(one.errors for one in ended if one.crashed)[-600:])
    if all(one.code != 0 for one in ended):
        return Outcome("wrong", "both", "neither made it")
    unclear = [one.last for one in ended if one.code != 0 and not one.told]
    if unclear:
        return Outcome("wrong", "both", unclear[0])
    struck = "both made it" if all(one.code == 0 for one in ended) else "one waited for"
    return compared(subject, expected, folder / subject.output, struck)


def no_memory(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """Memory does not suffice for some time; the command ends right or says so, and right when it is run again."""
    where, limit = random.choice(("sampling", "features")), random.choice((0, 1, 20))
    out = folder / subject.output
    short = partial(tight, where, random.randrange(1, 12), limit)
    first, struck = run(subject.words(out), folder, short), f"{where}, room for {limit}"
    if first.crashed or (first.code != 0 and not first.told):
        return Outcome("crashed", struck, first.errors[-600:])
    if first.code == 0 and "out of memory" in first.errors:
        return _near(out, folder.parent / "whole" / subject.name / subject.output, struck)
    # There was room, or it gave up, and the batch that it keeps may be another one.
    found = finish(subject, expected, folder, struck)
    if found.ended == "wrong" and found.said == "other" and first.code != 0:
        return _near(out, folder.parent / "whole" / subject.name / subject.output, struck)
    return found


def _near(out: Path, whole: Path, struck: str) -> Outcome:
    """In smaller batches images may differ by a level in a pixel of a thousand, and their scores as little."""
    found, expected = (json.loads((path / "results.json").read_text())["scores"] for path in (out, whole))
    gaps = [
        abs(one["value"] - other["value"]) / max(abs(other["value"]), other["std_error"] or 0.0, 1e-12)
        for one, other in zip(found, expected, strict=True) if other["value"] is not None
    ]  # fmt: skip
    return Outcome("right" if max(gaps) < NEAR else "wrong", struck, f"scores differ by {max(gaps):.2g}")


CASES = (
    Case("two processes on one output", two, EVERY, share=0.2),
    Case("out of memory (simulated)", no_memory, ("fid", "sweep-cfg"), share=0.2),
)
