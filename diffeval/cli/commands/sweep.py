"""``diffeval sweep-cfg`` and ``diffeval sweep``."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffeval.cli.console import ConsoleReporter
from diffeval.cli.loading import load_options
from diffeval.cli.options import (
    SCORING,
    Common,
    Judging,
    Loading,
    Measuring,
    Output,
    Reading,
    Sampling,
    Wording,
    with_options,
)
from diffeval.cli.parse import settings_of
from diffeval.cli.running import reporting
from diffeval.cli.scored import folder_bytes, prompting_of, show_plan, size_text
from diffeval.cli.tables import columns
from diffeval.errors import DiffevalError
from diffeval.runs.document import results_document, to_json
from diffeval.runs.records import Param, Results
from diffeval.runs.words import number

if TYPE_CHECKING:
    from diffeval.checkpoints.checkpoint import Checkpoint
    from diffeval.data.source import OpenOptions
    from diffeval.plan import Settings

# Columns of the table that a sweep prints, of those that were measured.
COLUMNS = (
    "fid_debiased", "kid", "precision", "recall", "density", "coverage", "class_accuracy", "clip_score",
    "within_class_distance", "saturated_pixels", "contrast_ratio",
)  # fmt: skip

Name = Annotated[
    str,
    typer.Argument(metavar="CKPT", help="digits, a diffusers folder, hf:ORG/NAME, or a weights file with --model."),
]
Number = Annotated[int, typer.Option("--n", "-n", help="Images at every point.")]


@with_options
def sweep_cfg(
    checkpoint: Name,
    common: Common,
    loading: Loading,
    sampling: Sampling,
    measuring: Measuring,
    reading: Reading,
    output: Output,
    wording: Wording,
    judging: Judging,
    scales: Annotated[
        str, typer.Option(help="Guidance scales, as a list, as ranges 1:8:0.5, or both.", rich_help_panel=SCORING)
    ] = "1,1.5,2,3,5,7,10",
    n: Number = 2000,
    keep_diversity: Annotated[
        float, typer.Option(help="Find the largest w that keeps this share of diversity.", rich_help_panel=SCORING)
    ] = 0.9,
) -> None:
    """Quality and diversity against the guidance scale w: the same seeds at every w, with error bars.

    w=1 is the plain conditional model, w=0 the unconditional one. Models that write (1 + s) cond - s uncond have
    w = 1 + s.

    Examples:
    diffeval sweep-cfg digits
    diffeval sweep-cfg digits --scales 1:3:0.25,5 --n 1000
    """
    with reporting(common, spread=not output.dry_run, time_limit=output.time_limit) as reporter:
        from diffeval.sweeps.grid import parse_scales
        from diffeval.sweeps.sweep import sweep_scales

        points = [{"w": w} for w in parse_scales(scales)]
        measured, opening = _open(checkpoint, loading, reading, reporter)
        settings = _settings(n, sampling)
        prompting = prompting_of(wording, judging)
        if output.dry_run:
            from diffeval.pricing.run import command_began
            from diffeval.sweeps.sweep import describe

            extracting = _extracting(measuring, loading)
            plan = describe(
                measured,
                points,
                settings,
                task="sweep-cfg",
                ref=measuring.ref,
                extracting=extracting,
                opening=opening,
                prompting=prompting,
                out=output.out,
                fresh=output.fresh,
                begun=command_began(),
            )
            show_plan(plan, common)
            return
        results = sweep_scales(
            measured,
            [one["w"] for one in points],
            settings=settings,
            keep_diversity=keep_diversity,
            ref=measuring.ref,
            extracting=_extracting(measuring, loading),
            opening=opening,
            prompting=prompting,
            out=output.out,
            fresh=output.fresh,
            reporter=reporter,
        )
        _show(results, ("w",), common)


@with_options
def sweep(
    checkpoint: Name,
    common: Common,
    loading: Loading,
    sampling: Sampling,
    measuring: Measuring,
    reading: Reading,
    output: Output,
    wording: Wording,
    judging: Judging,
    over: Annotated[
        list[str],
        typer.Option(
            help="A setting and its values, e.g. steps=5,10,20; several make a grid. Settings: steps, w, sampler, "
            "eta, karras, dtype, rescale, threshold.",
            rich_help_panel=SCORING,
        ),
    ],
    n: Number = 2000,
) -> None:
    """Quality against cost at any sampling settings: which of them are as good as the best, and which is cheapest.

    Examples:
    diffeval sweep digits --over steps=5,10,20,50
    diffeval sweep digits --over steps=5,10,20 --over sampler=ddim,dpm++ --n 1000
    """
    with reporting(common, spread=not output.dry_run, time_limit=output.time_limit) as reporter:
        from diffeval.pricing.run import command_began
        from diffeval.sweeps.grid import parse_over, points
        from diffeval.sweeps.sweep import AXES, describe
        from diffeval.sweeps.sweep import sweep as run

        axes = parse_over(over, AXES)
        measured, opening = _open(checkpoint, loading, reading, reporter)
        settings = _settings(n, sampling)
        prompting = prompting_of(wording, judging)
        if output.dry_run:
            extracting = _extracting(measuring, loading)
            plan = describe(
                measured,
                points(axes),
                settings,
                ref=measuring.ref,
                extracting=extracting,
                opening=opening,
                prompting=prompting,
                out=output.out,
                fresh=output.fresh,
                begun=command_began(),
            )
            show_plan(plan, common)
            return
        results = run(
            measured,
            points(axes),
            settings=settings,
            ref=measuring.ref,
            extracting=_extracting(measuring, loading),
            opening=opening,
            prompting=prompting,
            out=output.out,
            fresh=output.fresh,
            reporter=reporter,
        )
        _show(results, tuple(axis.name for axis in axes), common)


def _open(
    checkpoint: str, loading: Loading, reading: Reading, reporter: ConsoleReporter
) -> "tuple[Checkpoint, OpenOptions]":
    from diffeval.data.source import OpenOptions
    from diffeval.measured import open_measured

    opening = OpenOptions(reading.download, reading.on_bad, loading.offline, reporter)  # type: ignore[arg-type]
    return open_measured(checkpoint, load_options(loading), opening), opening  # type: ignore[return-value]


def _settings(n: int, sampling: Sampling) -> "Settings":
    if n < 1:
        raise DiffevalError(f"--n is {n}, needs at least 1")
    return settings_of(sampling, n)


def _extracting(measuring: Measuring, loading: Loading):  # type: ignore[no-untyped-def]
    from diffeval.measured import Extracting

    return Extracting(measuring.extractor, measuring.weights, measuring.resize, measuring.fast, loading.offline)


def _show(results: Results, axes: tuple[str, ...], common: Common) -> None:
    """Prints the curve and the choices, draws the page, and says where all lies."""
    from diffeval.report.page import report

    page = Path(results.run) / "report.html"
    report([Path(results.run)], page)
    if common.json:
        sys.stdout.write(to_json(results_document(results)))
        return
    print(_curve(results, axes))
    print()
    for row in results.tables.get("choices", ()):
        print(choice_text(row))
    for warning in results.warnings:
        print(f"warning: {warning}")
    print(f"\nrun    {results.run}  ({size_text(folder_bytes(Path(results.run)))})")
    print(f"table  {Path(results.run) / 'sweep.csv'}\npage   {page}")


def choice_text(row: Mapping[str, Param]) -> str:
    """A choice as a line: what, by which rule, how sure."""
    if "rule" in row:
        chosen = f"w={number(row['w'])}" if isinstance(row["w"], float) else f"none ({row['reason']})"
        return f"{row['rule']}: {chosen}" + (f"  (95% set: {row['likely']})" if row["likely"] else "")
    return (
        f"best by {row['curve']}: {row['best']}; not told from it: {row['indistinguishable']}; cheapest of them: "
        f"{row['cheapest_of_them']}, {row['evaluations']} network evaluations"
    )


def _curve(results: Results, axes: tuple[str, ...]) -> str:
    rows = results.tables["curve"]
    names = [name for name in COLUMNS if any(row["score"] == name for row in rows)]
    table: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = tuple(str(row[axis]) if isinstance(row[axis], str) else f"{row[axis]:g}" for axis in axes)
        value, error = row["value"], row["std_error"]
        text = "-" if not isinstance(value, float) else number(value)
        if isinstance(error, float) and isinstance(value, float):
            text += f" ±{error:.1g}"
        table.setdefault(key, {})[str(row["score"])] = text
    lines = [(*axes, *names, "")]
    lines += [(*key, *(cells.get(name, "") for name in names), "") for key, cells in table.items()]
    return columns(lines)


def add(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("sweep-cfg")(sweep_cfg)
    app.command()(sweep)
