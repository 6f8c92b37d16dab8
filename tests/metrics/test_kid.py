"""Values worked by hand, and the full U-statistic in its defining form."""

import numpy as np
import pytest

from diffeval.metrics.kid import kid, polynomial_kernel
from diffeval.metrics.metric import Array, FeatureSet


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _value(generated: Array, reference: Array, independent: bool = True) -> float:
    value = kid(FeatureSet(generated), FeatureSet(reference), independent)[0].value
    assert value is not None
    return value


def test_by_hand() -> None:
    # d = 1, x = {0, 1}, y = {2, 3}: k(0, 1) = 1; k(2, 3) = 7^3 = 343;
    # k(0, 2) = k(0, 3) = 1, k(1, 2) = 27, k(1, 3) = 64: mean 93/4. So 1 + 343 - 2 * 93/4 = 297.5.
    assert _value(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])) == pytest.approx(297.5, rel=1e-12)


def test_is_the_u_statistic_over_all_pairs_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffeval.metrics.kid.BLOCK", 7)
    random = _random(1)
    x, y = random.standard_normal((20, 4)), random.standard_normal((16, 4)) + 0.5
    within = [
        (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (polynomial_kernel(x, x), polynomial_kernel(y, y))
    ]
    assert _value(x, y) == pytest.approx(sum(within) - 2 * polynomial_kernel(x, y).mean(), rel=1e-12)


def test_agrees_with_torch_fidelity_on_one_subset_of_all() -> None:
    from torch_fidelity.metric_kid import mmd2  # 0.4.0

    random = _random(2)
    x, y = random.standard_normal((30, 5)), random.standard_normal((30, 5)) + 0.2
    theirs = mmd2(polynomial_kernel(x, x), polynomial_kernel(x, y), polynomial_kernel(y, y))
    assert _value(x, y) == pytest.approx(float(theirs), rel=1e-9)


def test_symmetric_and_unbiased() -> None:
    random = _random(3)
    values = [_value(random.standard_normal((40, 3)), random.standard_normal((50, 3))) for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    x, y = random.standard_normal((40, 3)), random.standard_normal((50, 3)) + 1
    assert _value(x, y) == pytest.approx(_value(y, x), rel=1e-12)


@pytest.mark.parametrize("independent", [True, False])
def test_standard_error_covers_the_scatter(independent: bool) -> None:
    random = _random(4)
    fixed = random.standard_normal((200, 3))
    values, errors = [], []
    for _ in range(150):
        reference = random.standard_normal((200, 3)) if independent else fixed
        estimate = kid(FeatureSet(random.standard_normal((100, 3)) * 1.3 + 0.5), FeatureSet(reference), independent)[0]
        values.append(estimate.value)
        errors.append(estimate.std_error)
    ratio = np.mean(errors) / np.std(values, ddof=1)  # type: ignore[arg-type]
    # 150 repeats know the scatter to 6%.
    assert 0.8 < ratio < 1.25


@pytest.mark.parametrize("n", [20, 60, 200])
def test_unbiased_for_balanced_classes_at_every_n(n: int) -> None:
    """Two far-apart classes, balanced on both sides, the same law: 0 is expected; a plain U-statistic is below."""
    random = _random(6)
    labels = np.arange(n) % 2
    values, plain = [], []
    for _ in range(200):
        x, y = (random.standard_normal((n, 2)) + 3.0 * labels[:, None] for _ in range(2))
        values.append(kid(FeatureSet(x, labels), FeatureSet(y, labels), True)[0].value)
        plain.append(_value(x, y))
    error = np.std(values) / np.sqrt(len(values))  # type: ignore[arg-type]
    assert abs(np.mean(values)) < 4 * error  # type: ignore[arg-type]
    assert np.mean(plain) < -4 * error
