"""Distances with images left out, against computing them anew from the images that are left."""

from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import eigh

from diffeval.metrics.frechet import Moments, frechet_distance, inner, moments
from diffeval.metrics.groups import Groups, leave_out_groups
from diffeval.metrics.leave_out import Side, Spectrum, make_side
from diffeval.metrics.metric import Array
from diffeval.metrics.mixed import mixed
from diffeval.metrics.pairs import differences

Case = tuple[Array, Array, Groups, Groups, Side, Side, Spectrum]


def _make(n: int, m: int, d: int, labels: Array | None, other_labels: Array | None) -> Case:
    random = np.random.Generator(np.random.Philox(n + m))
    mixing, centres = random.standard_normal((d, d)), 2 * random.standard_normal((10, d))
    one = random.standard_normal((n, d)) @ mixing + (0 if labels is None else centres[labels])
    other = random.standard_normal((m, d)) @ mixing * 1.1 + (0.3 if other_labels is None else centres[other_labels])
    ours, theirs = moments(one), moments(other)
    eigenvalues, vectors = eigh(inner(ours, theirs))
    spectrum = Spectrum(eigenvalues)
    to_ours = theirs.factor @ vectors
    groups, other_groups = leave_out_groups(n, labels), leave_out_groups(m, other_labels)
    gap = ours.mean - theirs.mean
    return (
        one,
        other,
        groups,
        other_groups,
        make_side(one, groups, gap, to_ours),
        make_side(other, other_groups, -gap, ours.covariance @ to_ours / spectrum.roots),
        spectrum,
    )


def _left(features: Array, groups: Groups, out: tuple[int, ...]) -> Moments:
    """Moments of what is left, by weights."""
    weights = np.ones(len(features))
    for group in out:
        np.subtract.at(weights, groups.index[group], groups.weight[group])
    mean = weights @ features / weights.sum()
    deviations = features - mean
    return Moments(mean, (deviations * weights[:, None]).T @ deviations / (weights.sum() - 1), len(features))


BALANCED, RAGGED, MANY = np.arange(60) % 4, np.repeat([0, 1, 2, 3], [16, 17, 31, 26]), np.arange(40) % 10
CASES = {
    "single images": (60, 80, 20, None, None),
    "classes": (60, 90, 20, BALANCED, RAGGED),
    "blocks": (40, 70, 6, MANY, None),
}


@pytest.mark.parametrize("name", CASES)
def test_first_differences_are_those_of_refitting(name: str) -> None:
    one, other, groups, other_groups, side, other_side, spectrum = _make(*CASES[name])
    ours, theirs = moments(one), moments(other)
    full = frechet_distance(ours, theirs)
    refitted = [full - frechet_distance(_left(one, groups, (g,)), theirs) for g in range(len(groups))]
    np.testing.assert_allclose(
        differences(side, spectrum, second=False).first, refitted, atol=1e-4 * np.abs(refitted).max()
    )
    refitted = [full - frechet_distance(ours, _left(other, other_groups, (g,))) for g in range(len(other_groups))]
    np.testing.assert_allclose(
        differences(other_side, spectrum, second=False).first, refitted, atol=1e-4 * np.abs(refitted).max()
    )


def test_groups_larger_than_the_dimension_are_refitted() -> None:
    labels = np.arange(200) % 20
    one, other, groups, _, side, _, spectrum = _make(200, 70, 6, labels % 5, None)
    coarse = Groups(groups.index[:12].reshape(2, -1), groups.weight[:12].reshape(2, -1) * 200 / 2 / 30, balanced=True)
    ours, theirs = moments(one), moments(other)
    side = make_side(one, coarse, ours.mean - theirs.mean, theirs.factor @ eigh(inner(ours, theirs))[1])
    found = differences(side, spectrum, second=True)
    full = frechet_distance(ours, theirs)
    refitted = [full - frechet_distance(_left(one, coarse, (g,)), theirs) for g in range(2)]
    np.testing.assert_allclose(found.first, refitted, rtol=1e-9)
    assert found.second is None


@pytest.mark.parametrize("name", ["single images", "classes"])
def test_second_differences_are_those_of_refitting(name: str) -> None:
    one, other, groups, _, side, _, spectrum = _make(*CASES[name])
    theirs = moments(other)
    full = frechet_distance(moments(one), theirs)
    alone = [frechet_distance(_left(one, groups, (g,)), theirs) for g in range(len(groups))]
    pairs = {
        (g, h): full - alone[g] - alone[h] + frechet_distance(_left(one, groups, (g, h)), theirs)
        for g, h in combinations(range(len(groups)), 2)
    }
    found = differences(side, spectrum, second=True)
    assert found.second == pytest.approx(np.mean(list(pairs.values())), rel=0.01)
    assert found.sampled is not None
    scale = np.std(list(pairs.values()))
    size = found.sampled.shape[1]
    for g, h in combinations(range(size), 2):
        assert found.sampled[0, g, h] == pytest.approx(pairs[g, h], abs=0.01 * scale)


@pytest.mark.parametrize("name", ["single images", "classes"])
def test_mean_second_differences_of_groups_go_as_those_of_refitting(name: str) -> None:
    """As pseudo-values of the distance without bias need them: they vary alike, and by as much."""
    one, other, groups, _, side, _, spectrum = _make(*CASES[name])
    theirs, count = moments(other), len(groups)
    whole = frechet_distance(moments(one), theirs)
    alone = np.array([frechet_distance(_left(one, groups, (g,)), theirs) for g in range(count)])
    means = np.zeros(count)
    for g, h in combinations(range(count), 2):
        second = whole - alone[g] - alone[h] + frechet_distance(_left(one, groups, (g, h)), theirs)
        means[[g, h]] += second / (count - 1)
    found = differences(side, spectrum, second=True).rows
    assert found is not None
    assert np.corrcoef(found, means)[0, 1] > 0.97
    assert found.std() == pytest.approx(means.std(), rel=0.2)
    assert differences(side, spectrum, second=False).rows is None


@pytest.mark.parametrize("name", ["single images", "classes"])
def test_mixed_second_differences_are_those_of_refitting(name: str) -> None:
    one, other, groups, other_groups, side, other_side, spectrum = _make(*CASES[name])
    ours, theirs = moments(one), moments(other)
    full = frechet_distance(ours, theirs)
    found = differences(side, spectrum, second=True), differences(other_side, spectrum, second=True)
    mean, sampled = mixed(side, other_side, spectrum, found)
    left = [_left(one, groups, (g,)) for g in range(len(groups))]
    other_left = [_left(other, other_groups, (g,)) for g in range(len(other_groups))]
    alone = np.array([frechet_distance(some, theirs) for some in left])
    other_alone = np.array([frechet_distance(ours, some) for some in other_left])
    both = np.array([[frechet_distance(some, others) for others in other_left] for some in left])
    refitted = full - alone[:, None] - other_alone + both
    assert mean == pytest.approx(refitted.mean(), abs=0.01 * refitted.std())
    np.testing.assert_allclose(
        sampled[0], refitted[: sampled.shape[1], : sampled.shape[2]], atol=0.01 * refitted.std()
    )
