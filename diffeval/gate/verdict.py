"""The verdict of a gate: one record that terminal, JSON, JUnit, Markdown and exit code are made of.

The gate passes where every error rule passes: an intersection-union test, which needs no correction. It fails where
some error rule is beyond its margin after Holm's correction over all error rules about scores; one without evidence
counts among them, as a rule that proves nothing, so that mending it cannot undo the failure. A check that failed is
proof by itself (p = 0); one that did not has no p-value that chance could make small, so that it is not counted: a
dozen healthy checks must not make a regression harder to prove.

Too few images are no missing evidence: more of them settle it, and the rule says how many. Where several things are
true at once, the order is: fail, no evidence, inconclusive. A proven failure stands whatever
is measured later, so that nobody should spend a GPU on the rest first; missing evidence must be brought before more
images are of use. None of the three is ever a pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from diffeval.errors import ExitCode
from diffeval.gate.config import Level
from diffeval.gate.question import ALPHA, Kind, Reading
from diffeval.gate.words import rounded, sentence
from diffeval.metrics.multiplicity import holm
from diffeval.runs.document import plain

SCHEMA = "diffeval.gate/1"

Status = Literal["pass", "fail", "inconclusive", "no-evidence", "error"]
EXIT = {
    "pass": ExitCode.DONE,
    "fail": ExitCode.FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
    "no-evidence": ExitCode.NO_EVIDENCE,
    "error": ExitCode.USAGE,
}
# Worst first; the same order in which one decides over the other.
ORDER: tuple[Status, ...] = ("error", "fail", "no-evidence", "inconclusive", "pass")


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What became of one rule.

    Attributes:
        name: of the rule.
        subject: the score or check that it is about.
        kind: of limit.
        level: whether it decides.
        status: how it ended.
        sentence: the same in one sentence, with the numbers.
        why: what the gate file says of the limit.
        value: of the score.
        baseline: its value in the baseline, where the rule is about that.
        change: by how much the run is worse, where the rule is about that.
        bound: one-sided 95% bound towards the limit, of the value or the change.
        other_bound: the one away from the limit: between both lies what the run may be.
        limit: that the bound is held against.
        other_limit: of a window, its other end.
        p: one-sided, of being beyond the limit, corrected for the classes or ends that the rule looks at.
        p_holm: the same corrected for all error rules about scores; None for warnings and checks.
        needed: about how many images would settle it; None where it is settled, or no number is known to.
        n: images that it stands on.
        how: how a difference was taken.
        where: the class that decides.
    """

    name: str
    subject: str
    kind: Kind
    level: Level
    status: Status
    sentence: str
    why: str = ""
    value: float | None = None
    baseline: float | None = None
    change: float | None = None
    bound: float | None = None
    other_bound: float | None = None
    limit: float | None = None
    other_limit: float | None = None
    p: float | None = None
    p_holm: float | None = None
    needed: int | None = None
    n: int | None = None
    how: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What was held against what, in words.

    Attributes:
        origin: where it lies.
        checkpoint: as the user named it.
        sha256: of the checkpoint.
        settings: n, w, sampler, steps and so on; one line for each run.
        made: when, UTC.
    """

    origin: str
    checkpoint: str
    sha256: str
    settings: tuple[str, ...]
    made: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says.

    Attributes:
        status: the verdict.
        gate: its name.
        sentence: what decided.
        outcomes: of every rule that was looked at, the worst first.
        run: what was judged; None where it could not be read.
        baseline: what it was held against; None without.
        notes: what else a reader should know.
        config: the gate file.
        config_sha256: of the gate file.
    """

    status: Status
    gate: str
    sentence: str
    outcomes: tuple[RuleOutcome, ...] = ()
    run: Subject | None = None
    baseline: Subject | None = None
    notes: tuple[str, ...] = ()
    config: str = ""
    config_sha256: str = ""

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        return int(EXIT[self.status])

    @property
    def title(self) -> str:
        """The gate, as outputs call it."""
        return "gate" if self.gate == "gate" else f"gate {self.gate}"

    @property
    def passed(self) -> bool:
        """Whether it may ship."""
        return self.status == "pass"

    def count(self, status: Status, level: Level = "error") -> int:
        """Rules of a level that ended so."""
        return sum(one.status == status and one.level == level for one in self.outcomes)

    def document(self) -> dict[str, Any]:
        """The one document that ``--json`` prints, as plain data."""
        fields = plain(self)
        rules = fields.pop("outcomes")
        return {
            "schema": SCHEMA,
            "status": fields.pop("status"),
            "exit_code": self.exit_code,
            **fields,
            "rules": rules,
        }


