"""``diffeval eval`` and ``diffeval pr``."""

from typing import Annotated

import typer

from diffeval.cli.options import CKPT_HELP, SCORING, Common, Judging, Measured, Scored, with_options
from diffeval.cli.parse import counts
from diffeval.cli.running import document, reporting
from diffeval.cli.scored import run_and_show
from diffeval.cli.tables import columns

PR = ("precision", "recall", "density", "coverage")

MaybeMeasured = Annotated[str | None, typer.Argument(metavar="CKPT", help=CKPT_HELP, show_default=False)]
Number = Annotated[
    int | None,
    typer.Option("--n", "-n", help="Images; by default 5000, all of images:DIR, or the most of --at."),
]
Counts = Annotated[str | None, typer.Option("--at", help="Counts to log, e.g. 1000,2500.", rich_help_panel=SCORING)]


@with_options
def evaluate(
    given: Scored,
    judging: Judging,
    checkpoint: MaybeMeasured = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Scores, e.g. fid,precision or standard,mode_coverage; by default the standard suite.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    n: Number = None,
    at: Counts = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show every score that can be computed, and leave.", rich_help_panel=SCORING)
    ] = False,
) -> None:
    """Every distribution metric from one extraction, each with its error and what real images read beside it.

    Examples:
    diffeval eval digits
    diffeval eval images:samples --ref folder:photos@train
    diffeval eval digits --metrics kid,precision,recall,vendi --n 2000
    diffeval eval digits --metrics fid,clip_score
    diffeval eval --list
    """
    with reporting(
        given.common, spread=not (given.output.dry_run or listed), time_limit=given.output.time_limit
    ) as reporter:
        if listed:
            _list(given.common)
            return
        if checkpoint is None:
            raise typer.BadParameter("name a checkpoint, e.g. diffeval eval digits, or ask for --list")
        wanted = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
        logged = counts(at)
        run_and_show(
            checkpoint,
            given,
            task="eval",
            metrics=wanted,
            n=n if n is not None else max(logged or (), default=None),
            at=logged if logged or n is None else (n,),
            judging=judging,
            reporter=reporter,
        )


@with_options
def pr(
    checkpoint: Measured,
    given: Scored,
    n: Number = None,
    at: Counts = None,
) -> None:
    """Precision, recall, density and coverage, beside what real images read: quality and diversity apart.

    Examples:
    diffeval pr digits --n 2000
    diffeval pr images:samples --ref folder:photos@train
    """
    with reporting(given.common, spread=not given.output.dry_run, time_limit=given.output.time_limit) as reporter:
        logged = counts(at)
        run_and_show(
            checkpoint,
            given,
            task="pr",
            metrics=PR,
            n=n if n is not None else max(logged or (), default=None),
            at=logged if logged or n is None else (n,),
            reporter=reporter,
        )


def _list(common: Common) -> None:
    from dataclasses import asdict

    from diffeval.suite import listing

    scores = listing()
    if common.json:
        document("diffeval.metrics/1", scores=[asdict(one) for one in scores])
        return
    rows = [("score", "metric", "suite", "better", "")]
    rows += [
        (
            one.score,
            one.metric,
            "standard" if one.standard else "",
            "higher" if one.higher_is_better else "lower",
            one.about,
        )
        for one in scores
    ]
    print(columns(rows))


def add(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("eval")(evaluate)
    app.command()(pr)
