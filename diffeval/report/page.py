"""One self-contained HTML page of one or several runs.

It loads nothing from the network, and the same runs give the same bytes.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diffeval.errors import DiffevalError
from diffeval.report.compose import compose
from diffeval.report.images import Pictures
from diffeval.report.judged import read_story
from diffeval.report.view import Page
from diffeval.runs.files import replace_text
from diffeval.runs.provenance import own_version

TEMPLATES = Path(__file__).parent / "templates"
# Read one after the other: the last one starts what the others define.
SCRIPTS = ("boot.js",)


def report(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    gate: Path | str | None = None,
    baseline: Sequence[Path | str] = (),
) -> Path:
    """Draws ``runs`` into the file ``out`` and returns its path.

    Args:
        runs: run directories; the first is what the page is about.
        out: the page.
        gate: a gate file; each checkpoint of the page is judged by it.
        baseline: run directories, or a promoted file; by default what the gate file names.

    Raises:
        DiffevalError: if there is no run, a folder is none, or the file cannot be written.
    """
    if not runs:
        raise DiffevalError("report: no run was given; name at least one run directory")
    story = read_story([Path(run) for run in runs], gate=None if gate is None else Path(gate), baseline=baseline)
    target = Path(out)
    replace_text(target, render(compose(story)))
    return target


def render(page: Page) -> str:
    """The page as text. plotly.js is inlined once, and only where there is a figure."""
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    boot = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    plotly = _plotly() if page.drawn else ""
    environment = Environment(
        loader=PackageLoader("diffeval.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    pictures = Pictures()
    return environment.get_template("page.html.j2").render(
        page=page,
        pictures=pictures,
        version=own_version(),
        policy=content_security_policy([boot, plotly] if plotly else [boot]),
        # These three are files of this package and of plotly, not input.
        style=Markup(style),
        boot=Markup(boot),
        plotly=Markup(plotly),
    )


def content_security_policy(scripts: Sequence[str]) -> str:
    """A policy that runs exactly these inline scripts and fetches nothing. plotly needs inline styles."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


@cache
def _plotly() -> str:
    """The plotly.js of the installed plotly package."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text
