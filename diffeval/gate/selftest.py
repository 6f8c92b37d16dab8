"""Whether a gate works before it is believed: a run against itself must pass, and what is planted must be found.

What other seeds would do is planted into the run's own stored values: its errors are known, so that an unlucky A/A
(one in five comes out worse) and a lucky regression of twice the margin (one in five looks better) can be made, and go
the same way through the gate as any run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist

from diffeval.compare.side import title
from diffeval.errors import DiffevalError
from diffeval.gate.calibrate import POWER
from diffeval.gate.calibration import read_calibration
from diffeval.gate.classes import HIGHER_IS_BETTER, SHARES, class_values
from diffeval.gate.config import Baseline, Rule
from diffeval.gate.evidence import PER_CLASS, Evidence
from diffeval.gate.judge import judge
from diffeval.gate.question import Question, Reading
from diffeval.gate.reading import Gate
from diffeval.gate.rules import Against, read_rule
from diffeval.gate.verdict import Status
from diffeval.runs.records import Param, Results, Score

Row = Mapping[str, Param]
# One in five is further off than this many standard errors, to one side.
UNLUCKY = NormalDist().inv_cdf(POWER)
# A value that lies so many standard errors beyond a fixed limit is surely found.
SURELY = 4.0


@dataclass(frozen=True, slots=True)
class Trial:
    """Something planted, and what the gate said.

    Attributes:
        what: was planted.
        wanted: what the gate should say.
        found: what it said.
        sentence: why.
    """

    what: str
    wanted: Status
    found: Status
    sentence: str

    @property
    def works(self) -> bool:
        """Whether the gate said what it should."""
        return self.wanted == self.found


def selftest(gate: Gate, run: Evidence) -> tuple[Trial, ...]:
    """Tries a gate on what a run holds.

    Args:
        gate: that was read; how old its baseline is makes no difference here.
        run: that passes it.

    Raises:
        DiffevalError: if the run lacks what the rules are about, so that nothing can be planted.
    """
    gate = _with(gate, gate.file.rule)
    first = _trial("the run against itself", "pass", gate, run, run)
    if first.found == "no-evidence":
        raise DiffevalError(f"gate: {run.origin} cannot try this gate: {first.sentence}; give runs that hold it all")
    base = _changed(run, _other_seed)
    trials = [first]
    for name, rule in gate.rules:
        if rule.level != "error":
            continue
        if rule.check is not None:
            trials.append(_trial(f"{rule.check} fails", "fail", gate, _failing(run, rule.check), run))
        elif rule.reduce is None:
            trials += _of_score(gate, run, base, name, rule)
        else:
            trials += _of_class(gate, run, base, name, rule)
    return tuple(trials)


def _of_score(gate: Gate, run: Evidence, base: Evidence, name: str, rule: Rule) -> Iterator[Trial]:
    """What is planted into one score; the others stay as they are."""
    score, question = rule.subject, _question(gate, run, base, name)
    error = max(question.found.above, question.found.below)
    if rule.max_regression is not None:
        worse = -1.0 if run.side_with(score).score(score).higher_is_better else 1.0
        alone = _with(gate, (rule,))
        bad = _moved(run, score, worse * UNLUCKY * error)
        yield _trial(f"{score}: no worse, other seeds, unlucky as one in five", "pass", alone, bad, base)
        bad = _moved(run, score, worse * (2 * question.limit - UNLUCKY * error))
        yield _trial(f"{score}: worse by twice its margin, lucky as one in five", "fail", gate, bad, base)
    else:
        beyond = SURELY * error if question.upper else -SURELY * error
        bad = _moved(run, score, question.limit - question.found.value + beyond)
        yield _trial(f"{score}: far beyond its limit", "fail", gate, bad, bad)
    lost = _scores(run, lambda one: None if _is(one, score) else one)
    yield _trial(f"{score}: missing", "no-evidence", gate, lost, run)


def _of_class(gate: Gate, run: Evidence, base: Evidence, name: str, rule: Rule) -> Iterator[Trial]:
    """What is planted into the class that is nearest to its limit; the others stay as they are."""
    column, reading = rule.subject, _reading(gate, run, base, name)
    question = reading.worst
    assert question is not None, "looked at in _reading"
    where = question.where
    said = f"{column} of class {where}"
    if rule.max_regression is not None:
        now = class_values(run.side_by_class(column), column)[where].value
        worse = -1.0 if column in HIGHER_IS_BETTER else 1.0
        error = max(question.found.above, question.found.below)
        # The worst of so many classes is further off than one alone.
        unlucky = NormalDist().inv_cdf(POWER ** (1 / len(reading.questions)))
        bad = _class_set(run, column, where, now + worse * unlucky * error)
        yield _trial(f"{said}: no worse, unlucky as one in five", "pass", _with(gate, (rule,)), bad, base)
        truth = now + worse * 2 * question.limit
        lucky = UNLUCKY * max(error, _share_error(column, truth, question.found.n))
        bad = _class_set(run, column, where, truth - worse * lucky)
        yield _trial(f"{said}: worse by twice its margin, lucky as one in five", "fail", gate, bad, base)
    else:
        error = max(question.found.above, question.found.below)
        beyond = SURELY * max(error, _share_error(column, question.limit, question.found.n))
        bad = _class_set(run, column, where, question.limit + (beyond if question.upper else -beyond))
        yield _trial(f"{said}: far beyond its limit", "fail", gate, bad, bad)
    lost = _classes(run, lambda row: None if str(row["class"]) == where else row)
    yield _trial(f"{said}: the class is missing", "no-evidence", gate, lost, run)


def _share_error(column: str, share: float, n: int) -> float:
    """Standard error of a share; that of other columns does not depend on their value."""
    share = min(1.0, max(0.0, share))
    return sqrt(share * (1 - share) / n) if column in SHARES else 0.0


def _reading(gate: Gate, run: Evidence, base: Evidence, name: str) -> Reading:
    """What a rule asks of the run."""
    named = gate.file.calibration
    calibration = None if named is None else read_calibration(gate.beside(named))
    reading = read_rule(name, dict(gate.rules)[name], run, Against(gate.file.protocol, base, "", calibration))
    if reading.worst is None:
        raise DiffevalError(f"gate: {run.origin} cannot try the rule {name}: {reading.missing}")
    return reading


def _question(gate: Gate, run: Evidence, base: Evidence, name: str) -> Question:
    """The one that decides."""
    worst = _reading(gate, run, base, name).worst
    assert worst is not None, "looked at in _reading"
    return worst


def _trial(what: str, wanted: Status, gate: Gate, run: Evidence, base: Evidence) -> Trial:
    verdict = judge(gate, run, base)
    return Trial(what, wanted, verdict.status, verdict.sentence)


def _with(gate: Gate, rules: tuple[Rule, ...]) -> Gate:
    """The gate with some of its rules, and a baseline of any age."""
    ageless = Baseline(source=None, max_age_days=None)
    return replace(gate, file=gate.file.model_copy(update={"rule": rules, "baseline": ageless}))


def _is(score: Score, name: str) -> bool:
    return name in (score.name, title(score))


def _changed(run: Evidence, change: Callable[[Results], Results]) -> Evidence:
    return replace(run, sides=tuple(replace(side, results=change(side.results)) for side in run.sides))


def _other_seed(results: Results) -> Results:
    """The same results as if another seed had given them: nothing is paired with them."""
    return replace(results, provenance=replace(results.provenance, seed=results.provenance.seed + 1))


def _scores(run: Evidence, change: Callable[[Score], Score | None]) -> Evidence:
    def changed(results: Results) -> Results:
        kept = (change(one) for one in results.scores)
        return replace(results, scores=tuple(one for one in kept if one is not None))

    return _changed(run, changed)


def _moved(run: Evidence, name: str, by: float) -> Evidence:
    """The run with a score moved, and its interval with it."""

    def moved(one: Score) -> Score:
        if not _is(one, name) or one.value is None:
            return one
        interval = None if one.ci95 is None else (one.ci95[0] + by, one.ci95[1] + by)
        return replace(one, value=one.value + by, ci95=interval)

    return _scores(run, moved)


def _class_set(run: Evidence, column: str, where: str, value: float) -> Evidence:
    """The run with another value of one class; a share ends at 0 and 1."""
    value = min(1.0, max(0.0, value)) if column in SHARES else value
    return _classes(run, lambda row: {**row, column: value} if str(row["class"]) == where and column in row else row)


def _classes(run: Evidence, change: Callable[[Row], Row | None]) -> Evidence:
    def changed(results: Results) -> Results:
        kept = (change(row) for row in results.tables.get(PER_CLASS, ()))
        rows = tuple(row for row in kept if row is not None)
        return replace(results, tables={**results.tables, PER_CLASS: rows})

    return _changed(run, changed)


def _failing(run: Evidence, name: str) -> Evidence:
    """The run with a check that failed."""

    def changed(results: Results) -> Results:
        checks = (replace(one, status="fail") if one.name == name else one for one in results.checks)
        return replace(results, checks=tuple(checks))

    return _changed(run, changed)
