"""Turns whatever ends a command into one line and an exit code."""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from diffeval.cli.console import ConsoleReporter
from diffeval.cli.options import Common
from diffeval.errors import DiffevalError, ExitCode, StoppedError
from diffeval.runs.document import SCHEMA


@contextmanager
def reporting(
    common: Common, again: str = "run the same command to continue", schema: str = SCHEMA
) -> Iterator[ConsoleReporter]:
    """Gives the command its reporter; errors become one line on stderr, with ``--json`` also a document on stdout."""
    reporter = ConsoleReporter(quiet=common.quiet)
    try:
        yield reporter
    except DiffevalError as error:
        reporter.close()
        if common.verbose:
            traceback.print_exc()
        stopped_by_hand = isinstance(error, StoppedError) and reporter.interrupted
        _fail(str(error), type(error).__name__, common, schema)
        raise typer.Exit(int(ExitCode.INTERRUPTED if stopped_by_hand else error.exit_code)) from error
    except KeyboardInterrupt as error:
        reporter.close()
        _fail(f"interrupted; {again}", "Interrupted", common, schema)
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from error
    finally:
        reporter.release()


def document(schema: str, **entries: object) -> None:
    """Prints the one document of a command that has no results of its own."""
    print(json.dumps({"schema": schema, **entries}, indent=2, allow_nan=False))


def _fail(message: str, kind: str, common: Common, schema: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if common.json:
        print(json.dumps({"schema": schema, "error": {"kind": kind, "message": message}}))
