"""Counts by mode: what is tested, named and read off, against closed forms and SciPy."""

import numpy as np
import pytest
from scipy.spatial.distance import cityblock, jensenshannon
from scipy.stats import chi2_contingency, fisher_exact

from diffeval.metrics.mode_readings import js_divergence, missing_mass, readings
from diffeval.metrics.occupancy import LEVEL, Occupancy, Side, least_missing, occupancy


def sampled(shares: list[float], n: int, key: int) -> Side:
    random = np.random.Generator(np.random.Philox(key))
    return Side(random.choice(len(shares), n, p=shares))


def exactly(counts: list[int]) -> Side:
    return Side(np.repeat(np.arange(len(counts)), counts))


EVEN = [0.1] * 10


def test_divergences_are_scipys() -> None:
    p, q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.3, 0.2, 0.4])
    assert missing_mass(p, q) == pytest.approx(cityblock(p, q) / 2)
    assert js_divergence(p, q) == pytest.approx(jensenshannon(p, q) ** 2)
    assert js_divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(np.log(2))


def test_each_mode_has_fishers_p_corrected_for_all() -> None:
    found = occupancy(exactly([0, 60, 40]), exactly([10, 50, 40]), 3)
    plain = [fisher_exact([[a, 100 - a], [b, 100 - b]]).pvalue for a, b in zip([0, 60, 40], [10, 50, 40], strict=True)]
    order = np.argsort(plain)
    assert found.p[order[0]] == pytest.approx(3 * plain[order[0]])
    assert found.p[order[1]] == pytest.approx(max(3 * plain[order[0]], 2 * plain[order[1]]))


def test_the_g_test_is_scipys() -> None:
    counts = [[30, 50, 20], [45, 35, 20]]
    found = occupancy(exactly(counts[0]), exactly(counts[1]), 3)
    expected = chi2_contingency(counts, lambda_="log-likelihood", correction=False)
    assert found.g_test() == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))


@pytest.mark.parametrize(
    ("generated", "status"), [(0, "missing"), (15, "missing"), (40, "thin"), (100, "ok"), (160, "over")]
)
def test_what_differs_is_named_by_its_ratio(generated: int, status: str) -> None:
    rest = (1000 - generated) // 9
    counts = [generated, *[rest] * 8, 1000 - generated - 8 * rest]
    found = occupancy(exactly(counts), exactly([100] * 10), 10)
    assert found.status(0) == status
    assert {found.status(mode) for mode in range(1, 10)} == {"ok"}
    low, high = found.interval(0)
    assert low <= generated / 100 <= high


def test_a_difference_that_is_certain_and_small_is_none() -> None:
    found = occupancy(exactly([45_000, 55_000]), exactly([50_000, 50_000]), 2)
    assert found.p[0] < 1e-9
    assert found.status(0) == "ok"


def test_of_faultless_samples_few_have_a_mode_named() -> None:
    """Holm holds 2% for all modes together, and Fisher's test less; 17 or more of 400 has p < 0.002 at 2%."""
    named = 0
    for key in range(400):
        found = occupancy(sampled(EVEN, 500, 2 * key), sampled(EVEN, 400, 2 * key + 1), 10)
        named += any(found.status(mode) != "ok" for mode in range(10))
    assert named <= 16
    assert LEVEL == 0.02


def _debiased(shares: list[float], repeats: int = 60) -> dict[str, tuple[float, float, float]]:
    """Mean of the value, of its error, and its true scatter."""
    found = [
        readings(occupancy(sampled(shares, 600, 3 * key), sampled(EVEN, 600, 3 * key + 1), 10))
        for key in range(repeats)
    ]
    return {
        name: (
            float(np.mean([one[name].value for one in found])),
            float(np.mean([one[name].std_error for one in found])),
            float(np.std([one[name].value for one in found])),
        )
        for name in found[0]
    }


def test_where_nothing_is_wrong_nothing_is_missing() -> None:
    found = _debiased(EVEN)
    for name in ("missing_mass", "js_divergence"):
        value, error, scatter = found[name]
        assert abs(value) < 3 * scatter / np.sqrt(60)
        assert 0.6 < error / scatter < 1.7
    assert found["mode_coverage"][0] == 1.0


