"""Nodes and weights for integrals over (0, inf) of functions that are smooth off a stretch of the imaginary axis.

Functions of a matrix square root can be written as such integrals: log det(A + s^2) has its branch points at s = +- i
sqrt(eigenvalue). Between the smallest and the largest of them lie orders of magnitude, where a rule in s or in log s
needs hundreds of nodes; under the elliptic substitution s = lo sc(t) the midpoint rule converges geometrically, at a
rate that falls only with the logarithm of their ratio.
"""

from math import ceil, log, pi

import numpy as np
from scipy.special import ellipk, ellipkm1

from diffeval.metrics.metric import Array

# Terms of the theta series; their nome is below 1e-3 for ratios above 2, so that five are exact to rounding.
TERMS = 6


def half_line_nodes(lo: float, hi: float, tolerance: float) -> tuple[Array, Array]:
    """Nodes s and weights w such that sum(w f(s)) approximates the integral of f over (0, inf).

    Args:
        lo: least modulus of the singularities; 0 < lo < hi / 2. Those below are met with an error of order ``lo``.
        hi: greatest modulus of the singularities.
        tolerance: relative error, about; it falls as exp(-2 pi^2 count / (2 log(hi / lo) + 3)).

    Source: Hale, Higham and Trefethen 2008, method 3, with the elliptic functions by their theta series (Abramowitz
    and Stegun 16.36), which stay exact where the modulus is next to 1.
    """
    count = ceil((2 * log(hi / lo) + 3) * -log(tolerance) / (2 * pi**2))
    parameter = (lo / hi) ** 2
    quarter, half_period = ellipk(parameter), ellipkm1(parameter)
    log_nome = -np.pi * half_period / quarter
    times = (np.arange(count) + 0.5) / count * half_period
    eta = times * np.pi / (2 * quarter)
    order = np.arange(TERMS)[:, None]
    odd, even = 2 * order + 1, 2 * order[1:]
    sign = (-1.0) ** order
    # exp before sinh: the nome's powers tame the growth in eta.
    theta1 = (sign * (np.exp(log_nome * odd**2 / 4 + odd * eta) - np.exp(log_nome * odd**2 / 4 - odd * eta))).sum(0)
    theta4 = 1 + (
        sign[1:] * (np.exp(log_nome * even**2 / 4 + even * eta) + np.exp(log_nome * even**2 / 4 - even * eta))
    ).sum(0)
    theta2 = 2 * np.exp(log_nome * odd**2 / 4).sum()
    theta3 = 1 + 2 * np.exp(log_nome * even**2 / 4).sum()
    s = theta3 / theta2 * theta1 / theta4
    weights = np.sqrt((1 + s**2) * (1 + parameter * s**2)) * half_period / count
    return lo * s, lo * weights
