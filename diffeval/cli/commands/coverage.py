"""``diffeval coverage``."""

from typing import Annotated

import typer

from diffeval.cli.commands.eval import Counts, Number
from diffeval.cli.options import SCORING, Measured, Scored, with_options
from diffeval.cli.parse import counts
from diffeval.cli.running import reporting
from diffeval.cli.scored import run_and_show
from diffeval.errors import DiffevalError

SCORES = ("mode_coverage", "missing_mass", "js_divergence")
KINDS = ("labels", "clusters", "both")


@with_options
def coverage(
    checkpoint: Measured,
    given: Scored,
    modes: Annotated[
        str,
        typer.Option(
            help="What counts as a mode: labels (the extractor's classes), clusters of real features, or both.",
            rich_help_panel=SCORING,
        ),
    ] = "both",
    clusters: Annotated[
        int,
        typer.Option(help="Number of clusters; 0 for one per 50 real images, up to 100.", rich_help_panel=SCORING),
    ] = 0,
    n: Number = None,
    at: Counts = None,
) -> None:
    """Which modes of the real images are missing, thin or over-produced, how sure that is, and pictures of them.

    Examples:
    diffeval coverage digits --n 2000
    diffeval coverage images:samples --ref folder:photos@train --modes clusters
    """
    with reporting(given.common, spread=not given.output.dry_run, time_limit=given.output.time_limit) as reporter:
        if modes not in KINDS:
            raise DiffevalError(f"--modes is {modes!r}, must be one of {', '.join(KINDS)}")
        if clusters < 0 or clusters == 1:
            raise DiffevalError(f"--clusters is {clusters}, needs at least 2, or 0 for the usual number")
        logged = counts(at)
        wanted = n if n is not None else max(logged or (), default=None)
        run_and_show(
            checkpoint,
            given,
            task="coverage",
            metrics=SCORES,
            metric_options={"mode_coverage": {"modes": modes, "clusters": clusters}},
            n=wanted,
            at=logged if logged or n is None else (n,),
            reporter=reporter,
        )


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(coverage)
