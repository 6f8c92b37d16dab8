"""Nearest training images are those of all distances written out; duplicates and copies are at 0."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from diffeval.metrics.nearest_training import Chunks, Nearest, nearest_training

Floats = npt.NDArray[np.floating]


def _draw(seed: int, n: int, d: int) -> Floats:
    return np.random.Generator(np.random.Philox(seed)).standard_normal((n, d))


def _in_parts(training: Floats, size: int) -> Chunks:
    def chunks() -> Iterable[tuple[npt.NDArray[np.int64], Floats]]:
        for start in range(0, len(training), size):
            rows = np.arange(start, min(start + size, len(training)))
            yield rows, training[rows]

    return chunks


def _written_out(views: list[Floats], training: Floats, k: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    far = np.stack([np.linalg.norm(view[:, None] - training[None], axis=2) for view in views]).min(axis=0)
    order = np.argsort(far, axis=1)[:, :k]
    return np.take_along_axis(far, order, axis=1), order


@pytest.mark.parametrize("size", [7, 50, 1000])
@pytest.mark.parametrize("views", [1, 3])
def test_neighbours_are_those_of_all_distances(size: int, views: int) -> None:
    training, images = _draw(1, 230, 12).astype(np.float32), [_draw(2 + one, 40, 12) for one in range(views)]
    images = [one.astype(np.float32) for one in images]
    found = nearest_training(images, _in_parts(training, size), 6)
    distances, rows = _written_out([one.astype(np.float64) for one in images], training.astype(np.float64), 6)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
    assert (found.rows == rows).all()
    for image in range(40):
        nearest, view = training[rows[image, 0]], images[found.views[image, 0]][image]
        assert np.linalg.norm(view.astype(np.float64) - nearest) == pytest.approx(distances[image, 0])


def test_an_image_is_not_its_own_neighbour() -> None:
    training = _draw(1, 60, 5).astype(np.float32)
    own = np.array([3, 40, 59])
    found = nearest_training([training[own]], _in_parts(training, 16), 2, own=own)
    far = np.linalg.norm(training[own].astype(np.float64)[:, None] - training[None], axis=2)
    far[np.arange(3), own] = np.inf
    np.testing.assert_allclose(found.distances, np.sort(far, axis=1)[:, :2], rtol=1e-6)
    assert not (found.rows == own[:, None]).any()


def test_a_copy_far_from_the_middle_is_at_distance_0() -> None:
    """In float32 its squared norm, 10^10, leaves no digit for the distance."""
    training = (_draw(1, 30, 8) + 1e5).astype(np.float32)
    found = nearest_training([training[[4, 9]]], _in_parts(training, 8), 3)
    assert (found.distances[:, 0] == 0).all()
    assert list(found.rows[:, 0]) == [4, 9]


def test_the_ratio_by_hand() -> None:
    """1 over the mean of 2 and 6; and nothing can be told where all is at 0."""
    rows = np.zeros((2, 3), dtype=np.int64)
    found = Nearest(np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]]), rows, rows)
    assert list(found.ratios) == [0.25, 1.0]


def test_too_few_training_images_are_an_error() -> None:

    with pytest.raises(ValueError, match="6 nearest training images are needed, and there are 5"):
        nearest_training([_draw(0, 4, 3)], _in_parts(_draw(1, 5, 3), 2), 6)
