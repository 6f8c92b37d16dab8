"""Realism by hand on points of a line, and in many dimensions against the definition."""

import numpy as np
import pytest

from diffeval.metrics.realism import K, balls_of, likeness

# Distances to the third neighbour: 3, 2, 2, 3 of the close ones; the lonely one's ball is the largest, and left out.
LINE = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])


def test_radii_reach_to_the_third_neighbour_and_wide_balls_do_not_count() -> None:
    # 0: 3; 1: 2 (0 and 2 at 1, 3 at 2); 2: 2; 3: 3; 100: 99. The median is 3.
    assert balls_of(LINE).squared.tolist() == [9.0, 4.0, 4.0, 9.0, 0.0]


def test_realism_by_hand() -> None:
    images = np.array([[1.5], [-3.0], [100.0], [9.0], [3.0]])
    found = likeness(images, balls_of(LINE))
    # 1.5: radius 2 of 1 at 0.5; -3: radius 3 of 0 at 3; 100, a copy of the lonely one, whose ball is left out: radius
    # 3 of 3 at 97; 9: radius 3 of 3 at 6; 3: a copy.
    assert found.realism == pytest.approx([4.0, 1.0, 3 / 97, 0.5, np.inf])
    assert found.rows[:, 0].tolist() == [1, 0, 4, 3, 3]
    assert found.distances[1].tolist() == [3.0, 4.0, 5.0]
    assert found.distances[2, 0] == 0.0


def test_blocks_give_the_definition() -> None:
    random = np.random.Generator(np.random.Philox(5))
    real, images = random.normal(size=(70, 6)) + 40.0, random.normal(size=(50, 6)) + 40.5
    images[7] = real[30]
    between = np.linalg.norm(real[:, None] - real, axis=2)
    radii = np.sort(between, axis=1)[:, K]
    kept = radii <= np.median(radii)
    distances = np.linalg.norm(images[:, None] - real, axis=2)
    with np.errstate(divide="ignore"):
        expected = (radii[kept] / distances[:, kept]).max(axis=1)
    found = likeness(images, balls_of(real), block=16)
    np.testing.assert_allclose(found.realism, expected, rtol=1e-9)
    np.testing.assert_array_equal(found.rows, np.argsort(distances, axis=1)[:, :3])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :3], atol=1e-9)


def test_too_few_real_images_have_no_balls() -> None:
    with pytest.raises(ValueError, match="3 neighbours need more than 3 points"):
        balls_of(LINE[:3])
