"""Student's t for whole degrees of freedom, and the normal law, without SciPy: in CI a gate has no time to import it.

Source: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4 (finite series in cos(theta), tan(theta) = t / nu^1/2).
"""

from functools import lru_cache
from math import atan, cos, pi, sin, sqrt
from statistics import NormalDist

import numpy as np

NORMAL = NormalDist()


def tail(t: float, freedom: int | None) -> float:
    """P(T > t), to about 1e-14; ``freedom`` None is the normal law.

    Raises:
        ValueError: below 1 degree of freedom.
    """
    if freedom is None:
        return NORMAL.cdf(-t)
    if freedom < 1:
        raise ValueError(f"Student's t needs 1 degree of freedom, got {freedom}")
    theta = atan(t / sqrt(freedom))
    square = cos(theta) ** 2
    odd = freedom % 2
    steps = np.arange(1, (freedom - 1) // 2 if odd else freedom // 2)
    ratios = (2 * steps / (2 * steps + 1) if odd else (2 * steps - 1) / (2 * steps)) * square
    total = 1.0 + float(np.cumprod(ratios).sum())
    if odd:
        inside = 2 / pi * (theta + (sin(theta) * cos(theta) * total if freedom > 1 else 0.0))
    else:
        inside = sin(theta) * total
    return min(1.0, max(0.0, 0.5 * (1 - inside)))


@lru_cache(maxsize=256)
def quantile(share: float, freedom: int | None) -> float:
    """The t with P(T <= t) = ``share``, by bisection to 1e-12; ``freedom`` None is the normal law.

    Raises:
        ValueError: for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"a quantile needs a share between 0 and 1, got {share}")
    if freedom is None:
        return NORMAL.inv_cdf(share)
    if share < 0.5:
        return -quantile(1 - share, freedom)
    low, high = 0.0, 1.0
    while tail(high, freedom) > 1 - share:
        low, high = high, 2 * high
    while high - low > 1e-12 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, freedom) > 1 - share else (low, middle)
    return (low + high) / 2
