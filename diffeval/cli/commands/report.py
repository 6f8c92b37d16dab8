"""``diffeval report``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.options import Common, with_options
from diffeval.cli.running import document, reporting

AGAINST = "Verdict"
# As ``diffeval.report.budget`` has it, which is not imported for a page of help.
MAX_MB = 8.0


@with_options
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run directories: of scores, checks, sweeps or training; several share the page."
        ),
    ],
    common: Common,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("report.html"),
    gate: Annotated[
        Path | None,
        typer.Option(
            "--gate",
            "-g",
            help="A gate file: the verdict on each checkpoint, as diffeval gate gives it. It is drawn, and changes no "
            "exit code.",
            rich_help_panel=AGAINST,
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            "-b",
            help="What the runs are held against: a run, a promoted file, or git:REV:PATH; may be repeated. By "
            "default what the gate file names.",
            rich_help_panel=AGAINST,
        ),
    ] = None,
    max_mb: Annotated[
        float, typer.Option("--max-mb", help="Megabytes that the page may have; it says what it left out.")
    ] = MAX_MB,
) -> None:
    """Draws runs as one self-contained HTML page that loads nothing from the network.

    The exit code says whether the page was written: 0 also where the gate fails. What stops a pipeline is diffeval
    gate.

    Examples:
    diffeval report runs/new-eval runs/new-check -o report.html
    diffeval report runs/new --gate gate.toml --baseline runs/old
    diffeval report runs/step-1000 runs/step-2000 runs/step-3000 -o training.html
    """
    with reporting(common, schema="diffeval.report/1"):
        from diffeval.report.page import write_report

        written = write_report(runs, out, gate=gate, baseline=baseline or (), max_mb=max_mb)
        if common.json:
            document(
                "diffeval.report/1",
                page=str(written.path),
                bytes=written.bytes,
                parts=dict(written.parts),
                notices=list(written.notices),
            )
            return
        print(written.line)
        for notice in written.notices:
            print(f"note  {notice}", file=sys.stderr)


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)
