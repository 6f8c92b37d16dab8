"""Inception Score: how sure a classifier is of every image, and how evenly its answers spread."""

from itertools import pairwise
from math import exp, sqrt

import numpy as np
from scipy.special import log_softmax

from diffeval.metrics.groups import mean_error
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, LackingError, Metric
from diffeval.runs.records import Null

LEAST = 20
# Images of a split, as ADM has them; torch-fidelity has so many splits whatever n is.
SPLIT, SPLITS = 5000, 10
QUANTILE = 1.959964


def divergences(logits: Array) -> Array:
    """KL(p(y | x) || p(y)) of each image, [n], with p(y) the mean over them; natural logarithms."""
    log_p = log_softmax(logits, axis=1)
    p = np.exp(log_p)
    with np.errstate(divide="ignore"):  # a class that no image has is 0 in every p, too
        log_mean = np.log(p.mean(axis=0))
    terms: Array = np.where(p > 0, p * (log_p - np.where(p > 0, log_mean, 0.0)), 0.0).sum(axis=1)
    return terms


def split_scores(logits: Array, parts: int) -> Array:
    """The score of each of so many contiguous parts of the images, [parts]."""
    bounds = np.arange(parts + 1) * len(logits) // parts
    return np.array([exp(divergences(logits[a:b]).mean()) for a, b in pairwise(bounds)])


def inception_score(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """The exponential of the mean KL(p(y | x) || p(y)), by the extractor's classifier. Range: 1 to its classes.

    The mean over contiguous splits of min(n, 5000) images, as ADM has it where 5000 divides n (elsewhere its last
    split is shorter, ours are equal); ``ten_splits`` in the parameters is
    torch-fidelity's convention (without its shuffling). Logits of ``inception`` are without bias, as both have them.
    It never looks at real images: it says nothing of whether the images look like them, only whether the classifier
    is sure, and its value for another classifier is another number. The null is what the reference reads at as many
    images.

    Bias: negative, about -(classes in use - 1) / (2 size of a split) relative to the score. The error is that of
    log IS to first order, KL_i being also the influence of image i on it; within classes, where these are fixed.

    Source: Salimans et al. 2016; ADM, ``evaluator.py``. Agrees with torch-fidelity's on the same logits (to 1e-9).

    Raises:
        LackingError: if the extractor has no classifier.
    """
    if generated.logits is None:
        raise LackingError("inception_score needs an extractor with a classifier, and this one has none")
    value, error, parts = _score(generated)
    null = None
    if reference.logits is not None and len(reference) >= LEAST:
        n = min(len(generated), len(reference))
        null = reference.once(f"inception_score {n}", lambda: _null(reference, n))
    return (
        Estimate(
            "inception_score",
            value,
            higher_is_better=True,
            std_error=error,
            ci95=(max(1.0, value * exp(-QUANTILE * error / value)), value * exp(QUANTILE * error / value)),
            params={
                "classes": len(generated.logits[0]),
                "splits": parts,
                "ten_splits": float(split_scores(generated.logits, SPLITS).mean()),
                "std_error_method": "influence on the logarithm",
            },
            comparable_across_n=False,
            terms={"term": value * divergences(generated.logits)},
            null=null,
        ),
    )


def _score(images: FeatureSet) -> tuple[float, float, int]:
    """Value, standard error, and number of splits."""
    assert images.logits is not None, "the caller has looked"
    parts = max(1, len(images) // SPLIT)
    value = float(split_scores(images.logits, parts).mean())
    return value, value * mean_error(divergences(images.logits), images.labels), parts


def _null(reference: FeatureSet, n: int) -> Null:
    """A random draw of the reference: its order may be by class."""
    rows = np.random.Generator(np.random.Philox(0x15)).permutation(len(reference))[:n]
    drawn = reference.at(np.sort(rows))
    value, error, _ = _score(drawn)
    return Null(value, error * sqrt(max(0.0, 1 - n / len(reference))) or None, n)


METRICS.register("inception_score")(
    Metric(("inception_score",), lambda dim: LEAST, inception_score, higher_is_better=True, place=4)
)
