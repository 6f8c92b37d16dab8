"""Files that are cut short, or of which a bit is turned over, on the disk."""

import shutil
from pathlib import Path
from random import Random

from surviving.outcomes import Case, Done, Outcome, compared, finish, run
from surviving.subjects import Subject


def _hurt(path: Path, random: Random) -> str:
    """Cuts a file, or turns bits of it over; what was done, in words."""
    content = bytearray(path.read_bytes())
    if random.random() < 0.4:
        path.write_bytes(bytes(content[: random.randrange(len(content))]))
        return "cut"
    bits = random.choice((1, 1, 2, 8))
    for _ in range(bits):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(bytes(content))
    return "flipped"


def _copied(subject: Subject, folder: Path) -> Path:
    """A finished output in the round's folder."""
    out = folder / subject.output
    shutil.copytree(folder.parent / "whole" / subject.name / subject.output, out)
    return out


def chunk(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """A chunk is damaged, and scores have to be computed again: the damage is found, and the chunk made again."""
    out = _copied(subject, folder)
    path = random.choice(sorted(out.rglob("features/*/*.npz")))
    before = path.read_bytes()
    struck = _hurt(path, random)
    for results in out.rglob("results.json"):
        results.unlink()
    found = finish(subject, expected, folder, struck)
    if found.ended == "right" and not _same_arrays(path, before):
        return Outcome("wrong", struck, f"{path.name} was left as it was")
    return found


def _same_arrays(path: Path, before: bytes) -> bool:
    """Whether a chunk holds what it held, whatever its archive says of dates."""
    from io import BytesIO

    import numpy as np

    with np.load(path) as one, np.load(BytesIO(before)) as other:
        return one.files == other.files and all(np.array_equal(one[name], other[name]) for name in one.files)


def anything(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """Any file of a finished output is damaged: the same command ends right, or says in one line what is damaged.

    A page is drawn of it before, as damaged as it is: it is written, or refused in one line.
    """
    out = _copied(subject, folder)
    # The page is not read by anything.
    files = sorted(
        path for path in out.rglob("*") if path.is_file() and path.stat().st_size and path.suffix != ".html"
    )
    path = random.choice(files)
    struck = _hurt(path, random)
    page = run(["report", str(out), "--out", str(folder / "page.html")], folder)
    done = run(subject.words(out), folder)
    for one in (page, done):
        if one.crashed or (one.code != 0 and not one.told):
            return Outcome("crashed", path.name, one.errors[-600:])
    return _ended(done, subject, expected, out, f"{path.name} {struck}")


def _ended(done: Done, subject: Subject, expected: str, out: Path, struck: str) -> Outcome:
    if done.code == 0:
        return compared(subject, expected, out, struck)
    return Outcome("told" if done.told else "wrong", struck, done.last)


CASES = (
    Case("a chunk cut or bits of it flipped, scores computed again", chunk, ("fid", "sweep-cfg"), share=0.5),
    Case(
        "any file of a finished run cut or bits of it flipped",
        anything,
        ("train", "fid", "sweep-cfg", "check"),
        share=0.5,
    ),
)
