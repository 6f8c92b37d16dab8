"""``diffeval demo``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.options import Common, with_options
from diffeval.cli.running import reporting
from diffeval.runs.records import Results
from diffeval.runs.words import interval_text, number

# (guidance scale, images): together under 150 s on 2 cores.
SHORT = ((1.0, 5000), (3.0, 1000))
FULL = ((1.0, 10000), (3.0, 5000), (7.0, 2500))
PAGE = Path("runs") / "demo.html"


@with_options
def demo(
    common: Common,
    full: Annotated[bool, typer.Option("--full", help="More images and guidance scales; about 5 minutes.")] = False,
) -> None:
    """The whole story on the built-in digits model, in under 150 s on 2 cores, without a GPU or a download.

    Samples it plain and with guidance, measures FID at several sample counts with error bars, and draws the page.
    """
    with reporting(common) as reporter:
        from diffeval.cli.scored import show
        from diffeval.evaluate import evaluate
        from diffeval.plan import Settings
        from diffeval.report.page import report
        from diffeval.runs.document import results_document, to_json

        say = (lambda text: print(text, file=sys.stderr)) if common.json else print
        say("The digits model: a DDPM that draws handwritten digits, 8x8 pixels, by class.\n")
        done: list[Results] = []
        for w, n in FULL if full else SHORT:
            reporter.note(f"sampling {n} digits with guidance scale w={w:g}")
            results = evaluate("digits", settings=Settings(n=n, w=w), reporter=reporter)
            done.append(results)
            if common.json:
                continue
            if len(done) == 1:
                say(_preview(Path(results.run)))
            show(results, common)
            say("")
        page = report([Path(results.run) for results in done], PAGE)
        if common.json:
            sys.stdout.write(to_json({"schema": "diffeval.demo/1", "runs": [results_document(one) for one in done]}))
        say(_moral(done))
        say(f"\nOpen {page} in a browser. Next: diffeval fid digits --n 10000, or diffeval train digits --out model")


def _preview(run: Path) -> str:
    """The run's first digits in the terminal, side by side."""
    from diffeval.runs.directory import RunDirectory

    arrays = RunDirectory(run).arrays("grid")
    if arrays is None:
        return ""
    shades, images = " .:-=+*#%@", arrays["images"][:8, 0]
    rows = []
    for row in range(images.shape[1]):
        cells = ["".join(shades[int(value) * len(shades) // 256] * 2 for value in image[row]) for image in images]
        rows.append(" ".join(cells).rstrip())
    return "The first eight samples, nothing chosen:\n\n" + "\n".join(rows) + "\n"


def _moral(done: list[Results]) -> str:
    """What guidance did, in numbers of the runs themselves."""
    plain, guided = done[0].score("fid_debiased"), done[1].score("fid_debiased")
    before, after = plain.value or 0.0, guided.value or 0.0
    return (
        f"Guidance w={done[1].protocol.w:g} moves fid_debiased from {number(before)} ({interval_text(plain.ci95)}) to "
        f"{number(after)} ({interval_text(guided.ci95)}): {'further from' if after > before else 'closer to'} the "
        f"distribution of real digits. Compare the two grids on the page."
    )


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)
