"""A rule against the evidence: which numbers it is about, of which runs, and whether these may be held together."""

from dataclasses import dataclass, replace

from diffeval.compare.difference import Difference, FewerImagesError, difference_of
from diffeval.compare.protocols import MAKING, SOURCE, Keys, allowed, differing, named
from diffeval.compare.side import Side
from diffeval.compare.uncertain import Uncertain, stored
from diffeval.errors import NoEvidenceError
from diffeval.gate.calibration import Calibration
from diffeval.gate.classes import class_regressions, class_values, require_classes
from diffeval.gate.config import Margin, Required, Rule
from diffeval.gate.evidence import Evidence
from diffeval.gate.question import ALPHA, Kind, Question, Reading
from diffeval.runs.records import Score


@dataclass(frozen=True, slots=True, eq=False)
class Against:
    """What rules are held against beside their own limits.

    Attributes:
        required: of the protocol.
        baseline: None where there is none.
        lacking: why there is none.
        calibration: of margins in sigmas; None without.
    """

    required: Required
    baseline: Evidence | None
    lacking: str
    calibration: Calibration | None


def read_rule(name: str, rule: Rule, run: Evidence, against: Against) -> Reading:
    """What a rule finds in the evidence.

    Raises:
        DiffevalError: if runs contradict each other; what is merely missing is part of the reading.
    """
    if rule.check is not None:
        return _read_check(name, rule, run, against)
    low, high = rule.limits
    kind: Kind = "regression" if rule.max_regression else "window" if None not in (low, high) else "max"
    reading = Reading(rule, name, "min" if kind == "max" and high is None else kind)
    try:
        side = run.side_by_class(rule.subject) if rule.reduce else run.side_with(rule.subject)
        score = None if rule.reduce else side.score(rule.subject)
        _require(side, score, against.required)
        _require_alike(side, score, rule, against)
        if rule.max_regression is not None:
            return _read_regression(reading, side, rule.max_regression, against)
        return _read_limits(reading, side, score, against)
    except FewerImagesError as error:
        return replace(reading, missing=str(error).removeprefix("compare: "), short_of=error.needed)
    except NoEvidenceError as error:
        return replace(reading, missing=str(error).removeprefix("compare: "))


def _read_check(name: str, rule: Rule, run: Evidence, against: Against) -> Reading:
    reading = Reading(rule, name, "check")
    checked = run.checked(rule.subject)
    if checked is None:
        said = f"the check was not made of {run.origin}; give its diffeval check run, too"
        return replace(reading, missing=said)
    found, side = checked
    try:
        _require_making(side, against.required)
        _require_checked_alike(side, rule.subject, against)
    except NoEvidenceError as error:
        return replace(reading, missing=str(error))
    if found.status == "not-applicable" and not rule.allow_not_applicable:
        said = f"does not apply: {found.summary}; say allow_not_applicable = true where that is right"
        return replace(reading, missing=said)
    return replace(reading, check=(found.status, found.summary))


def _require(side: Side, score: Score | None, required: Required) -> None:
    """Refuses a score that was not measured as the gate file wants."""
    n = side.results.provenance.n if score is None else score.n
    if required.n_min is not None and n < required.n_min:
        raise FewerImagesError(f"stands on {n} images, [protocol] requires {required.n_min}", required.n_min)
    _require_making(side, required)
    for key, wanted in required.settings.items():
        if key in MAKING:
            continue
        held = getattr(side.results.protocol, key)
        named_alike = key in ("extractor", "judge") and str(held).split("/")[0] == wanted
        if held != wanted and not named_alike:
            raise NoEvidenceError(f"was measured with {key} {held}, [protocol] requires {wanted}")


def _require_making(side: Side, required: Required) -> None:
    """Refuses a run whose images came about otherwise than the gate file wants."""
    if SOURCE in required.may_differ and not side.sampled:  # of ready-made images none of it is known
        return
    for key, wanted in required.settings.items():
        held = getattr(side.results.protocol, key)
        if key not in MAKING or held == wanted:
            continue
        if not side.sampled:
            raise NoEvidenceError(
                f"is of ready-made images, [protocol] requires {key} {wanted}; sample them here, or allow it: "
                f'may_differ = ["{SOURCE}"]'
            )
        raise NoEvidenceError(f"was measured with {key} {held}, [protocol] requires {wanted}")


