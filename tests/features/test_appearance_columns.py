"""Appearance of images: columns worked out by hand, and the same however the images are grouped."""

import numpy as np
import pytest

import diffeval.features.appearance
from diffeval.features.appearance import appearance


def test_columns_of_two_images_worked_out_by_hand() -> None:
    """One of pure red, one half black and half white: of x, 0 is -1 and 255 is 1."""
    red, halves = np.zeros((3, 2, 2), dtype=np.uint8), np.zeros((3, 2, 2), dtype=np.uint8)
    red[0], halves[:, 0] = 255, 255
    found = appearance(np.stack([red, halves]))
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 1, 0, 0, 0, 1, -1, -1], [1, 0, 1, 1, 1, 0, 0, 0]]


def test_grey_levels_between_are_no_extremes() -> None:
    """|x| is above 0.98 up to level 2 and from 253 on: 2.55 is where x is -0.98."""
    images = np.array([2, 3, 252, 253], dtype=np.uint8).reshape(4, 1, 1, 1)
    assert appearance(images)[:, 0].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("values", [1, 1000, 1 << 18])
@pytest.mark.parametrize("shape", [(7, 1, 8, 8), (5, 3, 32, 20), (3, 3, 300, 310)])
@pytest.mark.parametrize("last", [False, True])
def test_groups_change_no_bit(
    shape: tuple[int, int, int, int], values: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against all images at once; also where channels lie last in memory, as in files."""
    random = np.random.Generator(np.random.Philox(0))
    images = random.integers(0, 256, shape, dtype=np.uint8)
    if last:
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    monkeypatch.setattr(diffeval.features.appearance, "VALUES", 1 << 40)
    whole = appearance(images)
    monkeypatch.setattr(diffeval.features.appearance, "VALUES", values)
    assert np.array_equal(appearance(images), whole)


def test_no_images_have_no_rows() -> None:
    assert appearance(np.zeros((0, 3, 4, 4), dtype=np.uint8)).shape == (0, 8)
