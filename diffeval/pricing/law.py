"""How the time of a computation over two sets of features grows with both: a law, found by trying small ones.

What is known of the real images alone is computed once and kept (``FeatureSet.once``), so that the first call with m
of them takes longer than those with n others that follow. All are sums of what does not grow, what grows with images
and what grows with pairs of them,

    every call    1, n, m, n^2, n m, m^2
    once          m, m^2

each with a factor that is not below 0. Trials are of the sizes that are wanted, scaled down alike: what dominates
there dominates here.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from diffeval.metrics.metric import FeatureSet
from diffeval.pricing import stage

# Share of the time of other pieces that the last trial of a law takes, about, and the most trials; each is twice as
# large as the one before.
LAST, MOST = 0.5, 12
# Images of the first trial, at least; and the shares of generated images that each trial calls with, in turn.
SMALL, SHARES = 64, (4, 2, 1)

# Computes something of features of generated and of real images.
Work = Callable[[FeatureSet, FeatureSet], object]
# Makes so many features up.
Make = Callable[[int], FeatureSet]


@dataclass(frozen=True, slots=True)
class Law:
    """Seconds as a function of how many images there are of both kinds.

    Attributes:
        factors: of the terms, in the order of the module's table; none is negative.
        least: generated images below which nothing is computed.
    """

    factors: tuple[float, ...]
    least: int = 0

    def call(self, n: int, m: int) -> float:
        """A call with n generated images, where what is known of the m real ones alone is there."""
        return 0.0 if n < self.least else float(np.dot(self.factors, _terms(n, m, once=False)))

    def once(self, m: int) -> float:
        """What is computed of m real images alone, and kept."""
        return float(np.dot(self.factors, _terms(0, m, once=True)) - np.dot(self.factors, _terms(0, m, once=False)))


def _terms(n: float, m: float, *, once: bool) -> tuple[float, ...]:
    return (1.0, n, m, n * n, n * m, m * m, m * once, m * m * once)


def find_law(work: Work, ours: Make, theirs: Make, n: int, m: int, least: int = 0) -> Law:
    """The law of some work, from trials that grow until they are long enough, or of the size that is wanted.

    Args:
        work: what is computed.
        ours: makes features of generated images.
        theirs: makes features of real ones.
        n: generated images that are wanted in the end.
        m: real ones.
        least: generated images without which nothing is computed.
    """
    rows: list[tuple[float, ...]] = []
    seconds: list[float] = []
    for small, large, real in _sizes(n, m, least):
        if not rows:  # the first call of all pays for what is loaded and compiled
            with np.errstate(all="ignore"):
                work(ours(small), theirs(real))
        known = theirs(real)
        for place, share in enumerate(SHARES):
            images = ours(max(small, large // share))
            started = time.perf_counter()
            with np.errstate(all="ignore"):  # so few images as these may make no number
                work(images, known)
            seconds.append(time.perf_counter() - started)
            rows.append(_terms(len(images), real, once=place == 0))
        if seconds[-1] >= LAST * stage.ENOUGH:
            break
    return Law(_fitted(np.array(rows), np.array(seconds)), least)


def _fitted(rows: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Least squares of what each trial is missed by relative to itself: else the largest would say all."""
    scale = rows.max(axis=0).clip(1e-300)
    found, _ = nnls(rows / scale / np.maximum(seconds, 1e-6)[:, None], np.ones(len(seconds)))
    return tuple(float(value) for value in found / scale)


def _sizes(n: int, m: int, least: int) -> Iterator[tuple[int, int, int]]:
    """The least generated images of a trial, the most, and the real ones; they grow to what is wanted."""
    first = max(least, min(n, SMALL))
    for power in range(1, MOST):
        large = min(n, first * 2**power)
        yield first, large, min(m, max(SMALL, round(m * large / n)))
        if large >= n:
            return
