"""What a command says while it works: bars on a terminal, plain lines elsewhere, always on stderr."""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from diffeval.progress import SHARE, Later, SilentReporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_EVERY_SECONDS = 10.0
STOP_SIGNALS = ("SIGTERM", "SIGUSR1")


def is_terminal() -> bool:
    """Whether stderr is a terminal that a person watches; colours forced by the environment do not make it one."""
    return sys.stderr.isatty() and not os.environ.get("CI")


class ConsoleReporter(SilentReporter):
    """Reports on stderr, and turns the signals of batch systems into a request to stop.

    Args:
        quiet: no progress, but warnings.
        silent: no warnings either; rank 0 says them.
    """

    def __init__(self, *, quiet: bool, silent: bool = False) -> None:
        super().__init__()
        self.quiet, self.silent = quiet, silent
        self._name, self._unit = "", ""
        self._total, self._done, self._skipped = 0, 0, 0
        self._ahead: dict[str, float] = {}
        self._started = self._spoken = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self.interrupted = False
        handlers = dict.fromkeys(STOP_SIGNALS, self._stop) | {"SIGINT": self._interrupt}
        self._before: dict[int, Any] = {}
        for name, handler in handlers.items():
            if hasattr(signal, name):
                number = getattr(signal, name)
                self._before[number] = signal.signal(number, handler)
        self._limit: threading.Timer | None = None

    def limit(self, seconds: float | None) -> None:
        """Asks to stop so many seconds after the process was started; never with None."""
        if seconds is None:
            return
        import psutil  # not before it is needed: --help should not wait for it

        # Imports count: a batch system has counted since it started the process.
        lived = time.time() - psutil.Process().create_time()
        self._limit = threading.Timer(max(seconds - lived, 0.0), self._over)
        self._limit.daemon = True
        self._limit.start()

    def _over(self) -> None:
        self.stop_requested = True
        self.note("--time-limit is reached; stopping at the next safe place")

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = True

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """The first Ctrl-C waits for a place where nothing is torn; the second does not wait."""
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = self.interrupted = True
        if self.silent:
            return
        self._say("stopping at the next safe place; Ctrl-C again stops at once")

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """Starts a bar, or says on a line what begins."""
        self.close()
        self._name, self._unit, self._total, self._done, self._skipped = name, unit, total, done, done
        self._started = self._spoken = time.monotonic()
        names = list(self._ahead)
        if name in names:  # what was foretold of it is now seen
            self._ahead = {one: self._ahead[one] for one in names[names.index(name) + 1 :]}
        if self.quiet:
            return
        if is_terminal():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(name, total=total, completed=done, detail="")
        elif done < total:
            held = f", {done} there already" if done else ""
            self._say(f"[{name}]" if unit == SHARE else f"[{name}] {total} {unit}{held}")

    def ahead(self, left: float, later: Later) -> None:
        """Finds out what comes after the current stage, and says it."""
        if self.quiet:
            return
        self._ahead = dict(later())
        if self._ahead:
            told = ", ".join(f"{name} {_spell(taken)}" for name, taken in self._ahead.items())
            self._say(f"after that about: {told}")

    def advance(self, units: int, detail: str = "") -> None:
        """Moves the bar; elsewhere a line at least every few seconds, and at the end."""
        self._done += units
        if self.quiet:
            return
        rate = (self._done - self._skipped) / max(time.monotonic() - self._started, 1e-9)
        pace = "" if self._unit == SHARE else f"{_rate(rate)} {self._unit}/s"
        left = (self._total - self._done) / max(rate, 1e-9)
        whole = f"{_clock(left + sum(self._ahead.values()))} in all" if self._ahead else ""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, detail="  ".join(filter(None, (pace, whole, detail))))
        elif time.monotonic() - self._spoken > PLAIN_EVERY_SECONDS and self._done < self._total:
            self._spoken = time.monotonic()
            counted = "" if self._unit == SHARE else f"{self._done}/{self._total} "
            said = (f"{counted}{self._done / self._total:.0%}", pace, f"ETA {_clock(left)}", whole, detail)
            self._say(f"[{self._name}] {'  '.join(filter(None, said))}")
        if self._done >= self._total:
            self.close()

    def note(self, message: str) -> None:
        """One line, unless quiet."""
        if not self.quiet:
            self._say(message)

    def warn(self, message: str) -> None:
        """One line, always, and kept."""
        super().warn(message)
        if not self.silent:
            self._say(f"warning: {message}")

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def release(self) -> None:
        """Gives the signals back to whoever had them."""
        self.close()
        if self._limit is not None:
            self._limit.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _spell(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _rate(rate: float) -> str:
    """Two digits of what is slow."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _bar() -> "Progress":
    # Only a terminal needs rich, and --help should not wait for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns: list[Any] = [
        TextColumn("{task.description:>9}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    ]
    return Progress(*columns, console=Console(stderr=True), transient=False)