def test_the_mass_of_a_dropped_class_is_read_without_bias() -> None:
    """Plainly it would read 0.13, and less what faultless samples read it would be 0.06."""
    shares = [0.0, *[1 / 9] * 9]
    found = _debiased(shares)
    value, error, scatter = found["missing_mass"]
    assert value == pytest.approx(0.1, abs=3 * scatter / np.sqrt(60) + 0.002)
    assert 0.6 < error / scatter < 1.7
    assert found["mode_coverage"][0] == pytest.approx(0.9, abs=0.01)
    truth = float(js_divergence(np.array(EVEN), np.array(shares)))
    assert found["js_divergence"][0] == pytest.approx(truth, rel=0.1)


def test_classes_that_were_asked_for_in_other_shares_are_no_fault() -> None:
    """Real: nine of ten images of class 0. Asked for: half and half. Each class has two modes, half and half."""
    random = np.random.Generator(np.random.Philox(0))
    labels = {"generated": np.arange(2000) % 2, "real": (random.random(2000) > 0.9).astype(np.int64)}
    sides = {name: Side(2 * one + random.integers(0, 2, 2000), one) for name, one in labels.items()}
    found = occupancy(sides["generated"], sides["real"], 4)
    assert {found.status(mode) for mode in range(4)} == {"ok"}
    assert found.real_shares == pytest.approx([0.25] * 4, abs=0.05)
    # Kish's effective size: (sum w)^2 / sum w^2 with weights 0.5 / 0.9 and 0.5 / 0.1.
    had = np.bincount(labels["real"]) / 2000
    weights = (0.5 / had)[labels["real"]]
    assert found.size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    without = occupancy(*(Side(one.modes) for one in sides.values()), 4)
    assert [without.status(mode) for mode in range(4)] == ["thin", "thin", "over", "over"]
    assert found.g_test() is None
    unlike = Side(np.where(sides["generated"].modes == 3, 2, sides["generated"].modes), labels["generated"])
    again = occupancy(unlike, sides["real"], 4)
    assert (again.status(2), again.status(3)) == ("over", "missing")


def test_of_faultless_samples_with_rare_classes_asked_for_often_few_have_a_mode_named() -> None:
    """Classes in shares 0.6^k, every one asked for alike; each lies in one of three modes of its own."""
    random = np.random.Generator(np.random.Philox(7))
    had = 0.6 ** np.arange(8)
    named = 0
    for _ in range(200):
        labels = (np.arange(2000) % 8, random.choice(8, 1000, p=had / had.sum()))
        ours, theirs = (Side(3 * one + random.choice(3, len(one), p=[0.6, 0.3, 0.1]), one) for one in labels)
        found = occupancy(ours, theirs, 24)
        named += any(found.status(mode) != "ok" for mode in range(24))
    # 2% designed: 11 or more of 200 has p < 0.004.
    assert named <= 10


@pytest.mark.parametrize("swing", [0.15, 0.3])
def test_where_many_modes_differ_a_little_the_interval_holds_the_truth(swing: float) -> None:
    """None of 36 modes surely differs; what is read is too little, and the plain value too much."""
    even = np.full(36, 1 / 36)
    shares = even * np.where(np.arange(36) % 2, 1 + swing, 1 - swing)
    truth, held, below = swing / 2, 0, 0
    for key in range(40):
        one = readings(
            occupancy(sampled(shares.tolist(), 1000, 2 * key), sampled(even.tolist(), 1000, 2 * key + 1), 36)
        )
        low, high = one["missing_mass"].ci95
        held += low <= truth <= high
        below += one["missing_mass"].value < truth < one["missing_mass"].plain + 0.02
    assert held >= 36
    assert below >= 30


def test_coverage_is_no_surer_than_the_least_mode_that_would_be_seen() -> None:
    found = readings(occupancy(exactly([100] * 10), exactly([100] * 10), 10))["mode_coverage"]
    assert found.value == 1.0
    assert found.ci95 == (pytest.approx(1 - least_missing(1000, 1000, 10)), 1.0)


