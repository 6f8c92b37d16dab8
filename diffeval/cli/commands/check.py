"""``diffeval check``."""

import sys
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from diffeval.cli.loading import load_options
from diffeval.cli.options import (
    SCORING,
    Common,
    Loading,
    Output,
    Reading,
    Sampling,
    Wording,
    with_options,
)
from diffeval.cli.parse import settings_of
from diffeval.cli.running import document, reporting
from diffeval.cli.scored import folder_bytes, prompting_of, show_plan, size_text
from diffeval.cli.tables import columns
from diffeval.errors import DiffevalError, ExitCode
from diffeval.runs.document import results_document, to_json
from diffeval.runs.records import Results
from diffeval.runs.words import settings_line

CKPT = "digits, a diffusers folder, hf:ORG/NAME, a weights file with --model, or images:DIR (memorization only)."
WIDTH = 119


@with_options
def check(
    common: Common,
    loading: Loading,
    sampling: Sampling,
    reading: Reading,
    output: Output,
    wording: Wording,
    checkpoint: Annotated[str | None, typer.Argument(metavar="CKPT", help=CKPT, show_default=False)] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Checks, e.g. step-convergence,trajectory; by default all.", rich_help_panel=SCORING),
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option(
            help="Real images, e.g. folder:DIR; by default what the checkpoint was trained on.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    training_log: Annotated[
        Path | None,
        typer.Option(
            help="Log of the training: CSV, JSON lines, TensorBoard events; also without CKPT.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    sampling_scheduler: Annotated[
        Path | None,
        typer.Option(
            help="scheduler_config.json, or its folder, of the sampler in use elsewhere, to be held against training.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    made: Annotated[
        Path | None,
        typer.Option(
            help="npz of what another pipeline made of CKPT: images, noise or seeds, prompts, negatives, labels.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Seeds, and real images, that a check may spend.")] = 64,
    listed: Annotated[
        bool, typer.Option("--list", help="Show every check, and leave.", rich_help_panel=SCORING)
    ] = False,
) -> None:
    """Health checks: what is wrong with the network or its sampler, what was ruled out, and what to change.

    Exit code 3 where a check fails, 4 where every one that applies is inconclusive.

    Examples:
    diffeval check digits
    diffeval check digits --only step-convergence,trajectory
    diffeval check my-model --sampling-scheduler pipeline/scheduler
    diffeval check my-model --made served.npz --only reproduction
    diffeval check --training-log runs/log.csv
    diffeval check images:samples --only memorization --ref folder:photos
    diffeval check --list
    """
    with reporting(common, time_limit=output.time_limit) as reporter:
        if listed:
            _list(common)
            return
        if checkpoint is None and training_log is not None:
            from diffeval.examine_log import check_training_log

            results = check_training_log(training_log, out=output.out)
            _show(results, common)
            _leave(results)
            return
        if checkpoint is None:
            raise typer.BadParameter("name a checkpoint, e.g. diffeval check digits, or ask for --list")
        from diffeval.data.source import OpenOptions
        from diffeval.examine import check as run
        from diffeval.examine import chosen, describe
        from diffeval.measured import open_measured
        from diffeval.pricing.run import command_began

        names = None if only is None else chosen([name.strip() for name in only.split(",") if name.strip()])
        if sampling.shard is not None:
            raise DiffevalError("check: spends too few images for parts; leave --shard out")
        if n < 2:
            raise DiffevalError(f"--n is {n}, needs at least 2")
        opening = OpenOptions(reading.download, reading.on_bad, loading.offline, reporter)  # type: ignore[arg-type]
        loaded = open_measured(checkpoint, load_options(loading), opening)
        settings = settings_of(sampling, n)
        if output.dry_run:
            plan = describe(
                loaded,
                only=names,
                settings=settings,
                ref=ref,
                sampling_scheduler=sampling_scheduler,
                opening=opening,
                prompting=prompting_of(wording),
                out=output.out,
                fresh=output.fresh,
                begun=command_began(),
            )
            show_plan(plan, common)
            return
        results = run(
            loaded,
            only=names,
            settings=settings,
            ref=ref,
            training_log=training_log,
            sampling_scheduler=sampling_scheduler,
            made=made,
            opening=opening,
            prompting=prompting_of(wording),
            out=output.out,
            fresh=output.fresh,
            reporter=reporter,
        )
        _show(results, common)
        _leave(results)


def _show(results: Results, common: Common) -> None:
    """Prints what was found, draws the page, and says where both lie."""
    from diffeval.checks.cost import told
    from diffeval.examine import COST
    from diffeval.report.page import report

    page = Path(results.run) / "report.html"
    report([Path(results.run)], page)
    if common.json:
        sys.stdout.write(to_json(results_document(results)))
        return
    print(f"{settings_line(results)}\n")
    names = max(len(one.name) for one in results.checks)
    for one in results.checks:
        print(_wrapped(f"{one.status:<14}  {one.name:<{names}}  ", one.summary))
        for title, text in (("what to do", one.fix), ("not the cause", "; ".join(one.ruled_out))):
            if text:
                print(_wrapped(f"{'':<16}{title}: ", text))
    for warning in results.warnings:
        print(f"warning: {warning}")
    spent = results.tables.get(COST)
    print()
    if spent:
        print(f"cost  {told(spent)}")
    print(f"run   {results.run}  ({size_text(folder_bytes(Path(results.run)))})\npage  {page}")


def _wrapped(begun: str, text: str) -> str:
    indent = " " * min(len(begun), 18)
    return textwrap.fill(
        text, WIDTH, initial_indent=begun, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _leave(results: Results) -> None:
    """Ends with the exit code of what was found."""
    statuses = {one.status for one in results.checks}
    if "fail" in statuses:
        raise typer.Exit(int(ExitCode.FAILED))
    if "inconclusive" in statuses and statuses <= {"inconclusive", "not-applicable"}:
        raise typer.Exit(int(ExitCode.INCONCLUSIVE))


def _list(common: Common) -> None:
    from diffeval.examine import listing

    if common.json:
        rows = [{"name": name, "reads": reads, "about": about} for name, reads, about in listing()]
        document("diffeval.checks/1", checks=rows)
        return
    print(columns([("check", "reads", ""), *listing()]))


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(check)
