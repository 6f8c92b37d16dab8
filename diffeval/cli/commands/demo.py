"""``diffeval demo``."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.options import Common, with_options
from diffeval.cli.running import document, reporting
from diffeval.cli.scored import show_plan

SCHEMA = "diffeval.demo/1"
RUNS = Path("runs")


@with_options
def demo(
    common: Common,
    full: Annotated[
        bool, typer.Option("--full", help="All checks, more images and guidance scales; about 4 minutes.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how long each stage takes here, do nothing.")
    ] = False,
) -> None:
    """The whole story on the built-in digits model, in about a minute on 2 cores, without a GPU or a download.

    Scores with error bars, modes, health checks of the model and of a twin with one broken layer, a guidance sweep,
    and a gate that lets one of them ship: one page, which grows while you read it.
    """
    with reporting(common, schema=SCHEMA) as reporter:
        from diffeval.demo.quiet import WithoutNotes
        from diffeval.demo.sizes import FULL, SHORT
        from diffeval.demo.story import tell
        from diffeval.runs.document import results_document

        def say(text: str) -> None:
            reporter.close()
            print(text, file=sys.stderr if common.json else sys.stdout, flush=True)

        name, sizes = ("demo-full", FULL) if full else ("demo", SHORT)
        if dry_run:
            from diffeval.demo.price import describe_demo
            from diffeval.pricing.run import command_began

            show_plan(describe_demo(sizes, RUNS / name, RUNS / f"{name}.html", command_began()), common)
            return
        say("The digits model is a DDPM that draws handwritten digits, 8x8 pixels, by class; it comes with diffeval.")
        done = tell(sizes, RUNS / name, RUNS / f"{name}.html", say=say, reporter=WithoutNotes(reporter))
        if common.json:
            document(
                SCHEMA,
                page=str(done.page),
                checkpoint=str(done.twin),
                gate=str(done.gate),
                seconds=round(done.seconds, 1),
                runs=[results_document(one) for one in done.runs],
                verdicts=[one.document() for one in done.verdicts],
            )
        twin, gate = shlex.quote(str(done.twin)), shlex.quote(str(done.gate))
        runs = shlex.join(str(RUNS / name / one) for one in ("twin", "twin-checks"))
        say(f"\nOpen {done.page} in a browser. Next:")
        say(f"  diffeval check {twin}                         # the other checks of the broken twin")
        say(f"  diffeval gate {runs} --config {gate}")
        say("  diffeval train digits --out model && diffeval eval model   # a model of your own")
        said = "" if done.computed else "; everything was there already, and diffeval made nothing anew"
        say(f"demo: {done.seconds:.0f} s{said}")


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)