def failed_to_read(message: str, status: Status, config: str) -> Verdict:
    """The verdict where something could not be read: nothing was judged, and nothing passes."""
    return Verdict(status, "gate", message, config=config)


def outcomes_of(readings: Sequence[Reading]) -> tuple[RuleOutcome, ...]:
    """Rules beside each other: corrected for their number, the worst first."""
    deciding = [one for one in readings if one.rule.level == "error" and one.rule.check is None]
    corrected = holm(np.array([one.p for one in deciding])) if deciding else ()
    together = {one.name: float(p) for one, p in zip(deciding, corrected, strict=True)}
    found = [_outcome(one, together.get(one.name), len(deciding)) for one in readings]
    return tuple(sorted(found, key=lambda one: (one.level != "error", ORDER.index(one.status))))


def status_of(outcomes: Sequence[RuleOutcome]) -> Status:
    """What decides: the worst of the error rules."""
    return min((one.status for one in outcomes if one.level == "error"), key=ORDER.index)


def told(status: Status, outcomes: Sequence[RuleOutcome]) -> str:
    """The verdict in one sentence."""
    deciding = [one for one in outcomes if one.level == "error"]
    if status == "pass":
        warned = sum(one.status != "pass" for one in outcomes if one.level == "warn")
        behind = f"; {warned} of {len(outcomes) - len(deciding)} warnings stand" if warned else ""
        return f"every rule passes ({len(deciding)}){behind}"
    alike = [one for one in deciding if one.status == status]
    begun = {"fail": "fail", "no-evidence": "have no evidence", "inconclusive": "cannot be told"}[status]
    named = ", ".join(one.name for one in alike[:3]) + (f" and {len(alike) - 3} more" if len(alike) > 3 else "")
    counts = [one.needed for one in alike]
    needed = f"; about n = {rounded(max(filter(None, counts)))} would settle " if any(counts) else ""
    which = "" if not needed else "it" if None not in counts else "what can be settled"
    return f"{len(alike)} of {len(deciding)} rules {begun}: {named}{needed}{which}"


def _outcome(reading: Reading, p_holm: float | None, rules: int) -> RuleOutcome:
    worst, status = reading.worst, _status(reading, p_holm)
    needed = reading.needed(rules) if status == "inconclusive" else None
    base = RuleOutcome(
        reading.name,
        reading.rule.subject,
        reading.kind,
        reading.rule.level,
        status,
        sentence(reading, status, needed),
        reading.rule.why,
        n=reading.n,
    )
    if reading.missing:
        return replace(base, needed=reading.short_of)
    base = replace(base, p=reading.p, p_holm=p_holm)
    if worst is None:
        return base
    return replace(
        base,
        value=reading.value,
        baseline=reading.baseline,
        change=worst.found.value if reading.kind == "regression" else None,
        bound=worst.bound,
        other_bound=worst.other_bound,
        limit=worst.limit,
        other_limit=_other_end(reading, worst.limit),
        needed=needed,
        how=reading.how,
        where=worst.where,
    )


def _other_end(reading: Reading, limit: float) -> float | None:
    """The end of a window that does not decide; None of other rules."""
    low, high = reading.rule.limits
    return None if reading.kind != "window" else low if limit == high else high


def _status(reading: Reading, p_holm: float | None) -> Status:
    if reading.missing:
        return "no-evidence" if reading.short_of is None else "inconclusive"
    if reading.holds:
        return "pass"
    return "fail" if (reading.p if p_holm is None else p_holm) < ALPHA else "inconclusive"
