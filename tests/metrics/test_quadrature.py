"""Integrals over the half line that are known in closed form."""

import numpy as np
import pytest

from diffeval.metrics.quadrature import half_line_nodes


@pytest.mark.parametrize(("lo", "hi"), [(1e-7, 1.0), (1e-3, 10.0), (0.4, 1.0), (2e-4, 3e5)])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-9])
def test_a_pole_anywhere_in_the_stretch(lo: float, hi: float, tolerance: float) -> None:
    """int_0^inf a / (a^2 + s^2) ds = pi / 2 for every a."""
    s, weights = half_line_nodes(lo, hi, tolerance)
    for a in np.geomspace(lo, hi, 7):
        assert (weights * a / (a**2 + s**2)).sum() == pytest.approx(np.pi / 2, rel=20 * tolerance)


def test_a_ratio_of_determinants() -> None:
    """int_0^inf log((s^2 + a^2) / (s^2 + b^2)) ds = pi (a - b)."""
    s, weights = half_line_nodes(0.01, 2.0, 1e-8)
    integral = (weights * np.log((s**2 + 1.7**2) / (s**2 + 0.03**2))).sum()
    assert integral == pytest.approx(np.pi * (1.7 - 0.03), rel=1e-7)


def test_a_smaller_tolerance_takes_more_nodes() -> None:
    assert len(half_line_nodes(1e-5, 1.0, 1e-9)[0]) > 2 * len(half_line_nodes(1e-5, 1.0, 1e-3)[0])
