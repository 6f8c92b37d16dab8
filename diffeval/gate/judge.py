"""Runs, a baseline and a gate file become a verdict."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from diffeval.compare.protocols import MAKING, differing, named
from diffeval.errors import DiffevalError
from diffeval.gate.baseline import read_baseline
from diffeval.gate.calibration import read_calibration
from diffeval.gate.evidence import Evidence, as_gate, read_runs
from diffeval.gate.reading import Gate, find_gate
from diffeval.gate.rules import Against, read_rule
from diffeval.gate.verdict import Subject, Verdict, outcomes_of, status_of, told
from diffeval.gate.vocabulary import misspelt
from diffeval.runs.words import settings_line

NO_BASELINE = "there is no baseline: give --baseline RUN, or source = in [baseline]"
DAY = 86400.0


def gate(
    runs: Sequence[Path | str] | Path | str,
    *,
    config: Path | str | None = None,
    baseline: Sequence[Path | str] | Path | str = (),
    now: datetime | None = None,
) -> Verdict:
    """Holds runs of one checkpoint against the rules of a gate file.

    Args:
        runs: run directories, read together: scores from one, checks from another.
        config: the gate file, or a pyproject with ``[tool.diffeval.gate]``; by default ``gate.toml`` or the pyproject
            of this folder.
        baseline: run directories, or a file of ``gate promote``; by default what the gate file names.
        now: the moment that the baseline's age is counted to; by default this one.

    Returns:
        The verdict; what is missing is part of it (``no-evidence``).

    Raises:
        DiffevalError: for files that cannot be read, were changed, or do not fit each other.
        NoEvidenceError: for a run that is not finished.
    """
    found = find_gate(None if config is None else Path(config))
    run = read_runs([Path(path) for path in _listed(runs)])
    base = baseline_of(found, [str(path) for path in _listed(baseline)])
    return judge(found, run, base, now=now)


def baseline_of(found: Gate, given: Sequence[str], *, first: Path | None = None) -> Evidence | None:
    """What runs are held against: what is given, or else what the gate file names; None where neither is.

    Args:
        found: the gate file.
        given: runs, or a promoted file.
        first: the baseline that is about to be written; where the gate names that very file, and it is not there,
            there is no baseline yet.

    Raises:
        DiffevalError: if it cannot be read.
    """
    if given:
        return read_baseline(given, Path())
    source, folder = found.file.baseline.source, found.path.parent
    if source is None:
        return None
    if first is not None and not first.exists() and (folder / source).resolve() == first.resolve():
        return None
    return read_baseline([source], folder)


def judge(found: Gate, run: Evidence, baseline: Evidence | None, *, now: datetime | None = None) -> Verdict:
    """The same with what was read."""
    file = found.file
    _refuse_misspelt(found, run, baseline)
    calibration = None if file.calibration is None else read_calibration(found.beside(file.calibration))
    age = None if baseline is None else _days(baseline.made, now or datetime.now(UTC))
    lacking, most = NO_BASELINE, file.baseline.max_age_days
    notes = list(_notes(run, baseline, age))
    held = baseline
    if baseline is not None and most is not None and (age is None or not -1 <= age <= most):
        old = "has no date that can be read" if age is None else f"is {age:.0f} days old"
        old = "is from the future (a clock is wrong)" if age is not None and age < -1 else old
        lacking = f"the baseline {baseline.origin} {old}, max_age_days allows {most:g}; promote a newer run"
        notes.append(lacking)
        held = None
    against = Against(file.protocol, held, lacking, calibration)
    with as_gate():
        outcomes = outcomes_of([read_rule(name, rule, run, against) for name, rule in found.rules])
    status = status_of(outcomes)
    ruled = {one.subject for one in outcomes if one.kind == "check"}
    failing = [one.name for one in run.checks if one.status == "fail" and one.name not in ruled]
    notes += [f"no rule looks at {name}, a health check that fails" for name in failing]
    return Verdict(
        status=status,
        gate=file.name,
        sentence=told(status, outcomes),
        outcomes=outcomes,
        run=_subject(run),
        baseline=None if baseline is None else _subject(baseline),
        notes=tuple(notes),
        config=str(found.path),
        config_sha256=found.sha256,
    )


def _refuse_misspelt(found: Gate, run: Evidence, baseline: Evidence | None) -> None:
    """A name that is nearly one the runs hold is a mistake in the file, and not a score that is missing."""
    both = [run] if baseline is None else [run, baseline]
    scores = {name for one in both for name in one.titles}
    checks = {check.name for one in both for check in one.checks}
    for name, rule in found.rules:
        known = checks if rule.check is not None else scores
        meant = None if rule.reduce else misspelt(rule.subject, known)
        if meant is not None and rule.level == "error":  # of a warning the outcome says it
            kind = "check" if rule.check is not None else "score"
            raise DiffevalError(
                f"gate: {found.path}: rule {name}: there is no {kind} {rule.subject!r}; did you mean {meant!r}?"
            )


def _listed(paths: Sequence[Path | str] | Path | str) -> Sequence[Path | str]:
    return [paths] if isinstance(paths, str | Path) else paths


def _subject(evidence: Evidence) -> Subject:
    lines = tuple(dict.fromkeys(settings_line(side.results) for side in evidence.sides))
    return Subject(evidence.origin, evidence.checkpoint, evidence.sha256, lines, evidence.made)


def _notes(run: Evidence, baseline: Evidence | None, age: float | None) -> list[str]:
    """What a reader should know beside the rules."""
    notes = [warning for side in run.sides for warning in side.results.warnings]
    notes += _made_otherwise(run)
    if baseline is None:
        return notes
    if baseline.promotion is not None:
        said = baseline.promotion
        reason = f", although it did not pass ({said.status or 'no gate'}): {said.reason}" if said.reason else ""
        notes.append(f"the baseline was promoted {said.at[:10]}{reason}")
    if age is not None and age < -1:
        notes.append("the baseline was made in the future: a clock is wrong")
    if _same(run, baseline):
        notes.append("the run is held against itself: nothing but fixed limits and checks can fail")
    return notes


def _made_otherwise(run: Evidence) -> Iterator[str]:
    """Checks that looked at the model as it is sampled otherwise than where it was scored."""
    scored = next((side for side in run.sides if side.results.scores), None)
    for side in run.sides:
        if scored is None or not side.results.checks or not side.sampled or not scored.sampled:
            continue
        keys = differing(scored.results.protocol, side.results.protocol)
        apart = {key: both for key, both in keys.items() if key in MAKING}
        if apart:
            yield f"{scored.name} was scored, and {side.name} checked, with other settings: {named(apart)}"


def _same(run: Evidence, baseline: Evidence) -> bool:
    def of(evidence: Evidence) -> set[tuple[str, int, int, str]]:
        return {
            (one.sha256, one.seed, one.results.provenance.n, one.results.provenance.started)
            for one in evidence.sides
            if one.results.scores
        }

    return set() < of(run) <= of(baseline)


def _days(made: str, now: datetime) -> float | None:
    """Days between two moments; None for a date that is none."""
    with contextlib.suppress(ValueError, TypeError):
        return (now - datetime.fromisoformat(made)).total_seconds() / DAY
    return None
