"""Reads what a page is about, and lets a gate judge each checkpoint on it."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from diffeval.errors import DiffevalError, ExitCode, NoEvidenceError
from diffeval.gate.baseline import read_baseline
from diffeval.gate.evidence import Evidence, of_one_checkpoint
from diffeval.gate.judge import baseline_of, judge
from diffeval.gate.reading import Gate, find_gate
from diffeval.gate.verdict import Verdict, failed_to_read
from diffeval.report.story import Judged, Story, Told, read_both


def read_story(paths: Sequence[Path], *, gate: Path | None, baseline: Sequence[Path | str]) -> Story:
    """Reads runs, what they are held against, and judges them.

    Raises:
        DiffevalError: if a run cannot be read, or the gate file or the baseline cannot.
    """
    found = None if gate is None else find_gate(gate)
    given = tuple(map(str, baseline))
    held = _baseline(found, given)
    folders = [] if held is None else [Path(side.name) for side in held.sides if Path(side.name).is_dir()]
    runs, others = read_both(paths, folders)
    return Story(
        runs=runs,
        baseline=held,
        baseline_runs=others,
        verdicts=() if found is None else tuple(_verdicts(found, Story(runs), held, _now())),
        gate=gate,
        may_differ=() if found is None else tuple(found.file.protocol.may_differ),
        given=given,
    )


def _baseline(found: Gate | None, given: Sequence[str]) -> Evidence | None:
    if found is not None:
        return baseline_of(found, given)
    return read_baseline(given, Path()) if given else None


def _verdicts(found: Gate, story: Story, held: Evidence | None, now: datetime) -> Iterator[Judged]:
    """Of each checkpoint on the page but the baseline itself."""
    against = set() if held is None else {Path(side.name).resolve() for side in held.sides}
    for runs in story.checkpoints.values():
        for judged in _together(runs):
            if not {one.run.path.resolve() for one in judged} <= against:
                yield Judged(judged, _verdict(found, judged, held, now))


def _together(runs: Sequence[Told]) -> Iterator[tuple[Told, ...]]:
    """Runs of one checkpoint that are judged together: scores of one evaluation, and all checks.

    Evaluations that hold the same score, of other settings or another seed, are judged one by one: a gate does not
    choose among them.
    """
    held = [one for one in runs if one.results is not None and not one.is_sweep and one.task != "train"]
    scored = [one for one in held if one.is_evaluation]
    titles = [name for one in scored for name in one.titles]
    if len(titles) == len(set(titles)):
        if held:
            yield tuple(held)
        return
    for one in scored:
        yield (one, *(other for other in held if other not in scored))


def _verdict(found: Gate, runs: Sequence[Told], held: Evidence | None, now: datetime) -> Verdict:
    """What the gate says; where something cannot be read, was changed, or is not finished, that is the verdict."""
    origin = " + ".join(str(one.run.path) for one in runs)
    try:
        for one in runs:
            if one.changed:
                raise DiffevalError(f"gate: {one.changed}")
            if one.state.status != "done":
                raise NoEvidenceError(
                    f"gate: {one.run.path} is not finished, it is {one.state.status}; run its command again"
                )
        return judge(found, of_one_checkpoint([one.side for one in runs if one.side], origin), held, now=now)
    except DiffevalError as error:
        missing = error.exit_code == ExitCode.NO_EVIDENCE
        return failed_to_read(str(error), "no-evidence" if missing else "error", str(found.path))


def _now() -> datetime:
    """This moment, or the one that a reproducible build names: a baseline's age is counted to it."""
    named = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not named:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(named), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise DiffevalError(
            f"report: SOURCE_DATE_EPOCH needs seconds since 1970, got {named[:40]!r}; unset it, or give such"
        ) from error
