"""Values worked by hand, the U-statistic and its variance in their defining form."""

import numpy as np
import numpy.typing as npt
import pytest

from diffeval.metrics.kernel import across, polynomial_kernel, side_of, within
from diffeval.metrics.kid import Spread, interval, kid
from diffeval.metrics.metric import Array, Estimate, FeatureSet
from diffeval.progress import SilentReporter
from diffeval.real import RealImages
from diffeval.scoring import Choices, score_counts
from diffeval.suite import choose

Labels = npt.NDArray[np.int64]


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
    monkeypatch.setattr("diffeval.metrics.kernel.BLOCK", 7)
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


def _centred(block: Array) -> Array:
    centred: Array = block - block.mean(axis=0) - block.mean(axis=1)[:, None] + block.mean()
    return centred


def _same_pairs(kernel: Array) -> float:
    """Mean square of the U-centred kernel of one class, without bias: Szekely and Rizzo 2014, section 3."""
    n = len(kernel)
    off = ~np.eye(n, dtype=bool)
    zeroed = kernel * off
    rows = zeroed.sum(axis=0) / (n - 2)
    centred = (zeroed - rows - rows[:, None] + zeroed.sum() / ((n - 1) * (n - 2))) * off
    return float((centred**2).sum() / (n * (n - 3)))


def _two_classes(kernel: Array) -> float:
    rows, columns = kernel.shape
    return float((_centred(kernel) ** 2).sum() / ((rows - 1) * (columns - 1)))


LABELLED = np.random.default_rng(5).permutation(np.repeat([7, 1, 4], [5, 16, 9]))


