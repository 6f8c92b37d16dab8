"""Closed forms, the eigenvalues that define it, and independent redraws."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from diffeval.metrics.metric import Estimate, FeatureSet
from diffeval.metrics.vendi import bandwidth, diversity, vendi


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _estimates(generated: FeatureSet, reference: FeatureSet) -> dict[str, Estimate]:
    return {one.name: one for one in vendi(generated, reference, True)}


@pytest.mark.parametrize("groups", [1, 4, 25])
def test_groups_of_equals_far_apart_count_as_one_each(groups: int) -> None:
    features = 1000.0 * np.eye(groups)[np.arange(100) % groups]
    assert diversity(features, 1.0).value == pytest.approx(groups, rel=1e-5)


def test_unequal_groups_by_hand() -> None:
    """Shares of 1/2, 1/4 and 1/4: 1 / (1/4 + 1/16 + 1/16)."""
    features = 1000.0 * np.eye(3)[[0, 0, 1, 2] * 25]
    assert diversity(features, 1.0).value == pytest.approx(8 / 3, rel=1e-5)


def test_two_points_by_hand() -> None:
    """Half at 0, half at 3, bandwidth 2: k = exp(-9/8), so 1 / (1/2 + exp(-9/4) / 2)."""
    features = np.array([[0.0], [3.0]])[np.arange(60) % 2]
    assert diversity(features, 2.0).value == pytest.approx(2 / (1 + np.exp(-9 / 4)), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(80, 3), (120, 40)])
@pytest.mark.parametrize("block", [7, 4096])
def test_is_the_entropy_of_the_eigenvalues(n: int, d: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exp of the Renyi entropy of order 2 of the eigenvalues of K / n."""
    monkeypatch.setattr("diffeval.metrics.vendi.BLOCK", block)
    features = 5 + _random(n).standard_normal((n, d))
    width = 0.5 * float(np.median(cdist(features, features)))
    eigenvalues = np.linalg.eigvalsh(np.exp(-cdist(features, features, "sqeuclidean") / (2 * width**2)) / n)
    assert eigenvalues.sum() == pytest.approx(1.0)
    expected = np.exp(-np.log((eigenvalues**2).sum()))
    assert diversity(features, width).value == pytest.approx(expected, rel=1e-5)
    assert 1 < expected < n


def test_bandwidth_is_half_the_median_distance_of_pairs() -> None:
    features = _random(0).standard_normal((90, 6))
    expected = np.median(cdist(features, features)[np.triu_indices(90, 1)])
    assert bandwidth(FeatureSet(features)) == pytest.approx(0.5 * expected, rel=1e-4)
    with pytest.raises(ValueError, match="most real images have the same features"):
        bandwidth(FeatureSet(np.ones((60, 2))))


@pytest.mark.parametrize("labelled", [False, True])
def test_error_is_the_scatter_of_redraws(labelled: bool) -> None:
    random, labels = _random(1), np.arange(160) % 4
    found = []
    for _ in range(150):
        drawn = labels if labelled else random.integers(0, 4, 160)
        features = 4 * np.eye(4)[drawn] + 0.7 * random.standard_normal((160, 4))
        found.append(diversity(features, 1.0, labels if labelled else None))
    ratio = np.mean([one.std_error for one in found]) / np.std([one.value for one in found], ddof=1)
    # 150 redraws know the scatter to 6%.
    assert 0.8 < ratio < 1.25


def test_repeats_read_below_the_real_value_and_noise_above() -> None:
    random = _random(2)
    real = FeatureSet(random.standard_normal((300, 5)))
    few = FeatureSet(real.features[random.integers(0, 10, 300)])
    wide = FeatureSet(2 * random.standard_normal((300, 5)))
    low, high = (_estimates(images, real)["vendi"] for images in (few, wide))
    assert low.null is not None
    assert low.null.value == pytest.approx(diversity(real.features, bandwidth(real)).value, rel=1e-6)
    assert low.value is not None
    assert high.value is not None
    # Ten different images cannot count as more than ten.
    assert 1 < low.value <= 10 < low.null.value < high.value


def test_both_sides_have_equally_many() -> None:
    random = _random(3)
    for n, m in ((100, 300), (300, 100)):
        found = _estimates(FeatureSet(random.standard_normal((n, 3))), FeatureSet(random.standard_normal((m, 3))))
        assert found["vendi"].params["n_used"] == 100
        assert found["vendi"].null is not None
        assert found["vendi"].null.n == 100


def _classes(kinds: int, n: int = 120) -> FeatureSet:
    """Three classes far apart, each of so many different images, in balance."""
    labels = np.arange(n) % 3
    features = np.hstack([1000.0 * np.eye(3)[labels], 100.0 * np.eye(8)[np.arange(n) // 3 % kinds]])
    return FeatureSet(features, labels, None, ("a", "b", "c"))


def test_within_classes_is_the_mean_over_them() -> None:
    """Of 8 kinds of images in each class on one side, 2 on the other: the whole counts 24 and 6, a class 8 and 2."""
    real, poor = _classes(8), _classes(2)
    # Different images are 141 apart, classes 1414: half the median would take a class for one image.
    real.once("vendi bandwidth", lambda: 10.0)
    found = _estimates(poor, real)
    assert found["vendi"].value == pytest.approx(6.0, rel=1e-4)
    within = found["vendi_within_class"]
    assert within.value == pytest.approx(2.0, rel=1e-4)
    assert within.null is not None
    assert within.null.value == pytest.approx(8.0, rel=0.02)
    assert within.params["n_per_class"] == 40


def test_a_class_that_repeats_itself_shows_within_classes() -> None:
    random, labels = _random(5), np.arange(300) % 3
    centres = 6 * np.eye(3)[labels]
    real = FeatureSet(centres + random.standard_normal((300, 3)), labels, None, ("a", "b", "c"))
    ours = centres + random.standard_normal((300, 3))
    ours[labels == 0] = ours[0]
    found = _estimates(FeatureSet(ours, labels, None, ("a", "b", "c")), real)["vendi_within_class"]
    assert found.value is not None
    assert found.null is not None
    assert found.std_error is not None
    assert found.value < found.null.value - 4 * found.std_error


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        (("a", "x"), np.arange(100) % 2, "the same classes on both sides"),
        (("a", "b"), np.minimum(np.arange(100), 1), "10 images of every class"),
        ((), None, "the same classes on both sides"),
    ],
)
def test_without_common_classes_the_whole_is_still_there(
    classes: tuple[str, ...], labels: np.ndarray | None, message: str
) -> None:
    """The one that cannot be computed is there with its reason, so that who asks for it by name is told."""
    random = _random(6)
    real = FeatureSet(random.standard_normal((100, 3)), np.arange(100) % 2, None, ("a", "b"))
    found = _estimates(FeatureSet(random.standard_normal((100, 3)), labels, None, classes), real)
    assert found["vendi"].value is not None
    assert found["vendi_within_class"].value is None
    assert message in str(found["vendi_within_class"].params["error"])


def test_too_few() -> None:
    with pytest.raises(ValueError, match="vendi needs 50 images of each side, and has 60 and 40"):
        vendi(FeatureSet(np.eye(60)), FeatureSet(np.eye(40)), True)
