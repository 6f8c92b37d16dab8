"""How an attempt to read what was handed in ended: accepted, refused in one clear line, or crashed."""

import os
import resource
import signal
import tempfile
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from hypothesis.strategies import SearchStrategy

from diffeval.errors import DiffevalError

# Seconds that reading anything here may work, and take with other work beside it; bytes that it may allocate.
TIME, WAIT, MEMORY = 60, 240, 6 << 30
# Characters of a line that people still read.
LONGEST = 2000

Ended = Literal["accepted", "refused", "crashed"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of input.

    Attributes:
        name: as the table says it.
        inputs: what is drawn: an input, or all that is needed to make one.
        read: makes the input in the folder that it is given, and reads it as a command would.
        heavy: how many times as long as the others it takes; fewer are tried.
    """

    name: str
    inputs: SearchStrategy[Any]
    read: Callable[[Path, Any], object]
    heavy: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended, and what was said."""

    ended: Ended
    said: str = ""


class Refused(Exception):  # noqa: N818  what a command said before it left with exit code 2; no error of ours
    """Words of the command line about a bad value."""


class _TooSlow(BaseException):
    """No ``Exception``, so that nothing takes it for damage of the input."""


def attempt(kind: Kind, drawn: object) -> Outcome:
    """Reads one input in an empty folder, within bounds of time and memory; nothing may be left outside of it."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        root = Path(place).resolve()
        for name in ("input", "cache", "here"):
            (root / name).mkdir()
        (root / "outside.txt").write_text("untouched")
        with _inside(root), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = _ended(lambda: kind.read(root / "input", drawn))
        left = sorted(path.name for path in root.iterdir())
        if left != ["cache", "here", "input", "outside.txt"] or (root / "outside.txt").read_text() != "untouched":
            return Outcome("crashed", f"wrote outside of its folder: {left}")
        return outcome


def _ended(call: Callable[[], object]) -> Outcome:
    try:
        with _alarm(), _limited():
            call()
    except (DiffevalError, Refused) as error:
        wrong = unclear(str(error))
        return Outcome("crashed", f"{wrong}: {str(error)!r}") if wrong else Outcome("refused", str(error))
    except (Exception, _TooSlow) as error:
        places = traceback.extract_tb(error.__traceback__)
        own = [place for place in places if "/diffeval/" in place.filename] or list(places)
        told = " ".join(str(error).split())[:300]
        where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return Outcome("crashed", f"{type(error).__name__}: {told} ({where})")
    return Outcome("accepted")


def unclear(message: str) -> str:
    """What is wrong with a message: it must be one line of text that names its part; empty where nothing is."""
    bad = [one for one in message if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")]
    if bad:
        return f"control character {bad[0]!r} in a message"
    if len(message) > LONGEST:
        return f"a message of {len(message)} characters"
    head, colon, _ = message.partition(": ")
    named = (colon and head) or message.startswith("--")
    return "" if named and len(message) > 15 else "a message that does not name its part"


@contextmanager
def _inside(root: Path) -> Iterator[None]:
    """Works in a folder of its own, with a cache of its own."""
    folder, cache = Path.cwd(), os.environ.get("DIFFEVAL_CACHE")
    os.environ["DIFFEVAL_CACHE"] = str(root / "cache")
    os.chdir(root / "here")
    try:
        yield
    finally:
        os.chdir(folder)
        if cache is None:
            del os.environ["DIFFEVAL_CACHE"]
        else:
            os.environ["DIFFEVAL_CACHE"] = cache


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooSlow(f"worked for more than {TIME} s, or took more than {WAIT} s")

    before = {number: signal.signal(number, ring) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.alarm(WAIT)
    signal.setitimer(signal.ITIMER_PROF, TIME)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _limited() -> Iterator[None]:
    """Lets this process have so much more memory than it has now; what asks for more gets an error."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
