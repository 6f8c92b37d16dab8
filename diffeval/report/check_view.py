"""Health checks on the page: each with how it ended, what to do, its curves and its pictures."""

from diffeval.report.check_figures import check_figures
from diffeval.report.facts import protocol_table, provenance_table
from diffeval.report.images import tiles
from diffeval.report.view import CheckCard, Gallery, RunView
from diffeval.report.words import settings_line
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import CheckResult, Results

# What does not pass is read first.
ORDER = ("fail", "warn", "inconclusive", "pass", "not-applicable")


def check_view(run: RunDirectory, state: RunState, results: Results, index: int) -> RunView:
    """What is shown of a run of health checks."""
    found = sorted(results.checks, key=lambda one: (ORDER.index(one.status), one.name))
    return RunView(
        title=f"{results.provenance.checkpoint}: health checks",
        settings=settings_line(results),
        status=state.status,
        checks=tuple(_card(run, results, one, index) for one in found),
        tables=(protocol_table(results), provenance_table(results)),
        warnings=results.warnings,
        command=" ".join(results.provenance.command),
    )


def _card(run: RunDirectory, results: Results, found: CheckResult, index: int) -> CheckCard:
    return CheckCard(
        name=found.name,
        status=found.status,
        summary=found.summary,
        fix=found.fix,
        ruled_out="; ".join(found.ruled_out),
        figures=check_figures(found.name, results.tables.get(found.name, ()), index),
        gallery=_gallery(run, found.name),
    )


def _gallery(run: RunDirectory, name: str) -> Gallery | None:
    arrays = run.arrays(f"pictures_{name}")
    if arrays is None:
        return None
    images = arrays["images"]
    rows, columns = (tuple(map(str, arrays[one])) for one in ("rows", "columns"))
    captions = [f"{row}: {column}" for row in rows for column in columns]
    flat = images.reshape(-1, *images.shape[2:])
    return Gallery("Pictures", str(arrays["sentence"]), tiles(flat, captions), len(columns), columns)