@pytest.mark.parametrize("labels", [None, LABELLED])
def test_variance_of_pairs_is_that_of_all_pairs(labels: Labels | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffeval.metrics.kernel.BLOCK", 7)
    x = _random(7).standard_normal((30, 3))
    classes = [np.arange(30)] if labels is None else [np.flatnonzero(labels == label) for label in np.unique(labels)]
    variance, double = 0.0, 0.0
    for one in classes:
        for other in classes:
            block, size = polynomial_kernel(x[one], x[other]), len(one)
            # Pairs of one class are weighted by n_a / (n_a - 1), and by n_a / (n_a - 2) in the slopes.
            weights = (size**3 / (size - 1), size**3 / (size - 2)) if one is other else (size * len(other),) * 2
            square = _same_pairs(block) if one is other else _two_classes(block)
            variance += 2 / 30**4 * weights[0] * square
            double += 4 / 30**4 * weights[1] * square
    found = within(side_of(FeatureSet(x, labels)))
    assert found.variance == pytest.approx(variance, rel=1e-10)
    assert found.double == pytest.approx(double, rel=1e-10)


def test_variance_of_pairs_across_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffeval.metrics.kernel.BLOCK", 7)
    random = _random(8)
    x, y, theirs = random.standard_normal((30, 3)), random.standard_normal((20, 3)), np.arange(20) % 2
    sides = side_of(FeatureSet(x, LABELLED)), side_of(FeatureSet(y, theirs))
    found = across(*sides, both=True)
    expected = 0.0
    for one in np.unique(LABELLED):
        for other in (0, 1):
            block = polynomial_kernel(x[one == LABELLED], y[theirs == other])
            expected += 4 / 600**2 * block.size * _two_classes(block)
    assert found.variance == pytest.approx(expected, rel=1e-10)
    kernel = polynomial_kernel(x, y)
    np.testing.assert_allclose(found.generated[sides[0].rank], kernel.mean(axis=1), rtol=1e-12)
    assert found.reference is not None
    np.testing.assert_allclose(found.reference[sides[1].rank], kernel.mean(axis=0), rtol=1e-12)


def test_small_classes_vary_as_pairs_of_two_classes_do() -> None:
    """Of twos nothing can be told within a class: one law for all, so the mean is that of larger classes."""
    random = _random(9)
    found = []
    for size in (2, 3, 10):
        draws = [
            within(side_of(FeatureSet(random.standard_normal((60, 3)), np.arange(60) % (60 // size))))
            for _ in range(60)
        ]
        # Without the classes' own weights: 2 / n^4 times (n^2 + (weight of one class - 1) * its pairs).
        pairs = 60**2 - 60 * size + 60 * size**2 / (size - 1)
        found.append(np.mean([draw.variance for draw in draws]) / pairs)
    assert found == pytest.approx([found[2]] * 3, rel=0.15)


@pytest.mark.parametrize(
    ("labels", "shift"), [(None, 0.0), (None, 0.7), (np.arange(24) % 4, 0.0), (np.arange(24) % 4, 0.7)]
)
def test_variance_is_unbiased_near_zero_and_away_from_it(labels: Labels | None, shift: float) -> None:
    """In classes of six as without any: mean of the estimate against the scatter, before it is kept above 0."""
    random, values, variances = _random(10), [], []
    for _ in range(500):
        x, y = random.standard_normal((24, 2)) + shift, random.standard_normal((24, 2))
        if labels is not None:
            x, y = x + labels[:, None], y + labels[:, None]
        ours, theirs = side_of(FeatureSet(x, labels)), side_of(FeatureSet(y, labels))
        one, other, both = within(ours), within(theirs), across(ours, theirs, both=True)
        assert both.reference is not None
        raw = sum(
            4 * sum(part[side.codes == code].var(ddof=1) * size for code, size in enumerate(side.sizes)) / 24**2
            for part, side in ((one.slopes - both.generated, ours), (other.slopes - both.reference, theirs))
        )
        variances.append(raw - one.double - other.double + one.variance + other.variance - both.variance)
        values.append(kid(FeatureSet(x, labels), FeatureSet(y, labels), True)[0].value)
    scatter = np.var(values, ddof=1)  # type: ignore[arg-type]
    # 500 repeats of skewed values know their variance to about 10%.
    assert np.mean(variances) == pytest.approx(scatter, rel=0.25)


def test_offset_is_the_kernel_less_the_centred_one() -> None:
    x = _random(11).standard_normal((9, 2))
    kernel = polynomial_kernel(x, x)
    mates = np.array([np.delete(kernel[i], i).mean() for i in range(9)])
    np.testing.assert_allclose(within(side_of(FeatureSet(x))).offset, 2 * mates - mates.mean(), rtol=1e-12)


def test_interval_holds_what_its_inequality_says() -> None:
    spread = Spread(first=0.04, second=0.01, raw=0.07)
    assert interval(1.0, spread, 0.0) == pytest.approx((1 - 1.959964 * 0.05**0.5, 1 + 1.959964 * 0.05**0.5), rel=1e-6)
    rate = 0.2
    # Third cumulant over variance: the second order gives s, the first 3 s / 2: s (1 + 0.8 / 2).
    shifted = 1.0 - (1.959964**2 - 1) / 6 * rate * 1.4
    for end in interval(1.0, spread, rate):
        assert (shifted - end) ** 2 == pytest.approx(1.959964**2 * (0.05 + rate * (end - 1.0)), rel=1e-6)
    assert interval(1.0, Spread(0.0, 0.0, 0.0), rate) == (1.0, 1.0)


@pytest.mark.parametrize("width", [1.0, 1.3, 1.6])
def test_interval_is_that_of_the_embeddings(width: float) -> None:
    """In one dimension, where k(x, y) = phi(x)'phi(y) with phi(x) = (1, 3^(1/2) x, 3^(1/2) x^2, x^3), uniform laws."""
    random, n, m = _random(20), 200, 120
    grid = (np.arange(20000) + 0.5) / 10000 - 1
    one, other = (np.sqrt([1, 3, 3, 1]) * points[:, None] ** np.arange(4) for points in (width * grid + 0.02, grid))
    v = one.mean(axis=0) - other.mean(axis=0)
    s = np.cov(one.T) / n + np.cov(other.T) / m
    raw = 4 * (v @ s @ v + np.trace(s @ s))
    spread = Spread(4 * v @ s @ v, 2 * np.trace(s @ s), raw)
    expected = np.array(interval(0.0, spread, 16 * (v @ s @ s @ v + np.trace(s @ s @ s)) / raw))
    ends, errors = [], []
    for _ in range(200):
        x, y = random.uniform(-width, width, (n, 1)) + 0.02, random.uniform(-1, 1, (m, 1))
        estimate = kid(FeatureSet(x), FeatureSet(y), True)[0]
        assert estimate.ci95 is not None
        assert estimate.value is not None
        ends.append(np.array(estimate.ci95) - estimate.value)
        errors.append(estimate.std_error)
    # The first order is kept above 0, which raises the error near distance 0; the ends follow it.
    assert np.mean(ends, axis=0) == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))
    if width == 1.0:
        # Next to distance 0 the first order's floor can only raise the error, at most to where nothing is taken away.
        assert spread.variance < np.mean(np.square(errors)) < spread.raw + spread.second
    else:
        assert np.mean(errors) == pytest.approx(spread.variance**0.5, rel=0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("independent", [True, False])
def test_interval_covers(independent: bool, shift: float) -> None:
    """In one dimension, where phi(x) = (1, 3^(1/2) x, 3^(1/2) x^2, x^3), and the moments of a normal law are known."""
    random, held = _random(12), 0
    mean = [1, shift, 1 + shift**2, shift**3 + 3 * shift]
    target = np.array(mean) * np.sqrt([1, 3, 3, 1])
    truth = float(((target - np.sqrt([1, 3, 3, 1]) * [1, 0, 1, 0]) ** 2).sum())
    for _ in range(300):
        x, y = random.standard_normal((80, 1)) + shift, random.standard_normal((60, 1))
        if not independent:
            embedded = (np.sqrt([1, 3, 3, 1]) * y ** np.arange(4)).mean(axis=0)
            truth = float(target @ target - 2 * target @ embedded) + float(
                within(side_of(FeatureSet(y))).partners.mean()
            )
        ci95 = kid(FeatureSet(x), FeatureSet(y), independent)[0].ci95
        assert ci95 is not None
        held += ci95[0] <= truth <= ci95[1]
    # Of 300 at 95% it is 285 +- 4; cubes of normal variables are heavy-tailed.
    assert held >= 270


def test_same_again() -> None:
    x, y = (FeatureSet(_random(17).standard_normal((40, 2)) + shift, np.arange(40) % 4) for shift in (0.0, 0.3))
    first, second = (kid(x, y, True)[0] for _ in range(2))
    assert (first.std_error, first.ci95, first.null, first.params) == (
        second.std_error,
        second.ci95,
        second.null,
        second.params,
    )


def test_images_all_alike_and_too_few() -> None:
    """Nothing varies: no number may turn into another's rounding."""
    estimate = kid(FeatureSet(np.ones((12, 3))), FeatureSet(np.ones((12, 3))), True)[0]
    assert estimate.value == pytest.approx(0.0, abs=1e-12)
    assert estimate.std_error == pytest.approx(0.0, abs=1e-9)
    assert estimate.params["p_value"] == 1.0
    few = kid(FeatureSet(_random(18).standard_normal((12, 3))), FeatureSet(np.eye(3)), True)[0]
    assert few.std_error is None
    assert few.ci95 is None
    with pytest.raises(ValueError, match="needs 2 images of each side, got 12 and 1"):
        kid(FeatureSet(np.ones((12, 3))), FeatureSet(np.ones((1, 3))), True)


def test_its_own_null_goes_before_held_out_images() -> None:
    random = _random(19)
    ours, theirs, held_out = (FeatureSet(random.standard_normal((size, 3))) for size in (30, 40, 25))
    real = RealImages("real", "none", theirs, held_out, independent=False, warnings=())
    scoring = score_counts(
        ours, real, (20, 30), Choices(choose(("kid",)), "images", None), params={}, reporter=SilentReporter()
    )
    assert [score.null.n for score in scoring.scores if score.null is not None] == [20, 30]
    own: Estimate = kid(ours, theirs, False)[0]
    assert scoring.scores[-1].null == own.null
    assert scoring.tables["floor"][0]["n"] == 25


def test_images_that_are_all_the_same_have_an_interval_that_holds_their_value() -> None:
    random = _random(23)
    same, reference = FeatureSet(np.full((200, 6), 0.3)), FeatureSet(random.standard_normal((300, 6)))
    (found,) = kid(same, reference, False)
    assert found.value is not None
    assert found.ci95 is not None
    assert found.ci95[0] <= found.value <= found.ci95[1]
    assert found.ci95[1] - found.ci95[0] < 1e-6
