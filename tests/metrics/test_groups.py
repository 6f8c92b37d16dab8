import numpy as np
import pytest

from diffeval.diffusion.conditions import balanced_labels
from diffeval.metrics.groups import Groups, leave_out_groups, mean_error


def _taken(groups: Groups, n: int) -> np.ndarray:
    """Weight that each group takes from each image, [G, n]."""
    taken = np.zeros((len(groups), n))
    for row, (index, weight) in enumerate(zip(groups.index, groups.weight, strict=True)):
        np.add.at(taken[row], index, weight)
    return taken


@pytest.mark.parametrize(("n", "classes"), [(1000, 10), (1003, 10), (777, 7), (5000, 100)])
def test_every_group_takes_the_same_share_of_every_class(n: int, classes: int) -> None:
    labels = balanced_labels(0, n, classes)
    groups = leave_out_groups(n, labels)
    taken = _taken(groups, n)
    sizes = np.bincount(labels)
    assert groups.balanced
    assert len(groups) == sizes.min()
    for label, size in enumerate(sizes):
        np.testing.assert_allclose(taken[:, labels == label].sum(axis=1), size / len(groups), rtol=1e-12)


def test_every_image_is_in_one_group() -> None:
    labels = np.repeat([0, 1, 2], [11, 40, 17])
    groups = leave_out_groups(68, labels)
    assert ((_taken(groups, 68) > 0).sum(axis=0) == 1).all()
    assert len(groups) == 11
    # 40 images in 11 groups are 3 or 4 of each, weighted to 40/11.
    assert set(np.round(groups.weight[groups.weight > 0], 6)) == {
        1.0,
        round(40 / 11 / 3, 6),
        round(40 / 11 / 4, 6),
        round(17 / 11, 6),
        round(17 / 11 / 2, 6),
    }


def test_one_image_of_each_class_where_they_are_balanced() -> None:
    labels = balanced_labels(0, 120, 4)
    groups = leave_out_groups(120, labels)
    assert groups.index.shape == (30, 4)
    assert (groups.weight == 1).all()
    assert (np.sort(labels[groups.index], axis=1) == np.arange(4)).all()


def test_without_labels_every_image_is_a_group() -> None:
    groups = leave_out_groups(12, None)
    assert groups.index[:, 0].tolist() == list(range(12))
    assert (groups.weight == 1).all()


def test_few_images_per_class_give_contiguous_blocks() -> None:
    groups = leave_out_groups(99, balanced_labels(0, 99, 20))
    assert not groups.balanced
    assert len(groups) == 10
    np.testing.assert_allclose(groups.weight.sum(axis=1), 9.9)
    held = [index[weight > 0] for index, weight in zip(groups.index, groups.weight, strict=True)]
    assert np.concatenate(held).tolist() == list(range(99))


def test_error_of_a_mean() -> None:
    # Without labels: variance of 1, 2, 3, 6 is 14/3, over 4 -> sqrt(14/12).
    terms = np.array([1.0, 2.0, 3.0, 6.0])
    assert mean_error(terms, None) == pytest.approx(np.sqrt(14 / 12))
    # Classes {1, 3} and {2, 6}: variances 2 and 8; sqrt(2 * 2 + 2 * 8) / 4.
    assert mean_error(terms, np.array([0, 1, 0, 1])) == pytest.approx(np.sqrt(20) / 4)
    # A class of one image: treated as one sample.
    assert mean_error(terms, np.array([0, 0, 0, 1])) == pytest.approx(np.sqrt(14 / 12))
