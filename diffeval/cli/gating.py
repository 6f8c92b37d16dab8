"""What the commands of ``diffeval gate`` share: their options, errors as verdicts, and where verdicts are written."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffeval.cli.options import Common
from diffeval.cli.running import document, reporting
from diffeval.errors import DiffevalError, ExitCode

if TYPE_CHECKING:
    from diffeval.gate.verdict import Verdict

OUTPUTS = "Outputs"


def option(*names: str, **more: Any) -> Any:
    """An option whose environment variable is not shown: every one has one."""
    return typer.Option(*names, show_envvar=False, **more)


Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run directories of one checkpoint.", show_envvar=False)
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


@contextmanager
def speaking(json: bool, verbose: bool) -> Iterator[None]:
    """Errors of a command without a verdict become one line, and its exit code."""
    with reporting(Common(json=json, quiet=True, verbose=verbose), again="run the same command again"):
        yield


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

    Raises:
        DiffevalError: if a file cannot be written.
    """
    from diffeval.gate.terminal import terminal_text, verdict_line
    from diffeval.runs.files import replace_text

    if outputs.junit is not None:
        from diffeval.gate.junit import junit_text

        replace_text(outputs.junit, junit_text(verdict))
    if outputs.markdown is not None:
        from diffeval.gate.markdown import markdown_text

        replace_text(outputs.markdown, markdown_text(verdict))
    told: list[str] = []
    if outputs.github:
        from diffeval.gate.github import tell_github

        told = tell_github(verdict)
    text = verdict_line(verdict) if outputs.quiet else terminal_text(verdict)
    if verdict.run is None:
        print(f"error: {verdict.sentence}", file=sys.stderr)
        text = ""
    stream = sys.stderr if outputs.json else sys.stdout
    for line in (text, *told):
        if line:
            print(line, file=stream)
    if outputs.json:
        entries = verdict.document()
        document(entries.pop("schema"), **entries)
