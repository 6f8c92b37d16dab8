"""Counts by hand, and SciPy's intervals and tests."""

import numpy as np
import pytest
from scipy.stats import binomtest

from diffeval.metrics.class_accuracy import class_accuracy, hits, wilson
from diffeval.metrics.metric import Estimate, FeatureSet, LackingError

NAMES = ("cat", "dog", "owl")


def _images(taken: list[int], made: list[int], logit_classes: tuple[str, ...] = NAMES) -> FeatureSet:
    """Images that the classifier takes for ``taken`` and that were made as ``made``."""
    logits = np.eye(len(logit_classes))[taken] - 5.0
    return FeatureSet(np.zeros((len(made), 1)), np.array(made), logits, NAMES, logit_classes)


def _score(images: FeatureSet) -> Estimate:
    return class_accuracy(images, FeatureSet(np.zeros((0, 1))), True)[0]


def test_counts_by_hand() -> None:
    found = _score(_images([0, 0, 1, 2, 2, 2, 0, 1], [0, 0, 0, 0, 2, 2, 2, 1]))
    assert found.value == 5 / 8
    assert found.terms["term"].tolist() == [1, 1, 0, 0, 1, 1, 0, 1]
    assert found.higher_is_better


def test_classes_are_matched_by_name_not_by_number() -> None:
    """The classifier lists them in another order, and knows more."""
    known = ("owl", "fox", "cat", "dog")
    assert _score(_images([2, 3, 0, 1], [0, 1, 2, 2], known)).value == 3 / 4
    np.testing.assert_array_equal(hits(_images([2, 3, 0, 1], [0, 1, 2, 2], known)), [1, 1, 1, 0])


def test_error_is_binomial_within_classes() -> None:
    """4 of 5 and 1 of 10, classes in fixed shares: sum of n_c^2 p (1 - p) / (n_c - 1), over n^2."""
    taken = [0, 0, 0, 0, 1] + [1] + [2] * 9
    found = _score(_images(taken, [0] * 5 + [1] * 10))
    variance = 5**2 * 0.8 * 0.2 / 4 + 10**2 * 0.1 * 0.9 / 9
    assert found.std_error == pytest.approx(variance**0.5 / 15, rel=1e-12)


@pytest.mark.parametrize(("hit", "n"), [(0, 20), (1, 20), (13, 40), (500, 500), (993, 1000)])
def test_interval_is_wilsons(hit: int, n: int) -> None:
    expected = binomtest(hit, n).proportion_ci(method="wilson")
    assert wilson(hit / n, n) == pytest.approx((expected.low, expected.high), abs=1e-7)
    found = _score(_images([0] * hit + [1] * (n - hit), [0] * n))
    assert found.ci95 == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_error_covers_the_scatter_of_redraws() -> None:
    random, values, errors = np.random.Generator(np.random.Philox(0)), [], []
    made = np.arange(120) % 3
    for _ in range(200):
        right = random.random(120) < np.array([0.95, 0.5, 0.8])[made]
        found = _score(_images(np.where(right, made, (made + 1) % 3).tolist(), made.tolist()))
        values.append(found.value)
        errors.append(found.std_error)
    # 200 redraws know the scatter to 5%.
    assert np.mean(errors) / np.std(values, ddof=1) == pytest.approx(1.0, abs=0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (FeatureSet(np.zeros((3, 1)), None, np.eye(3), (), NAMES), "made class by class"),
        (FeatureSet(np.zeros((3, 1)), np.arange(3), None, NAMES, ()), "needs an extractor with a classifier"),
        (
            _images([0, 1], [0, 1], ("cat", "dog", "fox")),
            "does not know the class 'owl', only cat, dog, fox and so on",
        ),
        (FeatureSet(np.zeros((3, 1)), np.arange(3), np.eye(3), (), NAMES), "does not know the class 'names'"),
    ],
)
def test_what_is_lacking_is_named(images: FeatureSet, message: str) -> None:
    with pytest.raises(LackingError, match=message):
        _score(images)
