"""CMMD: the distance between the mean CLIP embeddings, in the disguise of a kernel distance."""

from dataclasses import replace
from math import sqrt

import numpy as np

from diffeval.metrics.kernel import Within
from diffeval.metrics.kid import compare_kernels, jackknife_terms, spread_of, squared_distance
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, LackingError, Metric

LEAST = 20
# The authors' kernel and scale.
SIGMA, SCALE = 10.0, 1000.0
# Extractors whose features it is defined on, and the one that its authors used.
FAMILY, AUTHORS = "clip", "clip:ViT-L-14-336"
QUANTILE = 1.959964


def unit(features: Array) -> Array:
    """Rows of length 1."""
    rows: Array = features / np.linalg.norm(features, axis=1, keepdims=True)
    return rows


def gaussian_kernel_less_one(x: Array, y: Array) -> Array:
    """exp(-|x - y|^2 / (2 SIGMA^2)) - 1 of rows of length 1, [n, m].

    Less 1, which nearly all of the kernel is and no distance feels, so that the rest is not lost to rounding.
    """
    values: Array = x @ y.T
    values -= 1.0
    values /= SIGMA**2
    return np.expm1(values, out=values)


def _of_all_pairs(kernel: Within) -> float:
    """Mean over all pairs, those of an image with itself (which are 0) included, classes or not."""
    return float(kernel.partners.mean() - kernel.offset.mean() / len(kernel.partners))


def cmmd(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """1000 times the squared kernel distance of CLIP embeddings. Best value 0; unbiased, so negative near 0.

    With the authors' bandwidth of 10 on vectors of length 1 the kernel is all but linear: the score is 1000 / 100
    |mean embedding - the reference's|^2 to within a per cent or two. It follows how the mean moves, and nothing else:
    a model that repeats one image per class, or loses all variance, goes unseen as long as the mean stays.

    ``v_statistic`` in the parameters is the authors' number, which has a positive bias of about 1000 (1 - mean
    kernel) (1/n + 1/m). The error has the variance of single images and that of pairs; with the reference held fixed,
    that of the generated ones alone.

    Source: Jayasumana et al. 2024, eq. 2 and the authors' published code (sigma 10, scale 1000).

    Raises:
        LackingError: for features that are not CLIP's.
    """
    if generated.extractor.partition(":")[0] != FAMILY:
        raise LackingError(f"cmmd is defined on CLIP's features; use --extractor {AUTHORS}")
    x = replace(generated, features=unit(generated.features), _kept={})
    y = reference.once("unit length", lambda: replace(reference, features=unit(reference.features), _kept={}))
    ours, theirs, both = compare_kernels(x, y, independent, gaussian_kernel_less_one)
    value = SCALE * squared_distance(ours, theirs, both)
    biased = SCALE * (_of_all_pairs(ours.kernel) + _of_all_pairs(theirs.kernel) - 2 * float(both.generated.mean()))
    variance = spread_of((ours, theirs), both).variance
    error = SCALE * sqrt(variance)
    return (
        Estimate(
            "cmmd",
            value,
            higher_is_better=False,
            std_error=error,
            ci95=(value - QUANTILE * error, value + QUANTILE * error),
            params={
                "kernel": f"gaussian, sigma {SIGMA:g}, on vectors of length 1, times {SCALE:g}",
                "v_statistic": biased,
                "authors_extractor": generated.extractor == AUTHORS,
                "reference_side": "counted" if independent else "held fixed",
                "std_error_method": "U-statistic, first and second order",
            },
            terms=jackknife_terms(x, y, (ours, theirs), gaussian_kernel_less_one, SCALE).arrays(),
        ),
    )


METRICS.register("cmmd")(Metric(("cmmd",), lambda dim: LEAST, cmmd))
