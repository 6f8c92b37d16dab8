import numpy as np
import pytest

from diffeval.diffusion.conditions import balanced_labels
from diffeval.metrics.groups import jackknife_groups, mean_error


@pytest.mark.parametrize(("n", "classes"), [(1000, 10), (1003, 10), (777, 7), (5000, 100)])
def test_every_group_holds_every_class_in_its_share(n: int, classes: int) -> None:
    labels = balanced_labels(0, n, classes)
    groups = jackknife_groups(n, labels, 10)
    table = np.zeros((10, classes), dtype=int)
    np.add.at(table, (groups, labels), 1)
    assert table.max() - table.min() <= 1
    sizes = np.bincount(groups, minlength=10)
    assert sizes.max() - sizes.min() <= 1


def test_few_images_per_class_give_contiguous_blocks() -> None:
    groups = jackknife_groups(99, balanced_labels(0, 99, 10), 10)
    assert (np.diff(groups) >= 0).all()
    assert set(np.bincount(groups)) == {9, 10}


def test_without_labels_groups_are_interleaved() -> None:
    assert jackknife_groups(12, None, 10).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_error_of_a_mean() -> None:
    # Without labels: variance of 1, 2, 3, 6 is 14/3, over 4 -> sqrt(14/12).
    terms = np.array([1.0, 2.0, 3.0, 6.0])
    assert mean_error(terms, None) == pytest.approx(np.sqrt(14 / 12))
    # Classes {1, 3} and {2, 6}: variances 2 and 8; sqrt(2 * 2 + 2 * 8) / 4.
    assert mean_error(terms, np.array([0, 1, 0, 1])) == pytest.approx(np.sqrt(20) / 4)
    # A class of one image: treated as one sample.
    assert mean_error(terms, np.array([0, 0, 0, 1])) == pytest.approx(np.sqrt(14 / 12))
