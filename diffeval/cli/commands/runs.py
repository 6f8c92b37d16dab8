"""``diffeval runs ls``, ``runs show`` and ``runs merge``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffeval.cli.options import Common, with_options
from diffeval.cli.running import document, reporting
from diffeval.cli.tables import columns, results_table
from diffeval.errors import DiffevalError
from diffeval.runs.words import first_score, number

if TYPE_CHECKING:
    from diffeval.runs.directory import RunDirectory, RunState

app = typer.Typer(no_args_is_help=True, help="What has been measured here: ls, show, merge.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of runs.")]


@app.command()
@with_options
def ls(common: Common, folder: Folder = Path("runs")) -> None:
    """Every run in a folder: where it stands, its images, its first score.

    Example:
    diffeval runs ls
    """
    with reporting(common):
        from diffeval.runs.directory import RunDirectory

        if not folder.is_dir():
            raise DiffevalError(f"runs: {folder} is no folder; name the one that holds the runs")
        found = [RunDirectory(path.parent) for path in sorted(folder.glob("*/run.json"))]
        found += [RunDirectory(path.parent) for path in sorted(folder.glob("*/shard-*-of-*/run.json"))]
        rows = [(run, *_known(run)) for run in found]
        if common.json:
            listed = [
                {"run": str(run.path), "error": why} if state is None else _plain(run, state)
                for run, state, why in rows
            ]
            document("diffeval.runs/1", runs=listed)
            return
        if not rows:
            print(f"no runs in {folder}")
            return
        shown = [_row(run, state, why) for run, state, why in rows]
        print(columns([("run", "task", "status", "n", "seed", "started", ""), *shown]))


@app.command()
@with_options
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    common: Common,
) -> None:
    """Where a run stands, and its scores if it has any.

    Example:
    diffeval runs show runs/digits-1a2b3c4d-fid-s0-5e6f7a8b
    """
    with reporting(common):
        from diffeval.runs.directory import RunDirectory

        directory = RunDirectory(run)
        state = directory.state() if run.is_dir() else None
        if state is None:
            raise DiffevalError(f"runs: {run} holds no run; diffeval runs ls shows those in runs/")
        if common.json:
            document("diffeval.runs/1", runs=[_plain(directory, state)])
            return
        facts = _plain(directory, state)
        width = max(map(len, facts)) + 2
        for name, value in facts.items():
            if value not in (None, [], {}):
                told = "; ".join(value) if isinstance(value, list) else value
                print(f"{name.replace('_', ' '):<{width}}{told}")
        results = directory.results()
        if results is not None and results.scores:
            print(f"\n{results_table(results)}")


@app.command()
@with_options
def merge(
    parts: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that --shard wrote, or one that holds them.")
    ],
    common: Common,
    out: Annotated[
        Path | None, typer.Option(help="Where the whole goes; by default where the first part lies.")
    ] = None,
) -> None:
    """Joins the parts of a run that --shard made; the same command without --shard then scores it.

    Examples:
    diffeval runs merge runs/big
    diffeval runs merge node1/shard-1-of-2 node2/shard-2-of-2 --out runs/big
    """
    with reporting(common):
        from diffeval.runs.merge import SHARDS
        from diffeval.runs.merge import merge as join

        first = parts[0]
        whole = out if out is not None else first.parent if first.match(SHARDS) else first
        merged = join(parts, whole)
        again = f"the same command without --shard, with --out {merged.run}: it samples nothing more"
        if common.json:
            document("diffeval.merge/1", run=str(merged.run), parts=merged.parts, n=merged.n, next=again)
        else:
            print(f"{merged.parts} parts, {merged.n} images\nrun   {merged.run}\nnext  {again}")


def _known(run: "RunDirectory") -> "tuple[RunState | None, str]":
    """The state of a run, or why it cannot be read."""
    try:
        return run.state(), ""
    except DiffevalError as error:
        return None, str(error)


def _plain(run: "RunDirectory", state: "RunState") -> dict[str, object]:
    return {
        "run": str(run.path),
        "task": state.task,
        "status": state.status,
        "n": state.n,
        "seed": state.seed,
        "batch": state.batch,
        "ranks": state.ranks,
        "shard": None if state.shard is None else f"{state.shard[0]}/{state.shard[1]}",
        "checkpoint_sha256": state.checkpoint_sha256,
        "version": state.version,
        "started": state.started,
        "seconds": {stage: round(seconds, 1) for stage, seconds in state.seconds.items()},
        "warnings": list(state.warnings),
    }


def _row(run: "RunDirectory", state: "RunState | None", why: str) -> tuple[str, ...]:
    if state is None:
        return (str(run.path), "", "damaged", "", "", "", why)
    results = run.readable_results()
    said = ""
    if results is not None:
        known = [one for one in results.scores if one.value is not None]
        of_it = [one for one in known if one.name == first_score(results)] or known
        if of_it:
            best = max(of_it, key=lambda one: one.n)
            error = "" if best.std_error is None else f" ± {best.std_error:.2g}"
            said = f"{best.name} {number(best.value or 0.0)}{error}"
    return (str(run.path), state.task, state.status, str(state.n), str(state.seed), state.started, said)


def add(root: typer.Typer) -> None:
    """Adds the commands."""
    root.add_typer(app, name="runs")
