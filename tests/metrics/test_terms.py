"""Terms kept for paired comparisons: by themselves they have the error that stands beside the score."""

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest

from diffeval.metrics.class_accuracy import class_accuracy
from diffeval.metrics.clustered import clustered_mean, left_out_mean
from diffeval.metrics.cmmd import cmmd
from diffeval.metrics.groups import mean_error
from diffeval.metrics.inception_score import inception_score
from diffeval.metrics.kid import kid
from diffeval.metrics.manifold import manifold
from diffeval.metrics.metric import Estimate, FeatureSet
from diffeval.metrics.variance import terms_from
from diffeval.metrics.vendi import vendi
from diffeval.metrics.within_class import within_class

CLASSES = ("a", "b", "c", "d")
Metric = Callable[[FeatureSet, FeatureSet, bool], tuple[Estimate, ...]]


def _images(n: int, key: int, *, labelled: bool = True) -> FeatureSet:
    random = np.random.Generator(np.random.Philox(key))
    labels = np.arange(n) % len(CLASSES)
    features = random.standard_normal((n, 6)) + 2 * np.eye(4, 6)[labels]
    logits = 3 * np.eye(4)[labels] + random.standard_normal((n, 4))
    known = labels if labelled else None
    return FeatureSet(features, known, logits, CLASSES if labelled else (), CLASSES, extractor="clip:made")


@pytest.mark.parametrize("metric", [class_accuracy, inception_score, vendi, within_class])
def test_the_mean_of_terms_of_images_has_the_scores_error(metric: Metric) -> None:
    images = _images(200, 1)
    found = metric(images, _images(200, 2), False)[0]
    terms = np.asarray(found.terms["term"], dtype=np.float64)
    assert found.std_error == pytest.approx(mean_error(terms, images.labels), rel=1e-6)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("metric", [kid, cmmd])
def test_jackknife_terms_of_kernel_distances_have_the_scores_error(metric: Metric, labelled: bool) -> None:
    """On average over samples: both read the variance off the same images in different ways.

    With few groups the part of single images is noisy, and being kept from below 0 makes it too large: hence 400.
    """
    reference, ratios = _images(300, 3, labelled=labelled), []
    for key in range(20):
        found = metric(_images(400, 10 + key, labelled=labelled), reference, False)[0]
        assert found.std_error is not None
        ratios.append(terms_from(found.terms).variance().at(1.0) / found.std_error**2)
    assert float(np.mean(ratios)) == pytest.approx(1.0, abs=0.12)


def test_pairs_of_groups_are_those_of_the_kernel_worked_directly() -> None:
    """Without classes groups are single images: k less both row means, plus the mean, times 2 / (n - 2)^2."""
    images = _images(20, 4, labelled=False)
    (found,) = kid(images, _images(50, 5, labelled=False), False)
    kernel = (images.features @ images.features.T / 6 + 1) ** 3
    means = (kernel.sum(axis=1) - np.diag(kernel)) / 19
    centred = kernel - means[:, None] - means[None, :] + means.mean()
    np.testing.assert_allclose(found.terms["pairs"][0], 2 / 18**2 * centred, rtol=1e-5, atol=1e-7)


def test_halves_scatter_as_the_error_says() -> None:
    for found in manifold(_images(120, 6), _images(300, 7), False):
        assert float(np.std(found.terms["halves"], ddof=1)) == pytest.approx(found.std_error)


def test_pseudo_values_of_clusters_have_the_clustered_error() -> None:
    random = np.random.Generator(np.random.Philox(8))
    clusters = random.integers(0, 12, 100)
    terms = random.standard_normal(100) + clusters
    for mean in (clustered_mean(terms, clusters), left_out_mean(terms, clusters, random.standard_normal(12))):
        assert mean.pseudo is not None
        assert float(mean.pseudo.std(ddof=1)) / sqrt(len(mean.pseudo)) == pytest.approx(mean.std_error)
        by_prompt = mean.by_cluster(clusters, 15)["by_prompt"]
        assert np.isnan(by_prompt[12:]).all()
        np.testing.assert_array_equal(by_prompt[:12], mean.pseudo)
    assert clustered_mean(terms, np.zeros(100, dtype=np.int64)).by_cluster(clusters, 1) == {}
