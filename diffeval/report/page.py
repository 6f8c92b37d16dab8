"""One self-contained HTML page of one or several runs.

It loads nothing from the network, and the same runs give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffeval.errors import DiffevalError
from diffeval.report.budget import MAX_MB, MEGA, fitted
from diffeval.report.compose import compose
from diffeval.report.judged import read_story
from diffeval.report.view import Page
from diffeval.runs.files import replace_text


@dataclass(frozen=True, slots=True)
class Written:
    """A page that was written.

    Attributes:
        path: of the file.
        bytes: of the file.
        parts: what takes them: names and bytes; they add up.
        notices: what was left out to keep the page small.
    """

    path: Path
    bytes: int
    parts: tuple[tuple[str, int], ...]
    notices: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The size by part, e.g. ``report.html 7.1 MB (plotly 4.8, images 2.0, data 0.3)``."""
        parts = ", ".join(f"{name} {size / MEGA:.1f}" for name, size in self.parts)
        return f"{self.path} {self.bytes / MEGA:.1f} MB ({parts})"


def report(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    gate: Path | str | None = None,
    baseline: Sequence[Path | str] = (),
    max_mb: float = MAX_MB,
) -> Path:
    """Draws ``runs`` into the file ``out`` and returns its path; see ``write_report``."""
    return write_report(runs, out, gate=gate, baseline=baseline, max_mb=max_mb).path


def write_report(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    gate: Path | str | None = None,
    baseline: Sequence[Path | str] = (),
    max_mb: float = MAX_MB,
) -> Written:
    """Draws ``runs`` into the file ``out``.

    Args:
        runs: run directories; the first is what the page is about.
        out: the page.
        gate: a gate file; each checkpoint of the page is judged by it.
        baseline: run directories, or a promoted file; by default what the gate file names.
        max_mb: megabytes that the page may have; what is left out for that, it says itself.

    Raises:
        DiffevalError: if there is no run, a folder is none, ``max_mb`` is not positive, or the file cannot be written.
    """
    if not runs:
        raise DiffevalError("report: no run was given; name at least one run directory")
    story = read_story([Path(run) for run in runs], gate=None if gate is None else Path(gate), baseline=baseline)
    return write_page(compose(story), out, max_mb=max_mb)


def write_page(page: Page, out: Path | str, *, max_mb: float = MAX_MB) -> Written:
    """Draws a composed page into the file ``out``; raises as ``write_report`` does."""
    target = Path(out)
    found = fitted(page, max_mb)
    replace_text(target, found.drawing.text)
    drawing = found.drawing
    rest = drawing.bytes - drawing.plotly - drawing.images
    parts = (("plotly", drawing.plotly), ("images", drawing.images), ("data", rest))
    return Written(target, drawing.bytes, parts, found.notices)


def render(page: Page, *, max_mb: float = MAX_MB) -> str:
    """A composed page as text."""
    return fitted(page, max_mb).drawing.text
