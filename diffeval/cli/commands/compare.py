"""``diffeval compare``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.options import SCORING, Common, with_options
from diffeval.cli.running import reporting
from diffeval.errors import ExitCode


@with_options
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run directories, two or more.")],
    common: Common,
    scores: Annotated[
        str | None, typer.Option(help="Scores, e.g. fid_debiased,recall; by default all.", rich_help_panel=SCORING)
    ] = None,
    may_differ: Annotated[
        str | None,
        typer.Option(
            help="Settings under test, in which the runs may differ, e.g. steps,w; other runs get no verdict.",
            rich_help_panel=SCORING,
        ),
    ] = None,
) -> None:
    """Which run is better, by which score, and how sure that is; paired where seeds and classes, or prompts, agree.

    Two runs give a table of differences, more a ranking of each score, with ties where runs cannot be told apart.
    Exit code 5 where nothing can be compared.

    Examples:
    diffeval compare runs/old runs/new
    diffeval compare runs/steps10 runs/steps50 --may-differ steps --scores fid_debiased
    diffeval compare runs/a runs/b runs/c --json
    """
    with reporting(common):
        from diffeval.cli.compared import compared_text
        from diffeval.compare.comparison import compare as run
        from diffeval.compare.document import comparison_document
        from diffeval.runs.document import to_json

        found = run(*runs, scores=_words(scores), may_differ=_words(may_differ) or ())
        if common.json:
            sys.stdout.write(to_json(comparison_document(found)))
        else:
            print(compared_text(found))
        if not found.conclusive:
            print("error: compare: nothing could be compared, see above", file=sys.stderr)
            raise typer.Exit(int(ExitCode.NO_EVIDENCE))


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(compare)
