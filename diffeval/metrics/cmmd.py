"""CMMD: the distance between the mean CLIP embeddings, in the disguise of a kernel distance."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from diffeval.metrics.groups import mean_error
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, LackingError, Metric

LEAST = 20
# The authors' kernel and scale.
SIGMA, SCALE = 10.0, 1000.0
# Extractors whose features it is defined on, and the one that its authors used.
FAMILY, AUTHORS = "clip", "clip:ViT-L-14-336"
QUANTILE = 1.959964
# Rows of a block of the kernel, times its columns.
BLOCK = 1 << 24


def unit(features: Array) -> Array:
    """Rows of length 1."""
    rows: Array = features / np.linalg.norm(features, axis=1, keepdims=True)
    return rows


def kernel(x: Array, y: Array) -> Array:
    """exp(-|x - y|^2 / (2 SIGMA^2)) of rows of length 1, [n, m]."""
    values: Array = np.exp((x @ y.T - 1) / SIGMA**2)
    return values


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of a kernel between two sets: means of its rows and columns, and the mean square of what those leave over."""

    rows: Array
    columns: Array
    pairs: float


def _sums(x: Array, y: Array | None) -> _Sums:
    """Between two sets, or within one (its diagonal left out)."""
    other = x if y is None else y
    step = max(1, BLOCK // len(other))
    rows, columns, squares = np.empty(len(x)), np.zeros(len(other)), 0.0
    for start in range(0, len(x), step):
        block = kernel(x[start : start + step], other)
        if y is None:
            block[np.arange(len(block)), np.arange(start, start + len(block))] = 0.0
        rows[start : start + step] = block.sum(axis=1)
        columns += block.sum(axis=0)
        # Less 1, which nearly all of the kernel is: the variance is not lost to rounding.
        off = block - 1.0
        if y is None:
            off[np.arange(len(block)), np.arange(start, start + len(block))] = 0.0
        squares += float((off**2).sum())
    left, right = (len(x) - 1, len(x) - 1) if y is None else (len(other), len(x))
    rows, columns = rows / left, columns / right
    mean = float(rows.mean()) - 1.0
    count = len(x) * left
    spread = squares / count - mean**2 - float(rows.var()) - float(columns.var())
    return _Sums(rows, columns, max(0.0, spread))


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
    x, y = unit(generated.features), unit(reference.features)
    within, real, across = _sums(x, None), reference.once("cmmd", lambda: _sums(y, None)), _sums(x, y)
    n, m = len(x), len(y)
    value = SCALE * float(within.rows.mean() + real.rows.mean() - 2 * across.rows.mean())
    biased = SCALE * float(
        ((n - 1) * within.rows.mean() + 1) / n + ((m - 1) * real.rows.mean() + 1) / m - 2 * across.rows.mean()
    )
    variance = (2 * mean_error(within.rows - across.rows, generated.labels)) ** 2 + 2 * within.pairs / n**2
    if independent:
        variance += (2 * mean_error(real.rows - across.columns, reference.labels)) ** 2
        variance += 2 * real.pairs / m**2 + 4 * across.pairs / (n * m)
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
        ),
    )


METRICS.register("cmmd")(Metric(("cmmd",), lambda dim: LEAST, cmmd))
