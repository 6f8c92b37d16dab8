"""The null by brute force: the statistic computed anew on images that have changed sides."""

import numpy as np
import numpy.typing as npt
import pytest

from diffeval.metrics.kid import kid
from diffeval.metrics.metric import FeatureSet
from diffeval.metrics.permutation import exchange, exchanges, make_pool, products, statistics

Labels = npt.NDArray[np.int64]


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("labels", [None, np.arange(14) % 3])
def test_null_is_the_statistic_of_exchanged_images(labels: Labels | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffeval.metrics.kernel.BLOCK", 5)
    random = _random(13)
    ours = FeatureSet(random.standard_normal((14, 3)), labels)
    theirs = FeatureSet(random.standard_normal((17, 3)) + 1, None if labels is None else np.arange(17) % 3)
    pool = make_pool(ours, theirs)
    chosen = np.column_stack([pool.generated, exchanges(pool, 6), np.ones(31)]).astype(np.float64)
    for column, found in zip(chosen.T, statistics(pool, chosen, *products(pool, chosen)), strict=False):
        sides = [
            FeatureSet(pool.features[one], None if labels is None else pool.codes[one])
            for one in (column == 1, column == 0)
        ]
        assert found == pytest.approx(kid(*sides, True)[0].value, rel=1e-10)
    observed = statistics(pool, chosen, *products(pool, chosen))[0]
    assert observed == pytest.approx(kid(ours, theirs, True)[0].value, rel=1e-10)


def test_exchange_by_hand() -> None:
    # x = {0, 1}, y = {2, 3} reads 297.5; {0, 2} against {1, 3} and {0, 3} against {1, 2} read, by the same count,
    # 1 + 64 - (1 + 1 + 27 + 343) / 2 = -121 and 1 + 27 - (1 + 1 + 64 + 343) / 2 = -176.5. All three sum to 0.
    pool = make_pool(FeatureSet(np.array([[0.0], [1.0]])), FeatureSet(np.array([[2.0], [3.0]])))
    chosen = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]).T
    chosen = np.column_stack([chosen, np.ones(4)]).astype(np.float64)
    found = statistics(pool, chosen, *products(pool, chosen))
    assert found == pytest.approx([297.5, -121.0, -176.5], rel=1e-12)
    exchanged = exchange(pool, np.zeros(4))
    # A third of the exchanges leave the sides as they are (or swap them).
    assert 0.2 < exchanged.p_value < 0.5
    assert (exchanged.null.n, exchanged.reference_n) == (2, 2)


def test_exchange_keeps_the_shares_of_classes() -> None:
    ours = FeatureSet(np.zeros((9, 1)), np.array([0, 0, 0, 0, 0, 1, 1, 2, 2]))
    theirs = FeatureSet(np.ones((8, 1)), np.array([1, 1, 1, 1, 1, 0, 3, 3]))
    pool = make_pool(ours, theirs)
    chosen = exchanges(pool, 50)
    for code, size in enumerate((5, 2, 2, 0)):
        assert (chosen[pool.codes == code].sum(axis=0) == size).all()
    # Classes 0 and 1 are on both sides: their images do change places.
    assert 0 < chosen[(pool.codes == 1) & pool.generated].mean() < 1
    assert len(np.unique(chosen, axis=1).T) > 20


def test_exchange_disregards_labels_that_the_sides_do_not_share() -> None:
    ours = FeatureSet(np.zeros((4, 1)), np.zeros(4, dtype=np.int64))
    for labels in (None, np.full(4, 9)):
        assert (make_pool(ours, FeatureSet(np.ones((4, 1)), labels)).codes == 0).all()


def test_p_value_is_uniform_where_images_are_real_and_small_where_not() -> None:
    random, found = _random(14), []
    labels = np.arange(20) % 2
    for _ in range(200):
        x, y = (random.standard_normal((20, 2)) + 3 * labels[:, None] for _ in range(2))
        found.append(kid(FeatureSet(x, labels), FeatureSet(y, labels), True)[0].params["p_value"])
    for level in (0.1, 0.25, 0.5):
        # Binomial with 200 trials: 4 standard deviations are at most 0.14.
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=4 * (level * (1 - level) / 200) ** 0.5)
    far = kid(FeatureSet(x + 2, labels), FeatureSet(y, labels), True)[0]
    assert far.params["p_value"] == 1 / 201


def test_null_has_the_mean_and_scatter_of_real_images() -> None:
    random, values, nulls = _random(15), [], []
    for _ in range(200):
        estimate = kid(FeatureSet(random.standard_normal((30, 2))), FeatureSet(random.standard_normal((40, 2))), True)[
            0
        ]
        values.append(estimate.value)
        nulls.append(estimate.null)
    found = [(null.value, null.std_error) for null in nulls if null is not None and null.std_error is not None]
    mean, scatter = np.mean(found, axis=0)
    assert abs(mean) < 0.1 * np.std(values)  # type: ignore[arg-type]
    assert scatter == pytest.approx(np.std(values), rel=0.2)  # type: ignore[arg-type]


def test_null_of_many_images_takes_some_of_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffeval.metrics.permutation.CAP", 20)
    random, labels = _random(16), np.repeat([0, 1], [60, 30])
    ours, theirs = (FeatureSet(random.standard_normal((90, 2)), labels) for _ in range(2))
    pool = make_pool(ours, theirs)
    assert [int((pool.codes[side] == 0).sum()) for side in (pool.generated, ~pool.generated)] == [14, 14]
    estimate = kid(ours, theirs, True)[0]
    assert estimate.null is not None
    assert estimate.null.n == 20
    assert estimate.params["null_reference_n"] == 20
