"""What is wrong with a gate file before any run fails by it: limits that cannot hold, and margins inside the noise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from diffeval.compare.difference import difference_of
from diffeval.compare.side import Side
from diffeval.compare.uncertain import Uncertain, stored
from diffeval.errors import DiffevalError, NoEvidenceError
from diffeval.gate.calibrate import PASSING, POWER, apart, propose, rates, rounded_up
from diffeval.gate.calibration import Calibration, Noise, read_calibration
from diffeval.gate.classes import class_values
from diffeval.gate.config import Margin, Rule
from diffeval.gate.evidence import PER_CLASS, Evidence
from diffeval.gate.question import ALPHA
from diffeval.gate.reading import Gate
from diffeval.gate.vocabulary import unknown_check, unknown_score
from diffeval.gate.words import rounded
from diffeval.runs.records import Param
from diffeval.runs.words import number

# Where scores end; a limit beyond says nothing, or can never hold.
RANGES: dict[str, tuple[float, float]] = {
    "fid": (0.0, float("inf")),
    "inception_score": (1.0, float("inf")),
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "density": (0.0, float("inf")),
    "coverage": (0.0, 1.0),
    "class_accuracy": (0.0, 1.0),
    "mode_coverage": (0.0, 1.0),
    "missing_mass": (0.0, 1.0),
    "r_precision": (0.0, 1.0),
    "unscored_images": (0.0, 1.0),
    "saturated_pixels": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with a rule.

    Attributes:
        level: an error makes the rule worthless, a warning may be meant.
        rule: its name.
        text: what is wrong, and what to do.
    """

    level: Literal["error", "warn"]
    rule: str
    text: str


def lint(gate: Gate, run: Evidence | None = None, baseline: Evidence | None = None) -> tuple[Flaw, ...]:
    """What is wrong with a gate file.

    Args:
        gate: that was read; what it may not say at all was refused then.
        run: whose noise margins are held against; without one only limits are looked at.
        baseline: with which the run is paired; without one it is taken for one of other seeds.

    Raises:
        DiffevalError: if the calibration that the file names cannot be read.
    """
    named = gate.file.calibration
    calibration = None if named is None else read_calibration(gate.beside(named))
    flaws = []
    for name, rule in gate.rules:
        if rule.check is not None:
            said = unknown_check(rule.check, run)
            flaws += [Flaw("error", name, said)] if said else []
            continue
        said = unknown_score(rule.subject, run, by_class=rule.reduce is not None)
        if said:
            flaws.append(Flaw("error", name, said))
            continue
        flaws += _limits(name, rule)
        flaws += _sigmas(name, rule, run, calibration)
        flaws += _noise(name, rule, run, baseline, calibration)
        flaws += _noise_of_classes(name, rule, run)
    return (*flaws, *_baseline(gate, baseline))


def _limits(name: str, rule: Rule) -> Iterator[Flaw]:
    """Limits beyond where a score ends."""
    low, high = rule.limits
    least, most = RANGES.get(rule.subject.split(" (")[0], (float("-inf"), float("inf")))
    if high is not None and high < least:
        yield Flaw("error", name, f"{rule.subject} is never below {least:g}: at most {high:g} cannot hold")
    if low is not None and low > most:
        yield Flaw("error", name, f"{rule.subject} is never above {most:g}: at least {low:g} cannot hold")
    if high is not None and high >= most:
        yield Flaw("warn", name, f"{rule.subject} is never above {most:g}: at most {high:g} always holds")
    if low is not None and low <= least:
        yield Flaw("warn", name, f"{rule.subject} is never below {least:g}: at least {low:g} always holds")
    margin = rule.max_regression
    if margin is not None and margin.abs is not None and margin.abs >= most - least:
        yield Flaw("warn", name, f"{rule.subject} cannot get worse by {margin.abs:g}: the rule always holds")
    if margin is not None and margin.abs == 0:
        yield Flaw("error", name, "a margin of 0 cannot be proven: not even a model that is no worse passes")


def _sigmas(name: str, rule: Rule, run: Evidence | None, calibration: Calibration | None) -> Iterator[Flaw]:
    """Margins in the noise of a score that was not calibrated, or with another number of images."""
    if rule.max_regression is None or rule.max_regression.sigmas is None:
        return
    assert calibration is not None, "the gate file needs one"
    try:
        calibration.sd(rule.subject)
    except DiffevalError as error:
        yield Flaw("error", name, str(error))
        return
    if run is None or not any(side.counts(rule.subject) for side in run.sides):
        return
    n, counted = run.side_with(rule.subject).score(rule.subject).n, calibration.noises[rule.subject].n
    if n != counted:
        said = f"the calibration is of n={counted}, the run of n={n}: no evidence; calibrate with runs of n={n}"
        yield Flaw("error", name, said)


