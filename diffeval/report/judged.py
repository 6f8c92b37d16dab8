"""Reads what a page is about, and lets a gate judge each checkpoint on it."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from diffeval.compare.side import read_side
from diffeval.errors import DiffevalError, ExitCode
from diffeval.gate.evidence import Evidence, of_one_checkpoint
from diffeval.gate.judge import baseline_of, judge
from diffeval.gate.reading import Gate, find_gate
from diffeval.gate.verdict import Verdict, failed_to_read
from diffeval.report.story import Story, Told, read_told


def read_story(paths: Sequence[Path], *, gate: Path | None, baseline: Sequence[Path | str]) -> Story:
    """Reads runs, what they are held against, and judges them.

    Raises:
        DiffevalError: if a run cannot be read, or the gate file or the baseline cannot.
    """
    runs = read_told(paths)
    found = None if gate is None else find_gate(gate)
    given = [str(one) for one in baseline]
    held = _baseline(found, given)
    folders = [] if held is None else [Path(side.name) for side in held.sides if Path(side.name).is_dir()]
    others = read_told(folders, len(runs)) if folders else ()
    verdicts: tuple[tuple[str, Verdict], ...] = ()
    if found is not None:
        verdicts = _verdicts(found, Story(runs), held)
    return Story(runs, held, others, verdicts, gate)


def _baseline(found: Gate | None, given: Sequence[str]) -> Evidence | None:
    if found is not None:
        return baseline_of(found, given)
    if not given:
        return None
    from diffeval.gate.baseline import read_baseline

    return read_baseline(given, Path())


def _verdicts(found: Gate, story: Story, held: Evidence | None) -> tuple[tuple[str, Verdict], ...]:
    """Of each checkpoint on the page but the baseline itself."""
    verdicts = []
    against = set() if held is None else {Path(side.name).resolve() for side in held.sides}
    for runs in story.checkpoints.values():
        judged = [one for one in runs if one.side is not None]
        if judged and not {one.run.path.resolve() for one in judged} <= against:
            verdicts.append((judged[0].subject, _verdict(found, judged, held)))
    return tuple(verdicts)


def _verdict(found: Gate, runs: Sequence[Told], held: Evidence | None) -> Verdict:
    """What the gate says; where something cannot be read, that is the verdict."""
    try:
        sides = [read_side(one.run.path) for one in runs]
        evidence = of_one_checkpoint(sides, " + ".join(str(one.run.path) for one in runs))
        return judge(found, evidence, held, now=_now())
    except DiffevalError as error:
        missing = error.exit_code == ExitCode.NO_EVIDENCE
        return failed_to_read(str(error), "no-evidence" if missing else "error", str(found.path))


def _now() -> datetime:
    """This moment, or the one that a reproducible build names: a baseline's age is counted to it."""
    named = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(named), UTC) if named.isdecimal() else datetime.now(UTC)