def _require_checked_alike(side: Side, name: str, against: Against) -> None:
    """Refuses a check of images that came about otherwise than the baseline's: it is a check of something else."""
    if against.baseline is None:
        return
    held = against.baseline.checked(name)
    other = held[1] if held is not None else against.baseline.sides[0]
    protocols = side.results.protocol, other.results.protocol
    keys = {key: both for key, both in differing(*protocols).items() if key in MAKING}
    source = side.sampled is not other.sampled
    if held is None and not source:  # a run of scores says nothing of how a check is made
        return
    wrong = allowed(keys, *protocols, against.required.may_differ)
    if wrong:
        raise NoEvidenceError(_apart(wrong, source))


def _require_alike(side: Side, score: Score | None, rule: Rule, against: Against) -> None:
    """Refuses a score of another protocol than the baseline's: its limits were set for that one."""
    if against.baseline is None:
        return
    try:
        other = (
            against.baseline.side_by_class(rule.subject) if rule.reduce else against.baseline.side_with(rule.subject)
        )
    except NoEvidenceError:
        if rule.max_regression is not None:
            raise
        return
    protocols = side.results.protocol, other.results.protocol
    wrong = allowed(differing(*protocols, score), *protocols, against.required.may_differ)
    if wrong:
        raise NoEvidenceError(_apart(wrong, (protocols[0].sampler is None) is not (protocols[1].sampler is None)))


def _apart(wrong: Keys, source: bool) -> str:
    """Which settings differ, and which may be allowed to."""
    rest = {key: both for key, both in wrong.items() if key not in MAKING}
    if source and len(rest) < len(wrong):
        apart = "source (one is ready-made images, the other was sampled)" + (f", {named(rest)}" if rest else "")
        keys = [SOURCE]
    else:
        apart = named(wrong)
        keys = [key for key in wrong if key != "sampler_config" or "sampler" not in wrong]
    listed = ", ".join(f'"{key}"' for key in keys)
    hint = "" if rest else f", or allow it: may_differ = [{listed}]"
    return f"run and baseline differ in {apart}; measure both alike{hint}"


def _read_limits(reading: Reading, side: Side, score: Score | None, against: Against) -> Reading:
    """A score, or each class, against fixed limits."""
    low, high = reading.rule.limits
    if score is None:
        require_classes(side, _table_of(against.baseline, reading.rule.subject))
        values = class_values(side, reading.rule.subject)
    else:
        found = stored(score)
        if found is None:
            raise NoEvidenceError(f"{reading.rule.subject} has no standard error, so that no bound is known")
        values = {"": found}
    questions = [
        Question(found, limit, upper, where)
        for where, found in values.items()
        for limit, upper in ((low, False), (high, True))
        if limit is not None
    ]
    return _about_worst(replace(reading, questions=tuple(questions)), score)


def _table_of(baseline: Evidence | None, column: str) -> Side | None:
    """The baseline's run with a table of classes; None where there is none."""
    try:
        return None if baseline is None else baseline.side_by_class(column)
    except NoEvidenceError:
        return None


def _read_regression(reading: Reading, side: Side, margin: Margin, against: Against) -> Reading:
    """A score, or each class, against the baseline."""
    if against.baseline is None:
        raise NoEvidenceError(against.lacking)
    name, free = reading.rule.subject, against.required.may_differ
    if margin.sigmas is not None:
        _require_calibrated(side, name, against)
    if reading.rule.reduce:
        other = against.baseline.side_by_class(name)
        changes = class_regressions(side, other, name)
        questions = [
            _question(change.found, change.parts, change.lower_is_better, margin, name, against, where)
            for where, change in changes.items()
        ]
        worst = _about_worst(replace(reading, questions=tuple(questions), how="by class, independent"), None)
        assert worst.worst is not None, "there are classes"
        both = changes[worst.worst.where].parts
        return replace(worst, value=both[0].value, baseline=both[1].value)
    found = difference_of(side, against.baseline.side_with(name), name, may_differ=free)
    if margin.sigmas is not None:
        _require_same_n(found, name, against)
    parts = None if margin.rel is None else _parts(side, against.baseline.side_with(name), found)
    question = _question(found.regression, parts, not found.higher_is_better, margin, name, against)
    n = min(found.counts)
    ours, theirs = found.values
    return replace(reading, questions=(question,), value=ours, baseline=theirs, n=n, how=found.how)


