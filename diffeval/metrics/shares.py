"""Shares of images, and how two of them differ: exact intervals, for counts that are few."""

import numpy as np
from scipy.stats import beta

TAIL = 0.025


def share_interval(hits: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95% interval of a share.

    Args:
        hits: images that count.
        of: images, at least 1.
    """
    low = 0.0 if hits == 0 else float(beta.ppf(TAIL, hits, of - hits + 1))
    high = 1.0 if hits == of else float(beta.ppf(1.0 - TAIL, hits + 1, of - hits))
    return low, high


def excess_interval(hits: int, of: int, null_hits: int, null_of: int) -> tuple[float, float]:
    """A 95% interval of one share less another, from the exact intervals of both.

    How far each share lies from its limits is added in quadrature. Where both shares are the same in truth, the lower
    limit exceeds 0 in at most 2.5% of cases (enumerated in ``tests/metrics/test_shares.py``).

    Args:
        hits: images that count.
        of: images, at least 1.
        null_hits: of the others, those that count.
        null_of: the others, at least 1.

    Source: Newcombe 1998, method 10, with Clopper and Pearson's limits in the place of Wilson's.
    """
    share, null = hits / of, null_hits / null_of
    (low, high), (null_low, null_high) = share_interval(hits, of), share_interval(null_hits, null_of)
    below, above = np.hypot(share - low, null_high - null), np.hypot(high - share, null - null_low)
    return float(max(-1.0, share - null - below)), float(min(1.0, share - null + above))
