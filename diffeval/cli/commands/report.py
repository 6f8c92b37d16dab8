"""``diffeval report``."""

from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.options import Common, with_options
from diffeval.cli.running import document, reporting


@with_options
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories, also of training.")],
    common: Common,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("report.html"),
) -> None:
    """Draws runs as one self-contained HTML page that loads nothing from the network.

    Examples:
    diffeval report runs/digits-1a2b3c4d-fid-s0-5e6f7a8b -o report.html
    """
    with reporting(common):
        from diffeval.cli.scored import size_text
        from diffeval.report.page import report as write

        page = write(runs, out)
        if common.json:
            document("diffeval.report/1", page=str(page), bytes=page.stat().st_size)
        else:
            print(f"{page}  ({size_text(page.stat().st_size)})")


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)
