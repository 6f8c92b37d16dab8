"""Every answer against differences in float64, one pair at a time."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from diffeval.metrics.metric import Array
from diffeval.metrics.neighbours import ROUNDING, Points, nearest, points, slices, squared_block, within_reach


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _points(features: npt.NDArray[np.floating]) -> Points:
    return points(features, features.mean(axis=0, dtype=np.float64))


def _true_nearest(features: npt.NDArray[np.floating], k: int) -> Array:
    """Distances to the k nearest others, from differences in float64."""
    squared = cdist(features.astype(np.float64), features.astype(np.float64), "sqeuclidean")
    np.fill_diagonal(squared, np.inf)
    found: Array = np.sort(squared, axis=1)[:, :k]
    return found


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_neighbours_are_those_of_a_tree(block: int) -> None:
    features = _random(0).standard_normal((60, 5))
    squared, rows = nearest(_points(features), 6, sharp=(3, 6), block=block)
    distances, expected = cKDTree(features).query(features, k=7)
    np.testing.assert_array_equal(rows, expected[:, 1:])
    np.testing.assert_allclose(squared, distances[:, 1:] ** 2, rtol=1e-5)
    # Those that are asked for sharp are exact, not to float32 only.
    np.testing.assert_allclose(squared[:, [2, 5]], distances[:, [3, 6]] ** 2, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_origin(dtype: npt.DTypeLike) -> None:
    """The mean is 1000 times the spread; without taking it off float32 has no digit left."""
    features = (1000 + _random(1).standard_normal((80, 20))).astype(dtype)
    squared, _ = nearest(_points(features), 5, sharp=(5,))
    np.testing.assert_allclose(squared[:, 4], _true_nearest(features, 5)[:, 4], rtol=1e-12)


def test_duplicates_lie_at_0() -> None:
    random = _random(2)
    features = random.standard_normal((30, 50))[random.integers(0, 30, 90)] * 7
    squared, rows = nearest(_points(features), 5, sharp=(3,))
    expected = _true_nearest(features, 5)
    assert (expected == 0).any()
    assert ((squared == 0) == (expected == 0)).all()
    assert (rows != np.arange(90)[:, None]).all()
    np.testing.assert_allclose(squared, expected, rtol=1e-5)


def test_more_duplicates_than_are_kept() -> None:
    features = np.repeat(_random(3).standard_normal((4, 8)), 50, axis=0)
    squared, rows = nearest(_points(features), 5, sharp=(3, 5))
    assert (squared == 0).all()
    assert (rows != np.arange(200)[:, None]).all()
    assert (rows // 50 == np.arange(200)[:, None] // 50).all()
    assert all(len(set(row)) == 5 for row in rows.tolist())


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_tight_clusters_far_apart(spread: float) -> None:
    """Within a cluster of more images than are kept, float32 cannot tell the order of distances at all."""
    random = _random(4)
    features = np.repeat(10 * random.standard_normal((3, 16)), 70, axis=0) + spread * random.standard_normal((210, 16))
    squared, _ = nearest(_points(features), 5, sharp=(3, 5), block=64)
    np.testing.assert_allclose(squared[:, [2, 4]], _true_nearest(features, 5)[:, [2, 4]], rtol=1e-9)


def test_one_image_far_out_does_not_blur_the_others() -> None:
    """Rounding is relative to the largest norm; an outlier makes every distance doubtful, and none wrong."""
    features = _random(5).standard_normal((150, 10))
    features[17] *= 1e4
    squared, _ = nearest(_points(features), 3, sharp=(3,))
    np.testing.assert_allclose(squared[:, 2], _true_nearest(features, 3)[:, 2], rtol=1e-12)


def test_too_few_points() -> None:
    with pytest.raises(ValueError, match="4 neighbours need more than 4 points, got 4"):
        nearest(_points(np.eye(4)), 4, sharp=(4,))


def test_all_others_are_neighbours_where_there_are_no_more() -> None:
    features = _random(6).standard_normal((6, 3))
    squared, rows = nearest(_points(features), 5, sharp=(1,))
    np.testing.assert_allclose(squared, _true_nearest(features, 5), rtol=1e-5)
    assert all(set(row) == set(range(6)) - {own} for own, row in enumerate(rows.tolist()))


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_pairs_within_reach_of_either(block: int) -> None:
    random = _random(7)
    x, y = random.standard_normal((25, 4)), random.standard_normal((33, 4))
    centre = np.zeros(4)
    reach, other = random.uniform(0.1, 4, 25), random.uniform(0.1, 4, 33)
    pairs = within_reach(points(x, centre), reach, points(y, centre), other, (reach[None], other[None]), block)
    squared = cdist(x, y, "sqeuclidean")
    expected = {(int(i), int(j)) for i, j in zip(*np.nonzero(squared <= np.maximum.outer(reach, other)), strict=True)}
    kept = pairs.squared <= np.maximum(reach[pairs.rows], other[pairs.columns])
    assert set(zip(pairs.rows[kept].tolist(), pairs.columns[kept].tolist(), strict=True)) == expected
    assert len(set(zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True))) == len(pairs.rows)
    np.testing.assert_allclose(pairs.squared, squared[pairs.rows, pairs.columns], rtol=1e-5)


def test_a_point_on_the_surface_is_within() -> None:
    """The 5th neighbour of every image itself stands on the surface of its ball, of radius the square root of 3s."""
    features = _random(8).standard_normal((70, 40)).astype(np.float32)
    cloud = _points(features)
    squared, rows = nearest(cloud, 5, sharp=(5,))
    radius = squared[:, 4]
    pairs = within_reach(cloud, radius, cloud, np.full(70, -1.0), (radius[None], radius[None]))
    inside = np.zeros((70, 70), dtype=bool)
    inside[pairs.rows, pairs.columns] = pairs.squared <= radius[pairs.rows]
    assert inside.diagonal().all()
    # Itself and five neighbours, no fewer and no more.
    assert (inside.sum(axis=1) == 6).all()
    assert inside[np.arange(70)[:, None], rows].all()


def test_members_of_no_ball_reach_nothing() -> None:
    x, y = np.zeros((3, 2)), np.ones((4, 2))
    nobody = np.full(3, -1.0), np.full(4, -1.0)
    pairs = within_reach(_points(x), nobody[0], _points(y), nobody[1], (nobody[0][None], nobody[1][None]))
    # What rounding lets through has its exact distance of 0, and -1 is below that.
    assert not (pairs.squared <= -1.0).any()


def test_blocks_cover_everything_once() -> None:
    assert [*range(10)] == [i for part in slices(10, 4) for i in range(part.start, part.stop)]
    x = _points(np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert squared_block(x, slice(None), x, slice(None)).tolist() == [[0.0, 25.0], [25.0, 0.0]]
    assert x.rows.dtype == torch.float32


def test_rounding_stays_within_its_room() -> None:
    """What nearest() counts on: 2 ROUNDING (|x|^2 + |y|^2), here with room to spare, in 2048 dimensions."""
    random = _random(9)
    scale = np.sqrt(5 / random.chisquare(5, (300, 1)))
    features = np.maximum(scale * random.standard_normal((300, 2048)), 0).astype(np.float32)
    cloud = _points(features)
    gap = squared_block(cloud, slice(None), cloud, slice(None)).numpy() - cdist(features, features, "sqeuclidean")
    norms = cloud.norms.numpy().astype(np.float64)
    share = np.abs(gap) / (2 * ROUNDING * np.add.outer(norms, norms))
    assert 0.001 < share.max() < 0.5
