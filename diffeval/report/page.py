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
from diffeval.report.check_view import side_by_side
from diffeval.report.gather import run_view
from diffeval.report.view import RunView
from diffeval.runs.files import replace_text
from diffeval.runs.provenance import own_version

TEMPLATES = Path(__file__).parent / "templates"


def report(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Draws ``runs`` into the file ``out`` and returns its path.

    Raises:
        DiffevalError: if there is no run, a folder is none, or the file cannot be written.
    """
    if not runs:
        raise DiffevalError("report: no run was given; name at least one run directory")
    paths = [Path(run) for run in runs]
    views = [run_view(path, index) for index, path in enumerate(paths)]
    together = side_by_side(paths)
    if together is not None:
        views.insert(0, together)
    target = Path(out)
    replace_text(target, render(views))
    return target


def render(views: Sequence[RunView]) -> str:
    """The page as text. plotly.js is inlined once, and only where there is a figure."""
    style, boot = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "boot.js"))
    plotly = _plotly() if any(view.drawn for view in views) else ""
    environment = Environment(
        loader=PackageLoader("diffeval.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        title=", ".join(view.title for view in views),
        version=own_version(),
        policy=content_security_policy([boot, plotly] if plotly else [boot]),
        runs=views,
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