def _noise(
    name: str, rule: Rule, run: Evidence | None, baseline: Evidence | None, calibration: Calibration | None
) -> Iterator[Flaw]:
    """A margin, or a window, that the noise of the run does not afford."""
    if run is None or rule.reduce or not any(side.counts(rule.subject) for side in run.sides):
        return
    found = stored(run.side_with(rule.subject).score(rule.subject))
    if found is None:
        yield Flaw("error", name, f"{rule.subject} has no standard error: no rule about it can pass")
        return
    low, high = rule.limits
    if low is not None and high is not None:
        width = found.bound(upper=True) - found.bound(upper=False)
        if width >= high - low:
            wanted = found.falling_to(((high - low) / (2 * width)) ** 2)
            advice = "widen it: more images do not help" if wanted is None else f"use about n = {rounded(wanted)}"
            yield Flaw(
                "error",
                name,
                f"the window is {number(high - low)} wide, and at n={found.n} the bounds of the value are "
                f"{number(width)} apart: it cannot pass; {advice}",
            )
        return
    margin = None if rule.max_regression is None else _margin(rule.max_regression, found, rule.subject, calibration)
    if not margin:
        return
    error, how, apart_by = _error(rule.subject, found, run, baseline)
    said = rates(rule.subject, margin, error)
    if said.passes >= POWER:
        return
    least = propose(Noise(rule.subject, found.value, None, error / apart(1.0), found.n, 1)).margin
    wanted = apart_by.falling_to((margin / least) ** 2)
    images = " (more images do not help)" if wanted is None else f", or about n = {rounded(wanted)}"
    yield Flaw(
        "error",
        name,
        f"the margin {number(margin)} is inside the noise: at n={found.n}, {how}, a model that is no worse passes "
        f"{said.passes:.0%} of the time; {PASSING:.0%} takes a margin of {_two(least)}{images}",
    )


def _noise_of_classes(name: str, rule: Rule, run: Evidence | None) -> Iterator[Flaw]:
    """A limit that not every class of the run affords: all must hold, so that chances multiply."""
    held = [] if run is None else [side for side in run.sides if side.results.tables.get(PER_CLASS)]
    if run is None or not rule.reduce or not any(rule.subject in row for side in held for row in _rows(side)):
        return
    try:
        values = class_values(run.side_by_class(rule.subject), rule.subject)
    except NoEvidenceError as missing:
        yield Flaw("error", name, str(missing))
        return
    margin, (low, high) = rule.max_regression, rule.limits
    passing, least = 1.0, {}
    for where, found in values.items():
        error = max(found.below, found.above)
        if margin is not None:
            room, error = margin.abs if margin.abs is not None else (margin.rel or 0) * abs(found.value), apart(error)
        else:
            room = min(limit for limit in (_room(found, low, -1.0), _room(found, high, 1.0)) if limit is not None)
        passing *= rates(rule.subject, room, error).passes
        share = 1 - (1 - PASSING) / len(values)
        least[where] = (NormalDist().inv_cdf(share) + NormalDist().inv_cdf(1 - ALPHA)) * error
    if passing >= POWER:
        return
    worst = max(least, key=lambda where: least[where])
    if margin is not None:
        yield Flaw(
            "error",
            name,
            f"the margin is inside the noise of {len(values)} classes: with other seeds, a model that is no worse "
            f"passes {passing:.0%} of the time; {PASSING:.0%} takes a margin of {_two(least[worst])} (class {worst})",
        )
    else:
        said = f"a model like this run passes {passing:.0%} of the time: all of {len(values)} classes must hold"
        yield Flaw("warn", name, f"{said}; leave {_two(least[worst])} between the limit and what class {worst} reads")


def _rows(side: Side) -> Sequence[Mapping[str, Param]]:
    return side.results.tables.get(PER_CLASS, ())


def _room(found: Uncertain, limit: float | None, sign: float) -> float | None:
    """How far inside a limit a value lies."""
    return None if limit is None else sign * (limit - found.value)


def _margin(margin: Margin, found: Uncertain, score: str, calibration: Calibration | None) -> float | None:
    if margin.abs is not None:
        return margin.abs
    if margin.rel is not None:
        return margin.rel * abs(found.value)
    known = calibration is not None and score in calibration.noises
    return margin.sigmas * calibration.sd(score) if known and calibration and margin.sigmas else None


def _error(score: str, found: Uncertain, run: Evidence, baseline: Evidence | None) -> tuple[float, str, Uncertain]:
    """Standard error of a difference, of this run from the baseline or from one of other seeds; and what falls so."""
    if baseline is not None:
        try:
            held = difference_of(run.side_with(score), baseline.side_with(score), score)
        except DiffevalError:
            held = None
        if held is not None and held.std_error:
            return max(held.regression.below, held.regression.above), held.how, held.regression
    return apart(max(found.below, found.above)), "with other seeds", found


def _baseline(gate: Gate, baseline: Evidence | None) -> Iterator[Flaw]:
    names = [name for name, rule in gate.rules if rule.max_regression is not None]
    if names and baseline is None and gate.file.baseline.source is None:
        yield Flaw("warn", names[0], "the file names no baseline: without --baseline this rule has no evidence")


def _two(value: float) -> str:
    return f"{rounded_up(value):.2g}"
