"""``diffeval fid``."""

from typing import Annotated

import typer

from diffeval.cli.options import SCORING, Measured, Scored, with_options
from diffeval.cli.parse import counts
from diffeval.cli.running import reporting
from diffeval.cli.scored import run_and_show

# Images that --precision begins with, where the user names no number.
FIRST = 1000


@with_options
def fid(
    checkpoint: Measured,
    given: Scored,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            help="Images; by default 5000, all of images:DIR, or the most of --at; with --precision, to begin with.",
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Counts to log, e.g. 1000,2500.", rich_help_panel=SCORING)
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            help="Go on until the 95% interval is within this share of the value, e.g. 0.05.", rich_help_panel=SCORING
        ),
    ] = None,
    max_n: Annotated[
        int | None,
        typer.Option("--max-n", help="The most images for --precision; by default 50000.", rich_help_panel=SCORING),
    ] = None,
) -> None:
    """FID at logged sample counts, with its standard error and its bias removed; KID beside it.

    Examples:
    diffeval fid digits --n 10000
    diffeval fid digits --w 3 --at 500,2500 --json
    diffeval fid digits --precision 0.05 --max-n 20000
    """
    with reporting(given.common, spread=not given.output.dry_run, time_limit=given.output.time_limit) as reporter:
        logged = counts(at)
        run_and_show(
            checkpoint,
            given,
            task="fid",
            metrics=("fid", "kid"),
            n=n if n is not None else max(logged or (), default=FIRST if precision is not None else None),
            at=logged,
            precision=precision,
            max_n=max_n,
            reporter=reporter,
        )


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(fid)
