"""``guidance-branch``: whether the network heeds its condition, and whether it was trained without one, too.

Guidance goes from the prediction without a class to the one with it, and beyond. Both must be there. The risk of the
noise prediction under the true class must be less than under a wrong one; under the null class it must be what can be
had without a label. The mean of the network's own predictions under all classes is one prediction without a label: a
null class that does worse has not been trained. How a sampler puts the two together, by w or by 1 + w, is not in the
weights.

How much a class matters is told in nats, as shares of the risk mean other things for 64 pixels and for 64,000: half
the number of pixel values times the integral over lambda of the difference of two risks is the relative entropy, over
the noise levels looked at, of what two classes look like to the network (Verdu 2010, for predictions that are the
best).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diffeval.checkpoints.adapt import Adapter
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.arms import interval, redraws, valued
from diffeval.checks.check import GATE, Calls, Finding, Row, Subject, check
from diffeval.checks.classes import Numbering, Told, in_nats, numbering, passes, tell, undeclared_null
from diffeval.checks.scan import reaches
from diffeval.metrics.metric import Array
from diffeval.runs.records import CheckStatus

LEVELS = (2.0, 1.0, 0.0, -1.0, -2.0, -3.0)
# Those at which the null class is judged: with more noise the mean of all classes is as good as any prediction without
# a label, and a null class at random not much worse.
NULL_LEVELS = (2.0, 1.0, 0.0, -1.0)
# What a null class that is found costs of what a wrong class costs, at most.
LIKE_NULL = 0.4
# How many times as many images are looked at where the first do not decide.
CLOSER = 4
# The share of a limit that the lower end of an interval must be above.
SURE = 0.9
# Share of the risk of x alone that a network must be below at some level, before it is blamed for its classes.
LEARNT = 0.8


@dataclass(frozen=True, slots=True)
class Limits:
    """Where judgements turn."""

    ignored: float
    numbering: float
    null: float
    excess: float


def _calls(subject: Subject) -> Calls:
    if not subject.checkpoint.classes or subject.probe_images.labels is None:
        return {}
    levels = sum(reaches(subject.checkpoint.schedule, level) for level in LEVELS)
    return {len(subject.probe_images): float(passes(subject.checkpoint) * levels)}


@check(
    "guidance-branch",
    about="the condition matters, and the null class was trained",
    reads=("scan",),
    symptom_of=("data-range", "batch-norm", "timestep-embedding", "ema"),
    calls=_calls,
)
def guidance_branch(
    subject: Subject,
    *,
    ignored: float = 0.5,
    numbering_fail: float = 0.5,
    null_fail: float = 0.8,
    excess_fail: float = 0.02,
) -> Finding:
    """Risks under the true, a wrong and the null class, at the timestep where the network is best.

    Values, with 95% intervals over images: ``condition_nats``, how well a wrong class is told from the true one, the
    integral of (R_wrong - R_true) d / 2 over log-SNR -3 to 2; ``condition_effect``, R_wrong / R_true - 1 at the level
    where it is largest; ``numbering_nats``, how much better images are predicted under the class that suits others of
    theirs best than under their own; ``null_u``, what the null class costs of what a wrong one costs, (R_null -
    R_true) / (R_wrong - R_true), integrated over log-SNR -1 to 2: 0 for one that loses nothing, 1 for one as bad as a
    wrong class; ``null_excess``, (R_null - R_mean) / (R_wrong - R_true), R_mean being the risk of the mean of the
    predictions under all classes: below 0 for a null class that was trained; ``null_over_mixture``, R_null / R_mean,
    geometric mean over these levels.

    Fails where a wrong class costs nothing; where images fit other classes than their own; and where the null class
    does worse than the mean of the classes. That mean is what is left of a network that cannot see the class in x; a
    row of random numbers in place of a null class often does just as well. Where the interval of the two holds 0, four
    times as many images are looked at, and if it still does, the check is inconclusive.

    Args:
        subject: what is looked at.
        ignored: nats below which the condition is ignored; the least label, one of two classes, has log 2 = 0.69.
        numbering_fail: nats from which on classes are numbered otherwise.
        null_fail: ``null_u`` of a null class that was not trained; decides where classes are too many to be averaged.
        excess_fail: ``null_excess`` of a null class that was not trained. It is at most 0 by the argument above; short
            trainings had -0.10 and less, near-sighted ones 0.00, those that never saw the null class 0.01 and more.

    Cost: up to 16 classes, 2 K + 1 forward passes for each image and level (6 levels); with more, 3. Five times that
    where the null class is not told from the mean of the classes.
    """
    checkpoint, labels = subject.checkpoint, subject.probe_images.labels
    if not checkpoint.classes:
        return Finding("not-applicable", "the network takes no condition")
    if labels is None:
        return Finding(
            "not-applicable",
            f"the images have no labels of the network's {len(checkpoint.classes)} classes; give --ref with as many, "
            f"and --null-class if one of the network's stands for no class",
        )
    levels = [level for level in LEVELS if subject.scan.covered(level)]
    if not levels:
        return Finding("inconclusive", "the noise schedule does not reach the levels at which classes are told apart")
    subject.reporter.stage("guidance-branch", passes(checkpoint) * len(levels) * len(labels), "forward passes")
    limits = Limits(ignored, numbering_fail, null_fail, excess_fail)
    finding = _judge(subject, [tell(subject, level) for level in levels], labels, limits)
    closer = subject.with_n(CLOSER * len(labels))
    more = closer.probe_images.labels
    if finding.status != "inconclusive" or "null_excess" not in finding.values or more is None:
        return finding
    if len(more) <= len(labels):
        return finding
    subject.reporter.stage("guidance-branch, closer", passes(checkpoint) * len(levels) * len(more), "forward passes")
    return _judge(closer, [tell(closer, level) for level in levels], more, limits)


def _judge(subject: Subject, found: Sequence[Told], labels: torch.Tensor, limits: Limits) -> Finding:
    """What is wrong first: the numbers of the classes, then the condition, then the null class."""
    draws = redraws(len(labels))
    effects = [draws @ one.wrong / (draws @ one.true) - 1.0 for one in found]
    size = int(np.prod(subject.checkpoint.shape))
    nats = in_nats([draws @ (one.wrong - one.true) for one in found], found, size)
    values = valued("condition_nats", nats) | valued("condition_effect", max(effects, key=lambda one: float(one[0])))
    rows = tuple(_row(one) for one in found)
    numbers = numbering(found, labels, size)
    if numbers is not None:
        values |= valued("numbering_nats", numbers.nats)
        if numbers.nats[0] >= limits.numbering and interval(numbers.nats)[0] > SURE / 2 * limits.numbering:
            summary, fix = _misnumbered(subject.checkpoint, numbers, limits)
            return Finding("fail", summary, values, fix, rows=rows)
    if nats[0] < limits.ignored:
        learnt = subject.found(GATE).values.get("risk_ratio", 1.0)
        if learnt > LEARNT:
            said = f"the network has hardly learnt anything ({learnt:.2f} of the risk of x alone), let alone classes"
            return Finding("inconclusive", said, values, rows=rows)
        return _ignored(found, nats, values, rows, limits)
    heeded = f"a wrong class is told from the true one by {nats[0]:.1f} nats (at least {limits.ignored:g})"
    if subject.checkpoint.null_class is None:
        row = _found_null(subject, found, limits)
        return Finding("pass", f"{heeded}; no null class is declared, guidance is impossible{row}", values, rows=rows)
    judged = [one for one in found if one.log_snr in NULL_LEVELS]
    clear = in_nats([draws @ (one.wrong - one.true) for one in judged], judged, size) if judged else np.zeros(2)
    if interval(clear)[0] < limits.ignored:
        return Finding("inconclusive", f"{heeded}, too little to tell the null class from it", values, rows=rows)
    u, excess = (_share(judged, draws, size, clear, base) for base in ("true", "mixed"))
    assert u is not None, "there is a null class"
    values |= valued("null_u", u)
    if excess is not None:
        values |= valued("null_excess", excess) | valued("null_over_mixture", _over_mixture(judged, draws))
    status = _status(u, excess, limits)
    said = f"the null class costs {u[0]:.2f} of what a wrong class costs"
    if excess is None:
        said += f" (limit {limits.null:g})"
    else:
        than = "more" if excess[0] > 0 else "less"
        said += f", {abs(excess[0]):.2f} {than} than the mean of all classes (limit {limits.excess:g} more)"
    if status == "pass":
        return Finding("pass", f"{heeded}; {said}", values, rows=rows)
    if status == "inconclusive":
        assert excess is not None, "only that leaves it open"
        low, high = interval(excess)
        said = f"{said}, 95% interval {low:.2f} to {high:.2f}: it cannot be told from one that was not trained"
        return Finding("inconclusive", f"{heeded}; {said}", values, "raise --n", rows=rows)
    return Finding(
        status,
        f"{'the null class was not trained' if status == 'fail' else 'the null class may not have been trained'}: "
        f"{said}",
        values,
        "train with the class dropped now and then (--drop-condition 0.1), or name the right null class (--null-class)"
        + _found_null(subject, found, limits),
        ruled_out=(f"the condition: {heeded}",),
        rows=rows,
    )


def _ignored(
    found: Sequence[Told], nats: Array, values: dict[str, float], rows: tuple[Row, ...], limits: Limits
) -> Finding:
    """A wrong class costs nothing."""
    equal = all(one.deaf for one in found)
    said = (
        "the output is the same, bit by bit, whatever the class"
        if equal
        else f"a wrong class is told from the true one by {max(nats[0], 0.0):.2f} nats (limit {limits.ignored:g})"
    )
    sure = equal or interval(nats)[1] < 2 * limits.ignored
    return Finding(
        "fail" if sure else "inconclusive",
        f"the condition is ignored: {said}" if sure else f"{said}, with too few images to be sure",
        values,
        "see that the class reaches the network in training, and that labels belong to their images"
        if sure
        else "raise --n",
        rows=rows,
    )


def _misnumbered(checkpoint: Checkpoint, numbers: Numbering, limits: Limits) -> tuple[str, str]:
    """Classes that stand for others; where one of them is a null class, which."""
    moved = [(label, best) for label, best in enumerate(numbers.best) if best not in (None, label)]
    names = (*checkpoint.classes, "the null class")
    shown = ", ".join(f"{names[label]!r} under {names[best]!r}" for label, best in moved[:2] if best is not None)
    known = sum(best is not None for best in numbers.best)
    text = (
        f"classes are numbered otherwise than in training: images of {len(moved)} of {known} classes are predicted "
        f"better under another ({shown}{', ...' if len(moved) > 2 else ''}), by {numbers.nats[0]:.1f} nats (limit "
        f"{limits.numbering:g})"
    )
    if numbers.null in (None, checkpoint.null_class) or not numbers.null_u < LIKE_NULL:
        return text, "give the labels the numbers that they had in training"
    row = numbers.null
    if isinstance(checkpoint.adapter, Adapter):
        row = checkpoint.adapter.conditions[row]
    return (
        f"{text}; row {row} of the network's table of classes behaves like the null class",
        f"declare it: --null-class {row}",
    )


def _found_null(subject: Subject, found: Sequence[Told], limits: Limits) -> str:
    """Words on an undeclared row that would do as null class; empty without one."""
    spare = undeclared_null(subject, [one for one in found if one.log_snr in NULL_LEVELS])
    if spare is None or spare[1] >= LIKE_NULL:
        return ""
    return f"; row {spare[0]} of the network's table of classes behaves like one: --null-class {spare[0]}"


def _share(judged: Sequence[Told], draws: Array, size: int, clear: Array, base: str) -> Array | None:
    """What the null class costs beyond the true class, or the mean of all, of what a wrong class costs, by draw."""
    pairs = [(one.null, one.true if base == "true" else one.mixed) for one in judged]
    costs = [draws @ (null - other) for null, other in pairs if null is not None and other is not None]
    if len(costs) < len(judged):
        return None
    share: Array = in_nats(costs, judged, size) / clear
    return share


def _over_mixture(judged: Sequence[Told], draws: Array) -> Array:
    """Risk under the null class over that of the mean of all classes, by draw."""
    pairs = [(one.null, one.mixed) for one in judged if one.null is not None and one.mixed is not None]
    found: Array = np.exp(np.mean([np.log((draws @ null) / (draws @ mixed)) for null, mixed in pairs], axis=0))
    return found


def _status(u: Array, excess: Array | None, limits: Limits) -> CheckStatus:
    """Untrained where it surely does worse than the mean of all classes, trained where it surely does better.

    Without that mean, untrained where it does nearly as badly as a wrong class.
    """
    if excess is None:
        return "fail" if u[0] >= limits.null and interval(u)[0] > SURE * limits.null else "pass"
    low, high = interval(excess)
    if high < 0.0:
        return "pass"
    if low <= 0.0:
        return "inconclusive"
    return "fail" if excess[0] >= limits.excess else "warn"


def _row(one: Told) -> Row:
    """Mean risks at a level."""
    risks = {"true": one.true, "wrong": one.wrong, "null": one.null, "mean_of_classes": one.mixed}
    return {
        "log_snr": one.log_snr,
        **{name: None if risk is None else float(risk.mean()) for name, risk in risks.items()},
    }
