"""``diffeval clip``."""

from typing import Annotated

import typer

from diffeval.cli.commands.eval import Counts, Number
from diffeval.cli.options import PROMPTS, Measured, Scored, with_options
from diffeval.cli.parse import counts
from diffeval.cli.running import reporting
from diffeval.cli.scored import run_and_show

# Computed beside the score from the same features, where there are real images.
BESIDE = ("cmmd", "fid")

Scale = Annotated[
    str,
    typer.Option(
        help="100 (times the cosine), hessel (2.5 times, not below 0) or raw (the cosine).", rich_help_panel=PROMPTS
    ),
]


@with_options
def clip(
    checkpoint: Measured,
    given: Scored,
    clip_scale: Scale = "100",
    n: Number = None,
    at: Counts = None,
) -> None:
    """Whether images follow their prompts: CLIP score beside what other prompts would read, and the worst prompts.

    Images of a folder are paired with prompts by name: ID.png, ID/0.png or ID_0.png. The extractor is the judge:
    clip:VARIANT with --weights, or the digits judge that is built in.

    Examples:
    diffeval clip digits
    diffeval clip images:samples --prompts prompts.csv --weights ViT-B-32.pt
    """
    with reporting(given.common, spread=not given.output.dry_run, time_limit=given.output.time_limit) as reporter:
        from diffeval.prompting import default_judge

        logged = counts(at)
        run_and_show(
            checkpoint,
            given,
            task="clip",
            metrics=("clip_score",),
            beside=BESIDE,
            metric_options={"clip_score": {"scale": clip_scale}},
            n=n if n is not None else max(logged or (), default=None),
            at=logged if logged or n is None else (n,),
            once=True,
            extractor_of=default_judge,
            reporter=reporter,
        )


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(clip)
