"""What every command that scores a checkpoint does: evaluate, print, draw the page, say what comes next."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from diffeval.cli.console import ConsoleReporter
from diffeval.cli.loading import load_options
from diffeval.cli.options import Common, Judging, Scored, Wording
from diffeval.cli.parse import keep, settings_of
from diffeval.cli.running import document
from diffeval.cli.tables import results_table
from diffeval.errors import DiffevalError, ExitCode
from diffeval.runs.document import results_document, to_json
from diffeval.runs.records import Param, Results
from diffeval.runs.words import (
    WINDOWS,
    advice_sentence,
    floor_sentence,
    missed_sentence,
    window_sentences,
    word_sentences,
)

if TYPE_CHECKING:
    from diffeval.pricing.stage import Plan
    from diffeval.prompting import Prompting

SIZE_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def run_and_show(
    checkpoint: str,
    given: Scored,
    *,
    task: str,
    metrics: Sequence[str] | None,
    beside: Sequence[str] = (),
    metric_options: Mapping[str, Mapping[str, Param]] | None = None,
    n: int | None,
    at: Sequence[int] | None,
    precision: float | None = None,
    max_n: int | None = None,
    judging: Judging | None = None,
    once: bool = False,
    extractor_of: Callable[[tuple[int, int, int]], str] | None = None,
    reporter: ConsoleReporter,
) -> Results | None:
    """Evaluates and shows; None for a dry run. Without n it takes the protocol's, or the usual one.

    ``beside`` are metrics for which there must be real images, and which may fail; ``extractor_of`` names the
    extractor for images of a shape, where the user names none; ``once`` logs the scores at n alone.
    """
    from diffeval.data.source import OpenOptions
    from diffeval.describe import describe
    from diffeval.evaluate import evaluate
    from diffeval.measured import Extracting, has_reference, open_measured
    from diffeval.prepared import usual_n
    from diffeval.pricing.run import command_began
    from diffeval.published import combined, prompted
    from diffeval.ready import ReadyImages

    common, loading, measuring, output = given.common, given.loading, given.measuring, given.output
    reading = given.reading
    opening = OpenOptions(reading.download, reading.on_bad, loading.offline, reporter)  # type: ignore[arg-type]
    measured = open_measured(checkpoint, load_options(loading), opening)
    named = measuring.extractor or (extractor_of(measured.image_shape) if extractor_of else None)
    extracting = Extracting(named, measuring.weights, measuring.resize, measuring.fast, offline=loading.offline)
    required = metrics
    if beside and (measuring.ref is not None or has_reference(measured, opening)):
        metrics = (*(metrics or ()), *beside)
    if n is not None and n < 1:
        raise DiffevalError(f"--n is {n}, needs at least 1")
    settings, prompting = settings_of(given.sampling, n or 0), prompting_of(given.wording, judging)
    if measuring.protocol is not None:
        available = len(measured.source) if isinstance(measured, ReadyImages) else None
        settings, extracting = combined(measuring.protocol, settings, extracting, reporter, available=available)
        if available is None:
            prompting = prompted(measuring.protocol, prompting)
    if not settings.n:
        settings = dataclasses.replace(settings, n=usual_n(measured))
    asked: dict[str, Any] = {
        "task": task,
        "metrics": metrics,
        "options": metric_options,
        "settings": settings,
        "at": at,
        "precision": precision,
        "max_n": max_n,
        "ref": measuring.ref,
        "extracting": extracting,
        "opening": opening,
        "prompting": prompting,
        "out": output.out,
        "keep": keep(measuring.keep),
        "fresh": output.fresh,
    }
    if once and at is None:
        asked["at"] = (settings.n,)
    if output.dry_run:
        show_plan(describe(measured, **asked, begun=command_began()), common)  # the same words as evaluate's
        return None
    asked["reporter"] = reporter
    results = _published(evaluate(measured, **asked), measuring.protocol)
    show(results, common)
    if all(score.value is None for score in results.scores):
        print(f"error: no score could be computed: {results.scores[0].error}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.NO_EVIDENCE))
    if task != "fid":  # where KID stands beside what was asked for
        _refuse_missing(results, required)
    missed = missed_sentence(results)
    if missed is not None:
        print(f"inconclusive: {missed}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.INCONCLUSIVE))
    return results


def _published(results: Results, protocol: str | None) -> Results:
    """The results with where they lie in the windows of a published protocol, in the run's directory, too."""
    from diffeval.published import windowed
    from diffeval.runs.directory import RunDirectory

    rows = () if protocol is None else windowed(protocol, results)
    if not rows:
        return results
    run = RunDirectory(Path(results.run))
    stored = run.results()
    if stored is not None:
        run.save_results(dataclasses.replace(stored, tables={**stored.tables, WINDOWS: rows}))
    return dataclasses.replace(results, tables={**results.tables, WINDOWS: rows})