def _require_calibrated(side: Side, name: str, against: Against) -> None:
    """Refuses noise that was measured under another protocol: its sigma is that of another number."""
    assert against.calibration is not None, "the gate file needs one"
    protocols = side.results.protocol, against.calibration.protocol
    wrong = allowed(differing(*protocols, side.score(name)), *protocols, against.required.may_differ)
    if wrong:
        raise NoEvidenceError(f"run and calibration differ in {named(wrong)}; calibrate with runs of this protocol")


def _require_same_n(found: Difference, name: str, against: Against) -> None:
    """Refuses noise that was measured at another number of images: it falls with them."""
    assert against.calibration is not None, "the gate file needs one"
    noise = against.calibration.noises.get(name)
    if noise is not None and noise.n != found.counts[0]:
        raise NoEvidenceError(
            f"the calibration is of n={noise.n}, the run of n={found.counts[0]}, whose sigma is another; measure "
            f"n={noise.n}, or calibrate with runs of n={found.counts[0]}"
        )


def _parts(side: Side, other: Side, found: Difference) -> tuple[Uncertain, Uncertain]:
    """Both values with their own errors, which a relative margin needs."""
    ours, theirs = (
        stored(one.score(found.score, count)) for one, count in zip((side, other), found.counts, strict=True)
    )
    if ours is None or theirs is None:
        lacking = side.name if ours is None else other.name
        raise NoEvidenceError(
            f"{lacking} has no error of {found.score}, which a relative margin needs; give max_regression = "
            "{ abs = ... }"
        )
    return ours, theirs


def _question(
    change: Uncertain,
    parts: tuple[Uncertain, Uncertain] | None,
    lower_is_better: bool,
    margin: Margin,
    name: str,
    against: Against,
    where: str = "",
) -> Question:
    """Whether a regression lies within a margin."""
    if margin.abs is not None:
        return Question(change, margin.abs, where=where, expected=0.0)
    if margin.sigmas is not None:
        assert against.calibration is not None, "the gate file needs one"
        return Question(change, margin.sigmas * against.calibration.sd(name), where=where, expected=0.0)
    assert margin.rel is not None, "one of three is given"
    assert parts is not None, "a relative margin has asked for them"
    return _relative(change, parts, lower_is_better, margin.rel, where)


def _relative(
    change: Uncertain, parts: tuple[Uncertain, Uncertain], lower_is_better: bool, share: float, where: str
) -> Question:
    """A margin that is a share of the baseline's value is itself uncertain: its error joins that of the change.

    What is asked is whether c - (1 + r) b < 0, or (1 - r) b - c < 0 where higher is better, for the run's c and the
    baseline's b. With a = 1 + r, or 1 - r, its variance is a V(c - b) + (1 - a) V(c) + (a^2 - a) V(b).
    """
    ours, theirs = parts
    if theirs.value <= 0 or theirs.bound(1 - ALPHA, upper=False) <= 0:
        raise NoEvidenceError(
            f"the baseline's value is not told from 0, so that {share:.3g} of it is no margin; give max_regression = "
            "{ abs = ... }"
        )
    a = 1 + share if lower_is_better else 1 - share
    variance = a * change.std_error**2 + (1 - a) * ours.std_error**2 + (a * a - a) * theirs.std_error**2
    wider = change.widened(max(0.0, variance - change.std_error**2))
    return Question(wider, share * theirs.value, where=where, expected=0.0)


def _about_worst(reading: Reading, score: Score | None) -> Reading:
    """The reading with the value that decides."""
    worst = reading.worst
    assert worst is not None, "a rule with a limit asks something"
    return replace(reading, value=worst.found.value if score is None else score.value, n=worst.found.n)
