"""Laws of features whose moments are known exactly, so that the true distance is, too.

Each draws generated images at strength delta (0: the reference's own law) and gives the moments of both populations.
Real features are drawn with replacement from a finite population of them, whose moments are the truth.
"""

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.special import gammaln

from diffeval.metrics.frechet import Moments

Array = np.ndarray
# Degrees of freedom of the heavy tails: eight moments do not exist for the first, nor ten for the second.
ENTRY_DOF, COMMON_DOF = 5, 8
CLASSES = 10


@dataclass(frozen=True)
class Law:
    """Features of the generated images and of the reference.

    Attributes:
        draw: (random, n, delta) -> features [n, d], labels [n] or None.
        moments: delta -> mean [d] and covariance [d, d].
    """

    draw: Callable[[np.random.Generator, int, float], tuple[Array, Array | None]]
    moments: Callable[[float], tuple[Array, Array]]


def _matrices(d: int) -> tuple[Array, Array, Array]:
    random = np.random.Generator(np.random.Philox(99))
    return tuple(random.standard_normal((d, d)) / np.sqrt(d) for _ in range(3))


def gaussian(d: int) -> Law:
    a, b, _ = _matrices(d)
    return Law(
        lambda random, n, delta: (random.standard_normal((n, d)) @ (a + delta * b), None),
        lambda delta: (np.zeros(d), (a + delta * b).T @ (a + delta * b)),
    )


def heavy(d: int) -> Law:
    """Independent Student entries, mixed."""
    a, b, _ = _matrices(d)
    variance = ENTRY_DOF / (ENTRY_DOF - 2)
    return Law(
        lambda random, n, delta: (random.standard_t(ENTRY_DOF, (n, d)) @ (a + delta * b), None),
        lambda delta: (np.zeros(d), variance * (a + delta * b).T @ (a + delta * b)),
    )


def rectified(d: int) -> Law:
    """Positive part of a multivariate Student vector: a Gaussian one times one heavy-tailed scale per image.

    Moments: E relu(x) = sd / sqrt(2 pi), and Cho and Saul's arc-cosine kernel of order 1 for products.
    """
    a, b, _ = _matrices(d)
    half = COMMON_DOF / 2
    mean_scale = float(np.sqrt(half) * np.exp(gammaln(half - 0.5) - gammaln(half)))
    square_scale = COMMON_DOF / (COMMON_DOF - 2)

    def draw(random: np.random.Generator, n: int, delta: float) -> tuple[Array, None]:
        scale = np.sqrt(COMMON_DOF / random.chisquare(COMMON_DOF, (n, 1)))
        return np.maximum(scale * (random.standard_normal((n, d)) @ (a + delta * b)), 0.0), None

    def moments(delta: float) -> tuple[Array, Array]:
        covariance = (a + delta * b).T @ (a + delta * b)
        sd = np.sqrt(np.diag(covariance))
        angle = np.arccos(np.clip(covariance / np.outer(sd, sd), -1, 1))
        products = np.outer(sd, sd) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        mean = mean_scale * sd / np.sqrt(2 * np.pi)
        return mean, square_scale * products - np.outer(mean, mean)

    return Law(draw, moments)


def low_rank(d: int) -> Law:
    """Rank d / 8, and white noise of a hundredth of the variance."""
    a = _matrices(d)[0][: d // 8] * np.sqrt(8)
    return Law(
        lambda random, n, delta: (
            random.standard_normal((n, d // 8)) @ (a * (1 + delta)) + 0.1 * random.standard_normal((n, d)),
            None,
        ),
        lambda delta: (np.zeros(d), (1 + delta) ** 2 * a.T @ a + 0.01 * np.eye(d)),
    )


def _mixture(d: int, label: Callable[[np.random.Generator, int], Array], told: bool) -> Law:
    a, _, c = _matrices(d)
    centres = np.sqrt(d) * c[:CLASSES]

    def draw(random: np.random.Generator, n: int, delta: float) -> tuple[Array, Array | None]:
        labels = label(random, n)
        features = (1 + delta) * centres[labels] + 0.3 * random.standard_normal((n, d)) @ a
        return features, labels if told else None

    def moments(delta: float) -> tuple[Array, Array]:
        mean = (1 + delta) * centres.mean(axis=0)
        between = (1 + delta) ** 2 * np.cov(centres.T, bias=True)
        return mean, between + 0.09 * a.T @ a

    return Law(draw, moments)


def mixture(d: int) -> Law:
    """Ten classes at random, unlabelled."""
    return _mixture(d, lambda random, n: random.integers(0, CLASSES, n), told=False)


def classes(d: int) -> Law:
    """The same ten classes in fixed shares, labelled."""
    return _mixture(d, lambda random, n: np.arange(n) % CLASSES, told=True)


@lru_cache
def _real_features() -> dict[str, tuple[Array, Array]]:
    """Features and labels of scikit-learn's digits and of MNIST pooled to 8 x 8, by the digits extractor."""
    from diffeval.data.source import open_source
    from diffeval.features.extractor import EXTRACTORS, ExtractorRequest, extract_all

    torch.set_num_threads(1)
    extractor = EXTRACTORS["digits"](ExtractorRequest(torch.device("cpu")))
    source = open_source("digits@all")
    found = {"digits": (extract_all(extractor, source).features.astype(np.float64), np.asarray(source.labels))}
    folder = os.environ.get("DIFFEVAL_TEST_MNIST")
    if folder:
        pixels = gzip.decompress((Path(folder) / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((Path(folder) / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
        images = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)[:, 2:26, 2:26]
        pooled = images.reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4)).round().astype(np.uint8)[:, None]
        parts = [extractor.run(pooled[i : i + 500]).features for i in range(0, len(pooled), 500)]
        found["mnist"] = (np.concatenate(parts).astype(np.float64), np.frombuffer(labels, np.uint8).astype(np.int64))
    return found


def _real(name: str) -> Law:
    """Zero: its own population; small: half of the ones are missing; large: all of three classes are."""

    def weights(delta: float) -> Array:
        labels = _real_features()[name][1]
        weight = np.ones(len(labels))
        if delta == 0.1:
            weight[labels == 1] = 0.5
        elif delta == 0.5:
            weight[np.isin(labels, (1, 4, 8))] = 0.0
        normal: Array = weight / weight.sum()
        return normal

    def draw(random: np.random.Generator, n: int, delta: float) -> tuple[Array, None]:
        features = _real_features()[name][0]
        return features[random.choice(len(features), n, p=weights(delta))], None

    def moments(delta: float) -> tuple[Array, Array]:
        features = _real_features()[name][0]
        weight = weights(delta)
        mean = weight @ features
        deviations = features - mean
        return mean, (deviations * weight[:, None]).T @ deviations

    return Law(draw, moments)


LAWS: dict[str, Callable[[int], Law]] = {
    "gaussian": gaussian,
    "heavy": heavy,
    "rectified": rectified,
    "low-rank": low_rank,
    "mixture": mixture,
    "classes": classes,
    "digits": lambda d: _real("digits"),
    "mnist": lambda d: _real("mnist"),
}
REAL = ("digits", "mnist")
STRENGTHS = {"zero": 0.0, "small": 0.1, "large": 0.5}


def population(law: Law, delta: float) -> Moments:
    """Exact moments, as those of a sample without end."""
    mean, covariance = law.moments(delta)
    return Moments(mean, covariance, 10**9)
