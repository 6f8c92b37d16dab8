"""What a curve says is best, and how sure that is: the same rule, asked of draws from the curve's own errors.

The errors are those of a delete-group jackknife over the seeds, with the same groups at every point of every curve, so
that what all points share drops out of their comparison. Nothing is drawn from the images themselves: an image that
stands twice in a sample shrinks the radii of its nearest neighbours, and with them precision, recall and coverage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Array

# Draws, of which a set of likely points holds this share; with a seed of its own, so that a choice can be repeated.
DRAWS, LEVEL, SEED = 2000, 0.95, 0
# Where a rule finds no point.
NONE = -1

Picked = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A score at every point of a sweep.

    Attributes:
        name: of the score.
        at: the guidance scales, or the numbers of the points; ascending.
        values: [K].
        left_out: the score without each group of seeds, [G, K]; the same groups at every point.
        higher_is_better: the direction.
    """

    name: str
    at: tuple[float, ...]
    values: Array
    left_out: Array
    higher_is_better: bool

    def __post_init__(self) -> None:
        """A curve with holes would be read at the wrong points."""
        if not self.at or any(left >= right for left, right in zip(self.at, self.at[1:], strict=False)):
            raise ValueError(f"curve {self.name}: its points {self.at} do not ascend")
        if self.values.shape != (len(self.at),) or self.left_out.shape != (self.groups, len(self.at)):
            raise ValueError(f"curve {self.name}: {self.values.shape} and {self.left_out.shape} at {len(self.at)}")
        if self.groups < 2:
            raise ValueError(f"curve {self.name}: {self.groups} groups have no spread; leave out 2 at least")
        if not (np.isfinite(self.values).all() and np.isfinite(self.left_out).all()):
            raise ValueError(f"curve {self.name}: a value is not finite; leave its point out of every curve")

    @property
    def groups(self) -> int:
        """G."""
        return len(self.left_out)

    @property
    def deviations(self) -> Array:
        """What each group's absence changes, times the root of (G - 1) / G: their products sum to the covariance."""
        scale = sqrt((self.groups - 1) / self.groups)
        moved: Array = scale * (self.left_out - self.left_out.mean(axis=0))
        return moved

    @property
    def span(self) -> str:
        """How many points there are, and from where to where."""
        return f"{len(self.at)} points from {self.at[0]:g} to {self.at[-1]:g}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A point of a sweep, the rule that chose it, and how sure that is.

    Attributes:
        rule: one sentence that states it with its numbers.
        curve: name of the curve that it reads, or names.
        at: the point, as the values themselves have it; None where there is none.
        likely: its 95% set, ascending: the fewest points that hold 95% of the draws (a draw in which the rule finds
            no point is an outcome of its own), all that a test at 5% does not exclude, and ``at``.
        share: of the draws, for each point of the curve; what is missing to 1 found none.
        reason: why there is no point; empty where there is one.
    """

    rule: str
    curve: str
    at: float | None
    likely: tuple[float, ...]
    share: tuple[float, ...]
    reason: str = ""


def covariance(curves: Sequence[Curve]) -> Array:
    """Joint covariance of the values of curves over the same seeds, [sum K, sum K], one curve after the other.

    (G - 1) / G times the sum of products of the left-out values' deviations. Its rank is at most G - 1: with fewer
    groups than points it is singular, and is never to be inverted.

    Raises:
        ValueError: if the curves have other groups than each other.

    Source: the delete-group jackknife (Kott 2001; Efron 1982, chapter 3, for groups of one).
    """
    deviations = np.concatenate([curve.deviations for curve in _alike(curves)], axis=1)
    product: Array = deviations.T @ deviations
    return product


def draws(curves: Sequence[Curve]) -> tuple[Array, ...]:
    """Curves as they might have come out, [2000, K] each, drawn together.

    Multivariate t with G - 1 degrees of freedom, about the values and with their ``covariance`` as its scale: a
    covariance known from few groups only makes the draws wider.

    Raises:
        ValueError: if the curves have other groups than each other.
    """
    groups = _alike(curves)[0].groups
    random = np.random.Generator(np.random.Philox(SEED))
    weights = random.standard_normal((DRAWS, groups))
    weights *= np.sqrt((groups - 1) / random.chisquare(groups - 1, DRAWS))[:, None]
    return tuple(curve.values + weights @ curve.deviations for curve in curves)


def not_excluded(values: Array, drawn: Array) -> Flags:
    """Which points a test at 5% does not exclude from being the highest, [K], given values [K] and draws [N, K].

    Draws alone do not say so: they lie about values that are noisy themselves, and of points of nearly equal worth
    they miss the truly best one too often (7 equal points: 33% of the time). So each point is held against the others
    by its largest deficit in units of its error, and stays unless that exceeds what 95% of the draws have by chance.

    Source: multiple comparisons with the best (Edwards and Hsu 1983), its critical values taken from the draws.
    """
    noise = drawn - values
    kept = []
    for index, value in enumerate(values):
        chance = noise - noise[:, [index]]
        scale = chance.std(axis=0)
        limit = np.quantile(in_units(chance, scale).max(axis=1), LEVEL)
        kept.append(in_units(values - value, scale).max() <= limit)
    return np.array(kept)


def choose(
    rule: str, name: str, at: tuple[float, ...], picked: int, drawn: Picked, possible: Flags, reason: str = ""
) -> Choice:
    """A choice from what the rule picks of the values and of every draw.

    Args:
        rule: see ``Choice``.
        name: of the curve.
        at: its points.
        picked: index of the point that the values have, or ``NONE``.
        drawn: the same of every draw, int64 [N].
        possible: points that a test does not exclude, [K].
        reason: why there is no point, where ``picked`` is ``NONE``.
    """
    outcomes = np.bincount(drawn - NONE, minlength=len(at) + 1)
    order = np.argsort(-outcomes, kind="stable")
    fewest = 1 + int(np.argmax(np.cumsum(outcomes[order]) >= LEVEL * len(drawn)))
    likely = {int(outcome) + NONE for outcome in order[:fewest]} | {picked, *np.flatnonzero(possible).tolist()}
    return Choice(
        rule=rule,
        curve=name,
        at=None if picked == NONE else at[picked],
        likely=tuple(at[index] for index in sorted(likely - {NONE})),
        share=tuple(float(count / len(drawn)) for count in outcomes[1:]),
        reason=reason,
    )


def best(curve: Curve) -> Choice:
    """The point with the best value; of equal ones, the first."""
    upward = 1 if curve.higher_is_better else -1
    word = "highest" if curve.higher_is_better else "lowest"
    values, drawn = upward * curve.values, upward * draws([curve])[0]
    return choose(
        f"the {word} {curve.name} of {curve.span}",
        curve.name,
        curve.at,
        int(np.argmax(values)),
        np.argmax(drawn, axis=1),
        not_excluded(values, drawn),
    )


def indistinguishable(curve: Curve) -> tuple[float, ...]:
    """The points whose difference to the best one is within its error, the best among them.

    The 95% interval of each difference, paired over the groups, with t on G - 1 degrees of freedom. Each point is
    compared by itself: among many points of equal worth, some will be missing.
    """
    chosen = int(np.argmax(curve.values if curve.higher_is_better else -curve.values))
    differences = np.abs(curve.values - curve.values[chosen])
    errors = np.sqrt(((curve.deviations - curve.deviations[:, [chosen]]) ** 2).sum(axis=0))
    within = differences <= t.ppf((1 + LEVEL) / 2, curve.groups - 1) * errors
    return tuple(place for place, inside in zip(curve.at, within, strict=True) if inside)


def largest_keeping(diversity: Curve, share: float = 0.9, baseline_at: float = 1.0) -> Choice:
    """The largest point up to which diversity keeps a share of what it is at the baseline, there and at all between.

    Raises:
        DiffevalError: for a share outside 0 to 1.
        ValueError: if lower is better.
    """
    if not 0 < share <= 1:
        raise DiffevalError(f"--keep-diversity {share:g} is not between 0 and 1; 0.9 keeps nine tenths of it")
    if not diversity.higher_is_better:
        raise ValueError(f"{diversity.name} is no diversity: of it, lower is better")
    rule = (
        f"the largest w of {diversity.span} up to which {diversity.name} stays at {share:g} or more of its value at"
        f" w={baseline_at:g}"
    )
    if baseline_at not in diversity.at:
        reason = f"w={baseline_at:g}, whose {diversity.name} is to be kept, is not among the points"
        return Choice(rule, diversity.name, None, (), (0.0,) * len(diversity.at), reason)
    first = diversity.at.index(baseline_at)
    # Above 0 where the share is kept.
    margin = diversity.values - share * diversity.values[first]
    (drawn,) = draws([diversity])
    baseline = drawn[:, [first]]
    possible = _possible_last(margin, drawn - share * baseline, first)
    kept = np.where(baseline[:, 0] > 0, _last(drawn >= share * baseline, first), NONE)
    if diversity.values[first] > 0:
        picked = int(_last(margin[None] >= 0, first)[0])
        return choose(rule, diversity.name, diversity.at, picked, kept, possible)
    reason = f"{diversity.name} at w={baseline_at:g} is {diversity.values[first]:.3g}, of which no share can be kept"
    return choose(rule, diversity.name, diversity.at, NONE, kept, np.zeros_like(possible), reason)


def _last(keeps: Flags, first: int) -> Picked:
    """Index of the last point, from ``first`` on, before one does not keep its share, [N] of [N, K]."""
    last: Picked = first - 1 + np.logical_and.accumulate(keeps[:, first:], axis=1).sum(axis=1)
    return last


def _possible_last(margin: Array, drawn: Array, first: int) -> Flags:
    """Which points may be the last that keeps its share, by a band that holds all margins at once, [K]."""
    noise = drawn - margin
    scale = noise.std(axis=0)
    limit = np.quantile(in_units(np.abs(noise[:, first:]), scale[first:]).max(axis=1), LEVEL)
    may_keep, may_fall = margin >= -limit * scale, margin < limit * scale
    last = _last(may_keep[None], first)[0]
    places = np.arange(len(margin))
    possible: Flags = (places >= first) & (places <= last) & np.append(may_fall[1:], True)
    return possible


def in_units(values: Array, scale: Array) -> Array:
    """Values in units of their errors; without an error, none or infinitely many."""
    known = scale > 0
    units: Array = np.where(known, values / np.where(known, scale, 1.0), np.where(values > 0, np.inf, 0.0))
    return units


def _alike(curves: Sequence[Curve]) -> Sequence[Curve]:
    """The curves, if they can be drawn together."""
    if len({curve.groups for curve in curves}) != 1:
        raise ValueError(f"curves of {[curve.groups for curve in curves]} groups; they need the same ones")
    return curves
