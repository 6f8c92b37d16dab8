"""The variance of a debiased distance, and of the difference between two of them, from their jackknife terms.

The jackknife's variance has the expectation sigma_1^2 + 2 C where the variance is sigma_1^2 + C, sigma_1^2 being the
part from single images and C that from pairs of them (Efron and Stein 1981). C is seen in a sample of second
differences. So sigma_1^2 is the jackknife's less 2 C, and not below 0. Near distance 0 it vanishes, and the variance
is all C. Pairs of one image from each side are counted once by each side's jackknife, and by the variance once.

That corrects the variance on average. Where few directions carry the pairs' part (a handful of classes at random, for
one), it is a chi-square of few degrees of freedom, nu = (sum lambda^2)^2 / sum lambda^4 over the eigenvalues of its
kernel: it is skewed, and the jackknife's variance rises and falls with it. An interval then takes less of the
correction, the share nu / (nu + 32) of it; at nu = 32 the skewness, (8 / nu)^1/2, is one half.

The difference of two runs with the same seeds, labels and reference has the differences of their terms for terms: what
moves both values alike is no part of its error.

Pseudo-values are those of the plain distance, G theta - (G - 1) theta_(g). The distance without its bias has, to first
order, G theta_J - (G - 1) theta_J(g) where theta_J = G theta - (G - 1) mean theta_(g): with first differences f and
second differences s, (G - 1) (2 f_g + (G - 2) mean_h s_gh), about the same mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array
from diffeval.metrics.student import quantile

# Directions at which half of the correction is taken; and the least fourth moment that a sample can tell from none.
EVEN, LEAST_FOURTH = 32.0, 1e-4


@dataclass(frozen=True, slots=True)
class Variance:
    """Where the error of a debiased distance comes from.

    Attributes:
        own: of single generated images; falls as 1 / n.
        pairs: of pairs of generated images; falls as 1 / n^2.
        across: of pairs of a generated image and one of the reference; falls as 1 / n.
        reference: of the reference's images alone; 0 where they are held fixed. More generated images leave it.
        directions: nu, how many directions carry ``pairs``.
    """

    own: float
    pairs: float
    across: float
    reference: float
    directions: float

    @property
    def caution(self) -> float:
        """What an interval adds to the variance: the part of ``pairs`` that is not certain to be counted twice."""
        return self.pairs * EVEN / (self.directions + EVEN)

    def at(self, ratio: float) -> float:
        """The variance with ``ratio`` times as many generated images."""
        return (self.own + self.across) / ratio + self.pairs / ratio**2 + self.reference


@dataclass(frozen=True, slots=True)
class Terms:
    """Jackknife terms of a debiased distance.

    Attributes:
        pseudo: pseudo-values by group, [G]: of the generated side, then of the reference's where that is a sample.
        sampled: some second differences of each side, [blocks, m, m], or None where they are not known.
        across: some second differences between a group of each side, [blocks, m, m'], or None.
        moves: pseudo-values of the distance without its bias, which moves with the images, too, by group and side as
            ``pseudo``; empty where they are not known.
    """

    pseudo: tuple[Array, ...]
    sampled: tuple[Array | None, ...]
    across: Array | None
    moves: tuple[Array, ...] = ()

    def variance(self) -> Variance:
        """The parts of the variance."""
        pairs = [pairs_variance(len(one), some) for one, some in zip(self.pseudo, self.sampled, strict=True)]
        both = 0.0
        if self.across is not None:
            left = [(len(one) - 1) ** 2 / len(one) for one in self.pseudo]
            both = left[0] * left[1] * float(self.across.var())
        single = [
            max(0.0, jackknife_variance(one) - 2 * pair - both) for one, pair in zip(self.pseudo, pairs, strict=True)
        ]
        return Variance(
            own=single[0],
            pairs=pairs[0],
            across=both,
            reference=sum(single[1:]) + sum(pairs[1:]),
            directions=directions(self.sampled[0]),
        )

    def __sub__(self, other: "Terms") -> "Terms":
        """Terms of the difference of two distances from the same groups."""
        return Terms(
            tuple(one - two for one, two in zip(self.pseudo, other.pseudo, strict=True)),
            tuple(
                None if one is None or two is None else one - two
                for one, two in zip(self.sampled, other.sampled, strict=True)
            ),
            None if self.across is None or other.across is None else self.across - other.across,
            tuple(one - two for one, two in zip(self.moves, other.moves, strict=False)),
        )

    def arrays(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """For a file; what is only squared and averaged, in single precision."""
        named: dict[str, Array | None] = {"across": self.across}
        for side, pseudo, sampled in zip(("", "reference_"), self.pseudo, self.sampled, strict=False):
            named |= {f"{side}pseudo": pseudo, f"{side}pairs": sampled}
        named |= {f"{side}moves": moves for side, moves in zip(("", "reference_"), self.moves, strict=False)}
        return {
            name: array if name.endswith(("pseudo", "moves")) else array.astype(np.float32)
            for name, array in named.items()
            if array is not None
        }


def terms_from(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Terms:
    """The terms that ``Terms.arrays`` gave."""

    def read(name: str) -> Array | None:
        return arrays[name].astype(np.float64) if name in arrays else None

    pseudo = tuple(part for part in (read("pseudo"), read("reference_pseudo")) if part is not None)
    sampled = tuple(read(name) for name in ("pairs", "reference_pairs")[: len(pseudo)])
    moves = tuple(part for part in (read("moves"), read("reference_moves")) if part is not None)
    return Terms(pseudo, sampled, read("across"), moves)


def jackknife_variance(pseudo: Array) -> float:
    """Of the mean of pseudo-values [G]."""
    return float(pseudo.var(ddof=1)) / len(pseudo)


def pairs_variance(count: int, sampled: Array | None) -> float:
    """The variance from pairs of G groups, from a sample [blocks, m, m] of their second differences.

    Each is 2 / (G - 2)^2 of the pair's kernel, being taken where two groups are missing; the variance is 2 / G^2 times
    the mean square of that kernel.
    """
    if sampled is None:
        return 0.0
    return 0.5 * (count - 2) ** 4 / count**2 * float(sampled[:, ~np.eye(sampled.shape[1], dtype=bool)].var())


def directions(sampled: Array | None) -> float:
    """Nu, from second differences Q [blocks, m, m], less their mean; 0 where they are not known, or m < 4.

    The mean of Q_ij^2 is sum lambda^2, that of Q_ij Q_jk Q_kl Q_li over cycles of four different groups sum lambda^4.
    """
    if sampled is None or sampled.shape[1] < 4:
        return 0.0
    m = sampled.shape[1]
    off = ~np.eye(m, dtype=bool)
    q = (sampled - sampled[:, off].mean()) * off
    squares = (q**2).sum(axis=2)
    cycles = ((q @ q) ** 2).sum(axis=(1, 2)) - 2 * (squares**2).sum(axis=1) + (q**4).sum(axis=(1, 2))
    second = float(squares.mean()) / (m - 1)
    fourth = float(cycles.mean()) / (m * (m - 1) * (m - 2) * (m - 3))
    return second**2 / max(fourth, LEAST_FOURTH * second**2) if second > 0 else 0.0


@dataclass(frozen=True, slots=True)
class DifferenceError:
    """How far the difference of two distances may be off.

    Attributes:
        variance: of the difference.
        caution: what an interval adds to it, see ``Variance.caution``.
        freedom: degrees of freedom.
        pairs: the part of the variance that falls as 1 / n^2.
        reference: the part that more generated images leave as it is.
    """

    variance: float
    caution: float
    freedom: int
    pairs: float = 0.0
    reference: float = 0.0

    @property
    def std_error(self) -> float:
        """Of the difference."""
        return sqrt(self.variance)

    @property
    def half_width(self) -> float:
        """Of its 95% interval."""
        return quantile(0.975, self.freedom) * sqrt(self.variance + self.caution)


def paired_error(one: Terms, other: Terms) -> DifferenceError:
    """Error of the difference of two distances whose images share seeds, labels and reference.

    What removing the bias adds to the variance is a small part of that of one distance, but not of that of a
    difference, from which most else drops out: so the terms are those of the distance without bias, if known.
    """
    terms = one - other
    if len(terms.moves) == len(terms.pseudo):
        terms = replace(terms, pseudo=terms.moves)
    moved = terms.variance()
    return DifferenceError(moved.at(1.0), moved.caution, len(one.pseudo[0]) - 1, moved.pairs, moved.reference)


def unpaired_error(one: Terms, other: Terms) -> DifferenceError:
    """Error of the difference of two distances from independent images.

    A reference that is a sample is the same for both: what it moves in both alike is no part of the error.
    """
    own, pairs, caution, reference = 0.0, 0.0, 0.0, 0.0
    for terms in (one, other):
        parts = terms.variance()
        own += parts.own + parts.across
        pairs += parts.pairs
        caution += parts.caution
    if len(one.pseudo) > 1 and len(other.pseudo) > 1:
        reference = Terms((one.pseudo[1] - other.pseudo[1],), (None,), None).variance().own
    freedom = min(len(one.pseudo[0]), len(other.pseudo[0])) - 1
    return DifferenceError(own + pairs + reference, caution, freedom, pairs, reference)
