"""What the commands of ``diffeval gate`` share: their options, errors as verdicts, and where verdicts are written."""

import contextlib
import json as json_text
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from diffeval.cli.options import Common
from diffeval.cli.running import reporting
from diffeval.errors import DiffevalError, ExitCode

if TYPE_CHECKING:
    from diffeval.gate.verdict import Verdict

OUTPUTS = "Outputs"
# Of what --json prints where a command other than the one that judges ends with an error.
ERRORS = "diffeval.gate-error/1"


def option(*names: str, **more: Any) -> Any:
    """An option whose environment variable is not shown: every one has one."""
    return typer.Option(*names, show_envvar=False, **more)


Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run directories of one checkpoint.", show_envvar=False)
]
# Where none is given that is the verdict, which a step of a workflow is told as any other.
RunsIfAny = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RUN...", help="Run directories of one checkpoint.", show_envvar=False),
]
Config = Annotated[
    Path | None,
    option("--config", "-c", help="The gate file; by default gate.toml, or [tool.diffeval.gate] of pyproject.toml."),
]
Against = Annotated[
    list[str] | None,
    option("--baseline", "-b", help="A run, a promoted file, or git:REV:PATH; may be repeated."),
]
Json = Annotated[bool, option("--json", help="One JSON document on stdout, all else on stderr.")]
Quiet = Annotated[bool, option("--quiet", "-q", help="The verdict in one line.")]
Verbose = Annotated[bool, option("--verbose", "-v", help="Tracebacks of errors, too.")]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a verdict goes beside the terminal.

    Attributes:
        json: one document on stdout.
        quiet: one line on the terminal.
        verbose: tracebacks of errors.
        junit: file, or None.
        markdown: file, or None.
        github: whether a GitHub step is told.
    """

    json: bool
    quiet: bool
    verbose: bool
    junit: Path | None
    markdown: Path | None
    github: bool


@contextlib.contextmanager
def speaking(json: bool, verbose: bool) -> Iterator[None]:
    """Errors of a command without a verdict become one line, and its exit code."""
    common = Common(json=json, quiet=True, verbose=verbose)
    try:
        try:
            with reporting(common, again="run the same command again", schema=ERRORS):
                yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise
        raise typer.Exit(_unwritten(error)) from error


def judged(runs: list[Path], config: Path | None, baseline: list[str] | None, verbose: bool) -> "Verdict":
    """The verdict; where something cannot be read, that is the verdict."""
    from diffeval.gate.judge import gate
    from diffeval.gate.verdict import failed_to_read

    try:
        return gate(runs, config=config, baseline=baseline or ())
    except DiffevalError as error:
        if verbose:
            traceback.print_exc()
        missing = error.exit_code == ExitCode.NO_EVIDENCE
        return failed_to_read(str(error), "no-evidence" if missing else "error", "" if config is None else str(config))


def write_verdict(verdict: "Verdict", outputs: Outputs) -> None:
    """Writes a verdict wherever it was asked for; all of it is made of the one record.

    The terminal is told first, and whatever cannot be written keeps nothing else from being.

    Raises:
        typer.Exit: with 2, if something could not be written.
    """
    from diffeval.gate.github import annotations, error_annotations, harmless, write_outputs, write_summary
    from diffeval.gate.terminal import flat, terminal_text, verdict_line

    shown = harmless if outputs.github else str
    logged = sys.stderr if outputs.json else sys.stdout
    errors: list[str] = []
    if verdict.run is None:
        _print(shown(f"error: {flat(verdict.sentence)}"), sys.stderr)
    else:
        errors += _print(shown(verdict_line(verdict) if outputs.quiet else terminal_text(verdict)), logged)
    if outputs.junit is not None:
        from diffeval.gate.junit import junit_text

        errors += _write(outputs.junit, junit_text(verdict), "--junit")
    if outputs.markdown is not None:
        from diffeval.gate.markdown import markdown_text

        errors += _write(outputs.markdown, markdown_text(verdict), "--markdown")
    if outputs.github:
        errors += _tried(lambda: write_summary(verdict))
        errors += _tried(lambda: write_outputs(verdict, _code(verdict, errors)))
    if outputs.json:
        entries = {**verdict.document(), "exit_code": _code(verdict, errors), "errors": errors}
        # Escaped, so that a runner that looks for commands in a log finds none in it.
        text = json_text.dumps(entries, indent=2, allow_nan=False).replace("##[", "##\\u005b")
        errors += _print(text, sys.stdout)
    for error in errors:
        _print(shown(f"error: {flat(error)}"), sys.stderr)
    if outputs.github:
        _print("\n".join([*annotations(verdict), *error_annotations(verdict, errors)]), logged)
    if errors:
        raise typer.Exit(int(ExitCode.USAGE))


def _code(verdict: "Verdict", errors: list[str]) -> int:
    """What the process ends with."""
    return int(ExitCode.USAGE) if errors else verdict.exit_code


def _write(path: Path, text: str, name: str) -> list[str]:
    """Writes a file; what went wrong, if anything."""
    from diffeval.runs.files import replace_text

    try:
        replace_text(path, text)
    except DiffevalError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        return [f"gate: cannot write {path}: {reason}; free the disk, or give another {name}"]
    return []


def _tried(write: Callable[[], None]) -> list[str]:
    try:
        write()
    except DiffevalError as error:
        return [str(error)]
    return []


def _print(text: str, stream: TextIO) -> list[str]:
    """Prints at once; what went wrong, if anything."""
    if not text:
        return []
    try:
        try:
            print(text, file=stream, flush=True)
        except UnicodeEncodeError:  # a terminal that has not every character
            print(text.encode("ascii", "replace").decode(), file=stream, flush=True)
    except OSError as error:
        _drop(stream)
        return [f"gate: cannot write to {'stdout' if stream is sys.stdout else 'stderr'}: {error.strerror or error}"]
    return []


def _unwritten(error: OSError) -> int:
    """Tells that stdout takes no more."""
    _drop(sys.stdout)
    _print(f"error: gate: cannot write to stdout: {error.strerror or error}", sys.stderr)
    return int(ExitCode.USAGE)


def _drop(stream: TextIO) -> None:
    """Sends what a stream still holds nowhere, so that Python does not fail once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
