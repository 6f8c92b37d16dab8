"""What a GitHub step is told: its summary, annotations, and outputs, through the files and lines that GitHub reads."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffeval.errors import DiffevalError
from diffeval.gate.markdown import SUMMARY, markdown_text
from diffeval.gate.terminal import flat, status_word
from diffeval.gate.verdict import RuleOutcome, Verdict

# GitHub shows ten annotations of a kind per step, and drops the rest without a word.
MOST = 10


def on_github(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this is a step of a GitHub workflow."""
    return (os.environ if environment is None else environment).get("GITHUB_ACTIONS") == "true"


def annotations(verdict: Verdict) -> list[str]:
    """Workflow commands for what did not pass: at most ten, the worst first, errors before warnings.

    They go to the log of the step, that is, to stdout or stderr.
    """
    if verdict.status == "error" or not verdict.outcomes:
        return [] if verdict.passed else [_command("error", verdict.title, verdict.sentence)]
    standing = [one for one in verdict.outcomes if one.status != "pass"]
    lines = [_annotation(verdict, one) for one in standing[:MOST]]
    if len(standing) > MOST:
        rest = len(standing) - MOST + 1
        lines[-1] = _command("error", verdict.title, f"{rest} more rules do not pass; see the summary")
    return lines


def write_summary(verdict: Verdict, environment: Mapping[str, str] | None = None) -> None:
    """Appends the verdict to the summary of the step, where ``GITHUB_STEP_SUMMARY`` names its file.

    Raises:
        DiffevalError: if the file cannot be written.
    """
    summary = (os.environ if environment is None else environment).get("GITHUB_STEP_SUMMARY")
    if summary:
        held = Path(summary).stat().st_size if Path(summary).exists() else 0
        # The limit is one of the whole file, which earlier lines of the step may have written to.
        _append(Path(summary), markdown_text(verdict, max(2000, SUMMARY - held)))


def write_outputs(verdict: Verdict, exit_code: int, environment: Mapping[str, str] | None = None) -> None:
    """Appends the outputs of the step, where ``GITHUB_OUTPUT`` names their file.

    Args:
        verdict: what the gate says.
        exit_code: what the process ends with.
        environment: by default this process's own.

    Raises:
        DiffevalError: if the file cannot be written.
    """
    output = (os.environ if environment is None else environment).get("GITHUB_OUTPUT")
    if output:
        _append(Path(output), f"verdict={verdict.status}\nexit-code={exit_code}\n")


def error_annotations(verdict: Verdict, errors: Sequence[str]) -> list[str]:
    """Workflow commands for what could not be written."""
    return [_command("error", verdict.title, error) for error in errors]


def harmless(text: str) -> str:
    """Lines of a log in which the runner finds no command: it looks for ``::`` behind blanks, ``##[`` anywhere."""
    return text.replace("::", ":\u200b:").replace("##[", "##\u200b[")


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DiffevalError(f"gate: cannot write {path}: {error.strerror or error}") from error


def _annotation(verdict: Verdict, one: RuleOutcome) -> str:
    kind = "warning" if one.level == "warn" else "error"
    return _command(kind, f"{verdict.title}: {one.name}", f"{status_word(one)}: {one.sentence}")


def _command(kind: str, title: str, message: str) -> str:
    """A workflow command; what could end it, or begin another, is escaped."""
    title, message = (flat(text).replace("%", "%25").replace("##[", "##\u200b[") for text in (title, message))
    title = title.replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{message}"
