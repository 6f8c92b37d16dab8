"""Scores with groups of seeds left out."""

import numpy as np
import pytest

from diffeval.metrics.class_accuracy import hits
from diffeval.metrics.kid import kid
from diffeval.metrics.metric import FeatureSet
from diffeval.sweeps.leave_out import GROUPS, group_numbers, leave_out


def _set(n: int, seed: int, shift: float = 0.0) -> FeatureSet:
    random = np.random.Generator(np.random.Philox(seed))
    labels = np.arange(n) % 4
    features = random.standard_normal((n, 6)) + labels[:, None] + shift
    logits = np.eye(4)[(labels + (random.random(n) < 0.2)) % 4]
    names = tuple("abcd")
    return FeatureSet(features, labels, logits, names, names, "x", random.random((n, 4)))


def test_groups_hold_every_class_alike_whatever_n() -> None:
    numbers = group_numbers(400, 4)
    labels = np.arange(400) % 4
    assert (np.histogram2d(numbers, labels, bins=(GROUPS, 4))[0] == 10).all()
    assert len(set(group_numbers(12, 4).tolist())) == GROUPS
    assert np.array_equal(group_numbers(200, 4), numbers[:200])


def test_values_are_those_of_the_metrics_on_what_is_left() -> None:
    generated, reference = _set(240, 1, 0.3), _set(300, 2)
    found = leave_out(generated, reference, True, 4)
    kept = np.flatnonzero(group_numbers(240, 4) != 3)
    (whole,), (left,) = kid(generated, reference, True), kid(generated.at(kept), reference, True)
    assert found.values["kid"] == pytest.approx(whole.value, rel=1e-12)
    assert found.without["kid"][3] == pytest.approx(left.value, rel=1e-12)
    assert found.values["class_accuracy"] == hits(generated).mean()
    assert found.without["class_accuracy"][3] == hits(generated.at(kept)).mean()
    assert {"fid_debiased", "precision", "recall", "density", "coverage", "within_class_distance"} <= set(found.values)
    assert all(len(without) == GROUPS for without in found.without.values())


def test_the_spread_over_groups_is_that_over_samples() -> None:
    """The jackknife's error of a mean against the closed form, and of a share near its binomial one."""
    generated, reference = _set(800, 3), _set(100, 4)
    without = leave_out(generated, reference, True, 4).without["class_accuracy"]
    error = np.sqrt((GROUPS - 1) / GROUPS * ((without - without.mean()) ** 2).sum())
    right = hits(generated)
    # 9 degrees of freedom: the error itself is known to within a factor of 0.5 to 1.7 (99.9%).
    assert 0.35 < error / np.sqrt(right.var() / len(right)) < 1.9


def test_what_cannot_be_read_is_left_out() -> None:
    bare = FeatureSet(np.random.Generator(np.random.Philox(5)).standard_normal((120, 6)))
    found = leave_out(bare, bare, False, 0)
    assert "class_accuracy" not in found.values
    assert "saturated_pixels" not in found.values
    assert "kid" in found.values