def test_what_chance_leaves_empty_stands_in_the_null() -> None:
    """Two images for each of 100 modes: an eighth of them has none, with nothing wrong."""
    even = [0.01] * 100
    found = readings(occupancy(sampled(even, 200, 0), sampled(even, 4000, 1), 100))["mode_coverage"]
    assert found.null == pytest.approx(1 - np.exp(-2), abs=0.02)
    assert abs(found.value - found.null) < 3 * found.null_error


def test_a_mode_drawn_too_often_is_never_thin() -> None:
    """All that is left of ten modes are two, at 3 and 7 times their share."""
    found = occupancy(exactly([300, 700, *[0] * 8]), exactly([100] * 10), 10)
    assert [found.status(mode) for mode in (0, 1, 2)] == ["ok", "over", "missing"]


def test_asking_for_every_class_alike_lowers_the_error() -> None:
    """Modes that are classes: nothing is left to chance, and no missing mass either."""
    even = np.arange(1000) % 10
    asked = readings(occupancy(Side(even, even), Side(even, even), 10))["missing_mass"]
    drawn = readings(occupancy(Side(even), Side(even), 10))["missing_mass"]
    assert asked.value == pytest.approx(0.0, abs=1e-12)
    assert asked.std_error < drawn.std_error / 5


def test_the_least_missing_mode_is_seen_as_often_as_promised() -> None:
    n, m, count = 1000, 600, 10
    share = least_missing(n, m, count)
    seen = 0
    random = np.random.Generator(np.random.Philox(0))
    rest = (1 - share) / (count - 1)
    for _ in range(300):
        real = random.multinomial(m, [share, *[rest] * (count - 1)])
        ours = random.multinomial(n, [0.0, *[1 / (count - 1)] * (count - 1)])
        seen += occupancy(exactly(ours.tolist()), exactly(real.tolist()), count).status(0) == "missing"
    assert 0.72 < seen / 300 < 0.92
    assert least_missing(10_000, 10_000, 10) < least_missing(1000, 1000, 10)


def test_what_is_missing_makes_room_and_the_others_are_not_over() -> None:
    """Three of ten are dropped: the others have 1.43 times their share, as they must."""
    found = occupancy(exactly([0] * 3 + [1000] * 7), exactly([1000] * 10), 10)
    assert found.ratios[5] == pytest.approx(10 / 7)
    assert [found.status(mode) for mode in range(10)] == ["missing"] * 3 + ["ok"] * 7


def test_a_mode_that_real_images_have_none_of_is_over() -> None:
    found = occupancy(exactly([900, 100]), exactly([1000, 0]), 2)
    assert found.ratios[1] == float("inf")
    assert [found.status(mode) for mode in (0, 1)] == ["ok", "over"]
    assert found.interval(1) == (0.0, float("inf"))


def test_a_class_that_is_not_there_is_missing_though_others_are_taken_for_it() -> None:
    """One in a hundred of the others looks like mode 0, which 4% of real images are: a fifth of its share and more."""
    real = exactly([400 + 96, 9600 - 96])
    ours = exactly([100, 9900])
    mixed_up = np.array([[0.0, 0.0], [0.01, 0.0]])
    plain, tempered = (occupancy(ours, real, 2, one) for one in (None, mixed_up))
    assert plain.status(0) == "thin"
    assert tempered.status(0) == "missing"
    # By hand: (100 - 0.01 x 9900) / (496 - 0.01 x 9504).
    assert tempered.ratios[0] == pytest.approx((100 - 99) / (496 - 95.04))
    low, high = tempered.interval(0)
    assert low <= tempered.ratios[0] <= high < 0.1


def test_a_mode_that_nobody_has_is_none() -> None:
    found = Occupancy((np.array([[5, 5, 0]]), np.array([[5, 5, 0]])), np.ones(3))
    assert found.ratios.tolist() == [1.0, 1.0, 1.0]
    assert found.status(2) == "ok"