def prompting_of(wording: Wording | None, judging: Judging | None = None) -> "Prompting | None":
    """Prompts and judge as the options say it; None where they say nothing."""
    from diffeval.prompting import Prompting

    wording, judging = wording or Wording(), judging or Judging()
    found = Prompting(
        wording.prompts, wording.held_out, wording.template, judging.judge, judging.judge_weights, wording.negative
    )
    return None if found == Prompting() else found


def _refuse_missing(results: Results, metrics: Sequence[str] | None) -> None:
    """Ends with usage's exit code if a score that was asked for by name is not there."""
    from diffeval.suite import named

    asked = frozenset() if metrics is None else named(metrics)
    for score in results.scores:
        if score.n == results.provenance.n and score.name in asked and score.value is None:
            print(f"error: {score.name}: {score.error}", file=sys.stderr)
            raise typer.Exit(int(ExitCode.USAGE))
    for name in sorted(asked - {score.name for score in results.scores}):  # beside the standard suite
        why = next((said for said in results.warnings if said.startswith(f"{name} is left out")), f"{name}: not there")
        print(f"error: {why}", file=sys.stderr)
        raise typer.Exit(int(ExitCode.USAGE))


def show_plan(plan: "Plan", common: Common) -> None:
    """Prints what a dry run found."""
    lines = plan.told()
    if not common.json:
        print("\n".join(lines))
        return
    words: dict[str, str | list[str]] = {}
    for name, text in (line.split(maxsplit=1) for line in lines):
        held = words.get(name)
        words[name] = text if held is None else [*(held if isinstance(held, list) else [held]), text]
    stages = [dataclasses.asdict(one) for one in plan.prices]
    document("diffeval.plan/1", plan=words, stages=stages, seconds=plan.seconds)


def show(results: Results, common: Common) -> None:
    """Prints the results on stdout, draws the page, and says where both lie."""
    from diffeval.report.page import report
    from diffeval.runs.directory import RunDirectory

    stored = RunDirectory(Path(results.run)).results()
    page, whole = Path(results.run) / "report.html", ""
    if stored is None or stored.provenance.n == results.provenance.n:
        report([Path(results.run)], page)
    else:
        whole = f"  (of all {stored.provenance.n} images)"
    if common.json:
        sys.stdout.write(to_json(results_document(results)))
        return
    print(results_table(results))
    floor = floor_sentence(results)
    advice = None if results.protocol.task == "clip" else advice_sentence(results)
    for said in (*word_sentences(results), *window_sentences(results), floor, advice):
        if said is not None:
            print(said)
    for warning in results.warnings:
        print(f"warning: {warning}")
    print(f"\nrun   {results.run}  ({size_text(folder_bytes(Path(results.run)))}, {kept_text(results)})")
    print(f"page  {page}{whole}")
    if any(score.name == "fid" for score in results.scores):
        print("FID is a hint, not a verdict: look at the grid on the page.")


def kept_text(results: Results) -> str:
    """What stays on disk beside the results."""
    kept = results.choices.get("keep")
    return {"images": "images and features kept", "features": "features kept"}.get(
        str(kept), "nothing kept but results"
    )


def folder_bytes(folder: Path) -> int:
    """Bytes in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def size_text(size: int) -> str:
    """Bytes, for people."""
    for unit, factor in SIZE_UNITS:
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
