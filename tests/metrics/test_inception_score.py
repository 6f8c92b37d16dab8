"""Closed forms, torch-fidelity and ADM's formula on the same logits, and independent redraws."""

from math import exp, log

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch_fidelity.metric_isc import isc_features_to_metric  # 0.4.0

from diffeval.metrics.inception_score import SPLIT, divergences, inception_score, split_scores
from diffeval.metrics.metric import Array, Estimate, FeatureSet, LackingError


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _images(logits: Array, labels: np.ndarray | None = None) -> FeatureSet:
    return FeatureSet(np.zeros((len(logits), 1)), labels, logits)


def _score(logits: Array, labels: np.ndarray | None = None, reference: FeatureSet | None = None) -> Estimate:
    return inception_score(_images(logits, labels), reference or FeatureSet(np.zeros((0, 1))), True)[0]


@pytest.mark.parametrize("classes", [2, 7, 10])
def test_sure_of_every_image_and_balanced_is_the_number_of_classes(classes: int) -> None:
    logits = 1000 * np.eye(classes)[np.arange(10 * classes) % classes]
    assert _score(logits).value == pytest.approx(classes, rel=1e-12)


def test_knows_nothing_is_one() -> None:
    assert _score(np.full((40, 6), 3.5)).value == pytest.approx(1.0, abs=1e-12)
    # All of one class, surely, is no better.
    assert _score(1000 * np.eye(6)[np.zeros(40, dtype=int)]).value == pytest.approx(1.0, abs=1e-12)


def test_two_classes_by_hand() -> None:
    """Half of the images have p = (3/4, 1/4), half the reverse: KL = log 2 - H(1/4) for each."""
    logits = np.log(np.array([[3.0, 1.0], [1.0, 3.0]]))[np.arange(30) % 2]
    entropy = -(0.75 * log(0.75) + 0.25 * log(0.25))
    np.testing.assert_allclose(divergences(logits), log(2) - entropy, rtol=1e-12)
    assert _score(logits).value == pytest.approx(2 * exp(-entropy), rel=1e-12)
    # Every image has the same divergence, so nothing varies.
    assert _score(logits, np.arange(30) % 2).std_error == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("n", [200, 217])
def test_ten_splits_are_torch_fidelitys(n: int) -> None:
    logits = 3 * _random(0).standard_normal((n, 30))
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
    ours = _score(logits).params["ten_splits"]
    assert ours == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=1, shuffle=False)
    assert _score(logits).value == pytest.approx(theirs["inception_score_mean"], rel=1e-9)


def test_splits_are_adms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its formula on probabilities, in splits of 5000; here of 50, which ``n`` is a multiple of."""
    assert SPLIT == 5000
    monkeypatch.setattr("diffeval.metrics.inception_score.SPLIT", 50)
    logits = 2 * _random(1).standard_normal((150, 12))
    scores = []
    for start in range(0, 150, 50):
        part = softmax(logits, axis=1)[start : start + 50]
        kl = part * (np.log(part) - np.log(part.mean(axis=0, keepdims=True)))
        scores.append(np.exp(kl.sum(axis=1).mean()))
    found = _score(logits)
    assert found.value == pytest.approx(np.mean(scores), rel=1e-12)
    assert found.params["splits"] == 3
    np.testing.assert_allclose(split_scores(logits, 3), scores, rtol=1e-12)


def test_logits_far_apart_give_no_nan() -> None:
    logits = np.array([[0.0, -1e4, -2e4], [-1e4, 0.0, -2e4]])[np.arange(40) % 2]
    assert _score(logits).value == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("labelled", [False, True])
def test_error_is_the_scatter_of_redraws(labelled: bool) -> None:
    random, values, errors = _random(2), [], []
    labels = np.arange(200) % 5
    for _ in range(150):
        drawn = labels if labelled else random.integers(0, 5, 200)
        logits = 2 * np.eye(5)[drawn] * random.chisquare(3, (200, 1)) / 3 + random.standard_normal((200, 5))
        found = _score(logits, labels if labelled else None)
        values.append(found.value)
        errors.append(found.std_error)
    # 150 redraws know the scatter to 6%.
    assert np.mean(errors) / np.std(values, ddof=1) == pytest.approx(1.0, abs=0.24)  # type: ignore[arg-type]


def test_interval_covers_the_expectation_at_n() -> None:
    random, found = _random(3), []
    for _ in range(150):
        found.append(_score(2 * np.eye(4)[random.integers(0, 4, 100)] + random.standard_normal((100, 4))))
    truth = np.mean([one.value for one in found])  # type: ignore[arg-type]
    held = sum(one.ci95 is not None and one.ci95[0] <= truth <= one.ci95[1] for one in found)
    # Of 150 at 95% it is 142.5 +- 2.7.
    assert held >= 133


def test_bias_is_what_the_docstring_says() -> None:
    """-(classes - 1) / (2 n) where the classifier is sure: the entropy of counts is low by that much."""
    random, classes, n = _random(4), 10, 100
    values = [log(_score(1000 * np.eye(classes)[random.integers(0, classes, n)]).value or 1) for _ in range(200)]
    bias = np.mean(values) - log(classes)
    assert bias == pytest.approx(-(classes - 1) / (2 * n), rel=0.15)


def test_null_is_what_real_images_read_at_as_many() -> None:
    random = _random(5)
    real = 2 * np.eye(4)[np.sort(random.integers(0, 4, 400))] + random.standard_normal((400, 4))
    reference = _images(real)
    null = _score(real[::4], reference=reference).null
    assert null is not None
    assert null.n == 100
    # Drawn at random: the first hundred hold one class, and would read far less.
    assert null.value == pytest.approx(_score(real[::4]).value, rel=0.15)
    assert (_score(real[:100]).value or 0) < 0.8 * null.value
    assert _score(real[::4], reference=_images(real[:10])).null is None
    assert _score(real[::4]).null is None


def test_without_a_classifier_it_is_refused() -> None:
    with pytest.raises(LackingError, match="needs an extractor with a classifier"):
        inception_score(FeatureSet(np.zeros((40, 2))), FeatureSet(np.zeros((40, 2))), True)
