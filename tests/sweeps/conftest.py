from collections.abc import Callable, Sequence

import numpy as np
import pytest

from diffeval.sweeps.choices import Curve

MakeCurve = Callable[..., Curve]


@pytest.fixture
def certain() -> MakeCurve:
    """A curve without error: every group left out changes nothing."""

    def make(
        at: Sequence[float], values: Sequence[float], *, higher: bool = True, name: str = "score", groups: int = 10
    ) -> Curve:
        exact = np.asarray(values, dtype=np.float64)
        return Curve(name, tuple(map(float, at)), exact, np.tile(exact, (groups, 1)), higher)

    return make


@pytest.fixture
def sampled() -> MakeCurve:
    """Means of 200 seeds about a truth: noise that all points share, and noise of each point's own."""

    def make(
        random: np.random.Generator,
        at: Sequence[float],
        truth: Sequence[float],
        noise: float,
        *,
        shared: float = 10.0,
        higher: bool = False,
        groups: int = 10,
    ) -> Curve:
        n = 200
        seeds = np.asarray(truth) + shared * random.standard_normal((n, 1))
        seeds = seeds + noise * random.standard_normal((n, len(truth)))
        sums = seeds.reshape(groups, n // groups, -1).sum(axis=1)
        left_out = (seeds.sum(axis=0) - sums) / (n - n // groups)
        return Curve("score", tuple(map(float, at)), seeds.mean(axis=0), left_out, higher)

    return make
