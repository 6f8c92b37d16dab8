"""Whether a mode is whole: distances within it, and images that are the same."""

import numpy as np
import pytest

from diffeval.metrics.within_mode import repeats, spread


def drawn(n: int, key: int, d: int = 8) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key)).standard_normal((n, d))


def test_two_samples_of_one_distribution_are_as_wide() -> None:
    found = spread(drawn(300, 0), drawn(150, 1))
    assert found is not None
    assert found.low < 1 < found.high
    assert not found.collapsed


def test_a_mode_at_a_third_of_its_size_has_a_third_of_the_distances() -> None:
    found = spread(drawn(200, 0) / 3, drawn(200, 1))
    assert found is not None
    assert found.ratio == pytest.approx(1 / 3, rel=0.1)
    assert found.collapsed


def test_three_images_that_are_repeated_are_collapsed_and_counted() -> None:
    three = drawn(3, 0)[np.arange(300) % 3]
    found = spread(three, drawn(300, 1))
    assert found is not None
    assert found.ratio == 0.0
    assert found.collapsed
    same = repeats(three, drawn(300, 1))
    assert same.generated == 3 * (100 * 99) // 2
    assert same.real == 0
    assert same.support == pytest.approx(3.0, rel=0.02)


def test_few_images_say_nothing_of_a_mode() -> None:
    assert spread(drawn(9, 0), drawn(100, 1)) is None


def test_the_birthday_estimate_finds_how_many_images_there_are() -> None:
    random = np.random.Generator(np.random.Philox(5))
    images = drawn(2000, 0)[random.integers(0, 2000, 1000)]
    same = repeats(images, drawn(1000, 1))
    assert same.searched == 1000
    assert same.support == pytest.approx(2000, rel=0.25)


def test_without_repeats_the_support_is_not_known() -> None:
    assert repeats(drawn(500, 0), drawn(500, 1)).support is None


def test_the_order_of_the_files_does_not_matter() -> None:
    """Real images lie sorted: first a hundred that are nearly alike, then the others."""
    mixed = np.concatenate([0.01 * drawn(300, 2), 5 + drawn(2700, 3)])
    random = np.random.Generator(np.random.Philox(9))
    ours = np.concatenate([0.01 * drawn(100, 4), 5 + drawn(900, 5)])[random.permutation(1000)]
    assert repeats(ours, mixed).support is None
    found = spread(ours, mixed)
    assert found is not None
    assert found.low < 1 < found.high
