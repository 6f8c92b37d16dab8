"""Disks that are full, or cannot be written."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

from surviving.kills import EVERY, half_written
from surviving.outcomes import Case, Done, Outcome, compared, finish, run
from surviving.subjects import Subject

# Room that a round may get, as a share of what an unbroken command leaves.
MOST_ROOM = 1.1


def cannot_mount() -> str | None:
    """Why no file system can be mounted here, or None."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        return "mounting a small file system needs root"
    with contextlib.suppress(subprocess.CalledProcessError):
        place = Path(os.environ.get("TMPDIR", "/tmp")) / f"diffeval-mount-{os.getpid()}"
        place.mkdir()
        try:
            with _mounted(place, "size=64k"):
                return None
        finally:
            place.rmdir()
    return "this machine lets nobody mount a file system"


@contextlib.contextmanager
def _mounted(place: Path, options: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def _remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True, capture_output=True)


def size_of(folder: Path) -> int:
    """Bytes of all files, in blocks of 4 kB."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files)


def _beside(subject: Subject, folder: Path, place: Path) -> None:
    """What the command reads from its folder lies on the disk, too."""
    if subject.needs:
        shutil.copytree(folder / "finished", place / "finished")


def full(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """A disk with too little room, by chance how little; then one with enough, and the same command again."""
    place = folder / "disk"
    place.mkdir()
    with _mounted(place, "size=1g"):
        _beside(subject, folder, place)
        held = size_of(place)
        _remount(place, f"size={held + 4096 + int(random.uniform(0, MOST_ROOM) * SIZES[subject.name])}")
        first = run(subject.words(place / subject.output), place)
        bad = _judged(first, subject, expected, place)
        if bad is not None:
            return bad
        _remount(place, "size=1g")
        return finish(subject, expected, place, "full" if first.code else "there was room", int(first.code != 0))


def read_only(subject: Subject, expected: str, folder: Path, random: Random) -> Outcome:
    """A disk that may be read and not written; then one that may, and the same command again."""
    place = folder / "disk"
    place.mkdir()
    with _mounted(place, "size=1g"):
        _beside(subject, folder, place)
        if random.random() < 0.5 and not Path(subject.output).suffix:  # begun before, and its folder is there
            (place / subject.output).mkdir()
        _remount(place, "ro")
        first = run(subject.words(place / subject.output), place)
        if first.code == 0:
            return Outcome("wrong", "read-only", "it says that all is well, and nothing can be written")
        if not first.told:
            return Outcome("crashed", "read-only", first.errors[-600:])
        _remount(place, "rw")
        return finish(subject, expected, place, "read-only")


def _judged(first: Done, subject: Subject, expected: str, place: Path) -> Outcome | None:
    """What is wrong with how a command on a full disk ended; None where nothing is."""
    if first.code == 0:
        whole = compared(subject, expected, place / subject.output, "there was room", 0)
        return None if whole.ended == "right" else whole
    if not first.told:
        return Outcome("crashed", "full", first.errors[-600:])
    half = half_written(subject, expected, place / subject.output)
    return None if half is None else Outcome("wrong", "full", half)


# Bytes that an unbroken command leaves, by its name.
SIZES: dict[str, int] = {}

CASES = (
    Case("disk full", full, EVERY, share=0.2, why_not=cannot_mount),
    Case("read-only output", read_only, EVERY, share=0.06, why_not=cannot_mount),
)
