"""Health checks on the page: each with how it ended, what to do, its curves and its pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffeval.report.check_figures import check_figures
from diffeval.report.facts import protocol_table, provenance_table
from diffeval.report.images import tiles
from diffeval.report.view import CheckCard, Gallery, RunView, Table
from diffeval.report.words import settings_line
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.records import CheckResult, Results

# Pictures of the check that follows the sampler, and the seeds of which checkpoints are shown below each other.
TRAJECTORY, SEEDS = "pictures_trajectory", 4
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
        tables=(protocol_table(results), *_cost(results), provenance_table(results)),
        warnings=results.warnings,
        command=" ".join(results.provenance.command),
    )


def _cost(results: Results) -> tuple[Table, ...]:
    """Forward passes and seconds by what they were spent on."""
    rows = tuple(
        (str(row["spent_on"]), f"{row['forward_passes']:,} forward passes, {row['seconds']:.1f} s")
        for row in results.tables.get("cost", ())
    )
    return (Table("Cost", "A forward pass is one image through the network once.", rows),) if rows else ()


def side_by_side(runs: Sequence[Path]) -> RunView | None:
    """The same seeds on their way to an image, checkpoint below checkpoint; None where fewer than two show them.

    Checkpoints of one training are shown so, or any that were sampled from the same seeds and classes alike.
    """
    shown = [(one, arrays) for path in runs if (arrays := (one := RunDirectory(path)).arrays(TRAJECTORY)) is not None]
    if len(shown) < 2 or any(list(one[1]["rows"]) != list(shown[0][1]["rows"]) for one in shown):
        return None
    # At other timesteps, pictures below each other would not be of the same noise level.
    if any(list(one[1]["columns"]) != list(shown[0][1]["columns"]) for one in shown):
        return None
    names = [_checkpoint(run) for run, _ in shown]
    columns = tuple(map(str, shown[0][1]["columns"]))
    galleries = []
    for row, seed in enumerate(map(str, shown[0][1]["rows"][:SEEDS])):
        captions = [f"{name}, {seed}: {column}" for name in names for column in columns]
        pixels = np.concatenate([arrays["images"][row] for _, arrays in shown])
        galleries.append(
            Gallery(seed, f"From top to bottom: {', '.join(names)}.", tiles(pixels, captions), len(columns), columns)
        )
    return RunView(
        title="The same seeds, side by side",
        settings=f"{len(shown)} checkpoints: {', '.join(names)}",
        status="done",
        galleries=tuple(galleries),
    )


def _checkpoint(run: RunDirectory) -> str:
    results = run.results()
    return run.path.name if results is None else results.provenance.checkpoint


def _card(run: RunDirectory, results: Results, found: CheckResult, index: int) -> CheckCard:
    return CheckCard(
        name=found.name,
        status=found.status,
        summary=found.summary,
        fix=found.fix,
        ruled_out="; ".join(found.ruled_out),
        figures=check_figures(found.name, results.tables, index),
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
