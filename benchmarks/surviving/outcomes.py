"""How a command ended, and what is said of it."""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, NoReturn
from zipfile import BadZipFile

import torch

# Imported once, before commands begin: what they need of torch and diffusers, and no more is done with it here.
import diffeval.evaluate
import diffeval.examine
import diffeval.report.compose
import diffeval.sweeps.run
import diffeval.training.train  # noqa: F401
from diffeval.cli import main as command
from surviving.subjects import Subject

# Exit codes that mean what they say; 1 is a bug of ours, and a negative one a signal.
PLANNED = (0, 2, 3, 4, 5, 75, 130)
LIMIT_S = 600

# right: made what an unbroken command makes. told: ended with one clear line. wrong: made something else, or said
# that all is well where nothing was made. crashed: a traceback, a signal that nobody sent, or no end.
Ended = Literal["right", "told", "wrong", "crashed"]
Main = Callable[[list[str]], None]


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


class Process:
    """A command at work in a child of this process, which has imported everything: what is tried is work, not imports.

    Args:
        words: of the command.
        folder: where it works; its cache lies there, so that mishaps befall that, too.
        main: what runs the words; by default ``diffeval``.
    """

    def __init__(self, words: Sequence[str], folder: Path, main: Main | None = None) -> None:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed when it is read
        self.pid = os.fork()
        if self.pid == 0:
            self._work([*words, "--quiet"], folder, main or _diffeval)

    def _work(self, words: list[str], folder: Path, main: Main) -> NoReturn:
        """What the child does: all of a command's life but its imports."""
        code = 1
        try:
            os.dup2(self._errors.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.chdir(folder)
            os.environ.update({"DIFFEVAL_CACHE": str(folder / "cache"), "NO_COLOR": "1"})
            torch.set_num_threads(1)  # so that numbers are equal bit by bit
            main(words)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float) -> Done | None:
        """How it ended; None if it is still at work after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._errors.seek(0)
                return Done(os.waitstatus_to_exitcode(status), self._errors.read())
            if time.monotonic() > deadline:
                return None
            time.sleep(0.002)

    def kill(self) -> None:
        """SIGKILL, and until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def end(self) -> Done:
        """Waits for its end."""
        done = self.wait(LIMIT_S)
        if done is None:
            self.kill()
            return Done(-1, f"no end within {LIMIT_S} s")
        return done


def _diffeval(words: list[str]) -> None:
    sys.argv = ["diffeval", *words]
    command()


def run(words: Sequence[str], folder: Path, main: Main | None = None) -> Done:
    """A command from its start to its end."""
    return Process(words, folder, main).end()


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
    except (OSError, ValueError, StopIteration, KeyError, BadZipFile) as error:
        return Outcome("wrong", struck, f"its output cannot be read: {type(error).__name__}: {error}", mishaps)
    return Outcome("right" if found == expected else "wrong", struck, "" if found == expected else "other", mishaps)
