"""How a command ended, and what is said of it."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO, Literal

from surviving.subjects import Subject

# Exit codes that mean what they say; 1 is a bug of ours, and a negative one a signal.
PLANNED = (0, 2, 3, 4, 5, 75, 130)
LIMIT_S = 600

# right: made what an unbroken command makes. told: ended with one clear line. wrong: made something else, or said
# that all is well where nothing was made. crashed: a traceback, a signal that nobody sent, or no end.
Ended = Literal["right", "told", "wrong", "crashed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round ended.

    Attributes:
        ended: the worst of what happened in it.
        struck: at what the mishap struck, a word for the table.
        said: the last line on stderr, or what was wrong.
        mishaps: kills, damages, ...: how many.
    """

    ended: Ended
    struck: str
    said: str = ""
    mishaps: int = 1


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of mishap.

    Attributes:
        name: for the table.
        play: one round of it: subject, the digest that is right, a folder of its own, random numbers.
        subjects: names of the commands that it befalls.
        share: of the rounds that are asked for, of which dear cases take fewer.
        why_not: why it cannot be played on this machine, or None.
    """

    name: str
    play: Callable[[Subject, str, Path, Random], Outcome]
    subjects: tuple[str, ...]
    share: float = 1.0
    why_not: Callable[[], str | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended.

    Attributes:
        code: exit code, negative for a signal.
        errors: all of stderr.
    """

    code: int
    errors: str

    @property
    def last(self) -> str:
        """Its last line on stderr."""
        lines = self.errors.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def crashed(self) -> bool:
        """Whether it ended as no command should."""
        return self.code not in PLANNED or "Traceback (most recent call last)" in self.errors

    @property
    def told(self) -> bool:
        """Whether it was refused in one clear line."""
        errors = [line for line in self.errors.splitlines() if line.startswith("error: ")]
        return not self.crashed and self.code != 0 and len(errors) == 1 and self.last == errors[0]


def environment(folder: Path) -> dict[str, str]:
    """One thread, so that numbers are equal bit by bit, and a cache of the round's own, which mishaps befall, too."""
    own = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "DIFFEVAL_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
    return {**os.environ, **own}


def start(words: Sequence[str], folder: Path, errors: IO[str] | None = None) -> subprocess.Popen[str]:
    """Starts a command; what it says on stderr goes into a file, or nowhere."""
    return subprocess.Popen(
        [sys.executable, "-m", "diffeval", *words, "--quiet"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if errors is None else errors, env=environment(folder), cwd=folder, text=True,
    )  # fmt: skip


def run(words: Sequence[str], folder: Path, program: Sequence[str] = ("-m", "diffeval")) -> Done:
    """A command from its start to its end."""
    try:
        ended = subprocess.run(
            [sys.executable, *program, *words, "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=environment(folder), cwd=folder, text=True, errors="replace", timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Done(-1, f"no end within {LIMIT_S} s")
    return Done(ended.returncode, ended.stderr)


def finish(subject: Subject, expected: str, folder: Path, struck: str, mishaps: int = 1) -> Outcome:
    """Runs the command as if nothing had happened; it must make what an unbroken one makes."""
    out = folder / subject.output
    done = run(subject.words(out), folder)
    if done.crashed:
        return Outcome("crashed", struck, done.errors[-600:], mishaps)
    if done.code != 0:
        return Outcome("wrong", struck, f"refused after it: {done.last}", mishaps)
    return compared(subject, expected, out, struck, mishaps)


def compared(subject: Subject, expected: str, out: Path, struck: str, mishaps: int = 1) -> Outcome:
    """Whether what lies there is what an unbroken command makes."""
    try:
        found = subject.digest(out)
    except (OSError, ValueError, StopIteration, KeyError) as error:
        return Outcome("wrong", struck, f"its output cannot be read: {type(error).__name__}: {error}", mishaps)
    return Outcome("right" if found == expected else "wrong", struck, "" if found == expected else "other", mishaps)
