"""Turns whatever ends a command into one line and an exit code."""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from diffeval.cli.console import ConsoleReporter
from diffeval.cli.options import Common
from diffeval.cli.parse import duration
from diffeval.errors import DiffevalError, ExitCode, StoppedError
from diffeval.ranks import AgreedError, PartDone, here, join, launched
from diffeval.runs.document import SCHEMA


@contextmanager
def reporting(
    common: Common,
    again: str = "run the same command to continue",
    schema: str = SCHEMA,
    *,
    spread: bool = False,
    time_limit: str | None = None,
) -> Iterator[ConsoleReporter]:
    """Gives the command its reporter; errors become one line on stderr, with ``--json`` also a document on stdout.

    Args:
        common: what every command takes.
        again: how it is continued.
        schema: of the document.
        spread: whether the ranks that a launcher has started share the work; otherwise rank 0 does it alone.
        time_limit: after which it stops by itself.
    """
    rank, world = launched()
    if rank and not spread:
        raise typer.Exit
    reporter = ConsoleReporter(quiet=common.quiet or rank > 0, silent=rank > 0)
    if world > 1 and not spread:
        reporter.note("this is done by one process: rank 0 does it, the others have ended")
    try:
        if spread:
            join()
        reporter.limit(duration(time_limit))
        yield reporter
    except PartDone as part:
        reporter.close()
        _part(part, common)
    except DiffevalError as error:
        reporter.close()
        if common.verbose:
            traceback.print_exc()
        stopped_by_hand = isinstance(error, StoppedError) and reporter.interrupted
        known = isinstance(error, StoppedError | AgreedError) or here().failed(str(error))
        if not rank:
            _fail(str(error), type(error).__name__, common, schema)
        elif not known:
            # In one write, or lines of several processes mingle.
            sys.stderr.write(f"error: rank {rank}: {error}\n")
        raise typer.Exit(int(ExitCode.INTERRUPTED if stopped_by_hand else error.exit_code)) from error
    except KeyboardInterrupt as error:
        reporter.close()
        if not rank:
            _fail(f"interrupted; {again}", "Interrupted", common, schema)
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from error
    finally:
        reporter.release()


def document(schema: str, **entries: object) -> None:
    """Prints the one document of a command that has no results of its own."""
    print(json.dumps({"schema": schema, **entries}, indent=2, allow_nan=False))


def _part(part: PartDone, common: Common) -> None:
    """Says where the part of this process lies; nothing where rank 0 goes on."""
    if part.folder is None:
        return
    if common.json:
        document("diffeval.shard/1", run=str(part.folder), next=f"diffeval runs merge {part.folder.parent}")
        return
    print(f"{part.message}\nrun   {part.folder}")


def _fail(message: str, kind: str, common: Common, schema: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    if common.json:
        print(json.dumps({"schema": schema, "error": {"kind": kind, "message": message}}))
