"""A page as the text of one HTML file, and what its parts weigh."""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diffeval.report.arrange import alarms, by_group, numeric, placed, unbroken
from diffeval.report.images import Encoder, Pictures
from diffeval.report.view import Page
from diffeval.runs.provenance import own_version

TEMPLATES = Path(__file__).parent / "templates"
# Read one after the other into one script: the first defines what the others share.
SCRIPTS = ("base", "theme", "palette", "figures", "pictures", "copying", "viewer", "versus", "contents", "printing")


# Control characters but tab and line feed, line separators of scripts, and marks that change the direction of text.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A page as text; bytes by part."""

    text: str
    plotly: int
    images: int

    @property
    def bytes(self) -> int:
        """Of the file."""
        return len(self.text.encode())


def draw(
    page: Page, encoder: Encoder, *, side: int, originals: int, interactive: bool, limit: float = math.inf
) -> Drawing:
    """Lays ``page`` out.

    Args:
        page: what is on it.
        encoder: of its images.
        side: pixels of a thumbnail, at most.
        originals: images that are carried whole, at most.
        interactive: whether figures are drawn by plotly.js, which is inlined once, and only where there is one.
        limit: bytes above which the page is of no use.

    Raises:
        TooLargeError: if its images alone are more than the limit.
    """
    own = script()
    plotly = plotly_js() if page.drawn and interactive else ""
    pictures = Pictures(encoder, side, originals, limit - len(plotly))
    text = _environment().get_template("page.html.j2").render(
        page=page,
        pictures=pictures,
        version=own_version(),
        policy=content_security_policy([own, plotly] if plotly else [own]),
        # These three are files of this package and of plotly, not input.
        style=Markup(_read("style.css") + _read("print.css")),
        script=Markup(own),
        plotly=Markup(plotly),
    )  # fmt: skip
    return Drawing(text, len(plotly.encode()), pictures.bytes)


def content_security_policy(scripts: Sequence[str]) -> str:
    """A policy that runs exactly these inline scripts and fetches nothing. plotly needs inline styles."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


@cache
def script() -> str:
    """The page's own script: the small files of ``templates/scripts``, one behind the other."""
    return "\n".join(_read(f"scripts/{name}.js") for name in SCRIPTS)


@cache
def plotly_js() -> str:
    """The plotly.js of the installed plotly package."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text


def shown(value: object) -> object:
    """A text of the page without characters that are not seen, or that turn what stands beside them around."""
    return _UNSEEN.sub("\ufffd", value) if type(value) is str else value


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("diffeval.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {one.__name__: one for one in (placed, by_group, alarms, numeric, unbroken)}
    return made
