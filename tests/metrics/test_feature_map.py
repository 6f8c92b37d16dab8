"""The map of features: where a point is counted is worked out by hand."""

import numpy as np

from diffeval.metrics.feature_map import BINS, feature_map


def _plane(points: list[tuple[float, float]]) -> np.ndarray:
    """Points of a plane in five dimensions; the first axis is the wider one."""
    return np.pad(np.array(points, dtype=np.float64), ((0, 0), (1, 2)))


def test_every_image_is_counted_on_its_own_side() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    real = _plane([(10 * x, y) for x, y in rng.uniform(-1, 1, (400, 2))])
    left = _plane([(10 * x, y) for x, y in rng.uniform(-1, 1, (300, 2)) if x < 0])
    held = feature_map(left, real)
    assert held["map_real"].shape == held["map_generated"].shape == (BINS, BINS)
    # 0.2% at either end of either axis are left out.
    assert 0.98 * 400 <= held["map_real"].sum() <= 400
    middle = (held["map_x"][1:] + held["map_x"][:-1]) / 2
    sides = [held["map_generated"][middle < -0.7].sum(), held["map_generated"][middle > 0.7].sum()]
    assert min(sides) == 0
    assert max(sides) > 0.8 * len(left)
    both = [held["map_real"][middle < -0.7].sum(), held["map_real"][middle > 0.7].sum()]
    assert min(both) > 100
    # The principal components of the reference are its own axes: the wide one is along x.
    assert np.ptp(held["map_x"]) > 5 * np.ptp(held["map_y"])


def test_no_plane_no_map() -> None:
    plane = _plane([(1.0, 2.0), (2.0, 1.0), (3.0, 5.0)])
    assert feature_map(plane, plane[:, :1]) == {}
    assert feature_map(plane[:1], plane) == {}
    assert feature_map(np.full_like(plane, np.nan), plane) == {}
    assert feature_map(np.ones((3, 2)), np.ones((3, 2))) == {}
