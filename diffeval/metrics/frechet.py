"""Frechet distance between feature distributions: the plain number, and the one with its bias removed.

FID = ||mu_g - mu_r||^2 + tr(S_g) + tr(S_r) - 2 tr((S_r^1/2 S_g S_r^1/2)^1/2)

The root is taken of a symmetric matrix, so its eigenvalues are real and non-negative up to rounding, and nothing
imaginary has to be dropped.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from scipy.linalg import eigh, eigvalsh
from scipy.stats import t as student

from diffeval.metrics.groups import Groups, jackknife_groups, mean_error
from diffeval.metrics.metric import METRICS, Array, Estimate, FeatureSet, Metric

GROUPS = 10
# Below this many images per dimension the covariance is so near singular that even the corrected value is unreliable.
LEAST_PER_DIMENSION = 1.2
# Below this many images plain FID is marked biased, whatever its estimated bias.
BIASED_BELOW = 5000
BIASED_SHARE = 0.05


@dataclass(frozen=True)
class Moments:
    """Mean [d] and covariance [d, d] (divisor n - 1) of features, float64."""

    mean: Array
    covariance: Array
    n: int

    @cached_property
    def root(self) -> Array:
        """Symmetric square root of the covariance."""
        values, vectors = eigh(self.covariance)
        root: Array = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
        return root


@dataclass(frozen=True)
class Sums:
    """Sums of features about a fixed centre, from which moments follow and groups can be subtracted."""

    centre: Array
    first: Array
    second: Array
    n: int

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(self.centre, self.first - other.first, self.second - other.second, self.n - other.n)

    def moments(self) -> Moments:
        """Mean and covariance."""
        mean = self.first / self.n
        covariance = (self.second - self.n * np.outer(mean, mean)) / (self.n - 1)
        return Moments(self.centre + mean, covariance, self.n)


def sums(features: Array, centre: Array) -> Sums:
    """Sums of float64 features [n, d] about ``centre`` [d]."""
    deviations = features - centre
    return Sums(centre, deviations.sum(axis=0), deviations.T @ deviations, len(features))


def moments(features: Array) -> Moments:
    """Mean and covariance of features [n, d], n >= 2, in float64."""
    features = features.astype(np.float64, copy=False)
    return sums(features, features.mean(axis=0)).moments()


def moments_of(images: FeatureSet) -> Moments:
    """Moments of a feature set, computed once for it, and their root with them."""
    return images.once("moments", lambda: moments(images.features))


def frechet_distance(generated: Moments, reference: Moments) -> float:
    """Squared 2-Wasserstein distance between two Gaussians: >= 0 up to rounding, 0 if equal. Units: features squared.

    The reference's root is computed once and kept with it.

    Source: Dowson and Landau 1982; Heusel et al. 2017 (FID). Agrees with torch-fidelity, pytorch-fid and clean-fid
    to 1e-6 relative (``benchmarks/frechet.py``).
    """
    return _distance(generated, reference, eigvalsh(_inner(generated, reference)))


def _inner(generated: Moments, reference: Moments) -> Array:
    inner = reference.root @ generated.covariance @ reference.root
    symmetric: Array = (inner + inner.T) / 2
    return symmetric


def _distance(generated: Moments, reference: Moments, inner_values: Array) -> float:
    trace_of_root = float(np.sqrt(inner_values.clip(min=0.0)).sum())
    shift = float(((generated.mean - reference.mean) ** 2).sum())
    spread = float(np.trace(generated.covariance) + np.trace(reference.covariance))
    return shift + spread - 2 * trace_of_root


def frechet_influence(features: Array, generated: Moments, reference: Moments) -> tuple[float, Array]:
    """The distance, and the influence of each generated image on it, [n], mean about 0.

    IF(x) = 2 (mu_g - mu_r)'(x - mu_g) + (x - mu_g)'(I - A)(x - mu_g) - tr((I - A) S_g) with
    A = S_r^1/2 (S_r^1/2 S_g S_r^1/2)^-1/2 S_r^1/2, the gradient of the trace term in S_g. A positive influence means
    that the image raises the distance. Directions without variance are left out of the inverse root.

    Source: derivative of the formula above; the trace's is d tr(M^1/2) = 1/2 tr(M^-1/2 dM).
    """
    values, vectors = eigh(_inner(generated, reference))
    distance = _distance(generated, reference, values)
    usable = values > values.max(initial=0.0) * np.finfo(np.float64).eps * len(values)
    half = (reference.root @ vectors[:, usable]) * values[usable] ** -0.25
    centred = features - generated.mean
    quadratic = (centred**2).sum(axis=1) - ((centred @ half) ** 2).sum(axis=1)
    linear = 2 * centred @ (generated.mean - reference.mean)
    influence: Array = linear + quadratic - quadratic.mean()
    return distance, influence


@dataclass(frozen=True, slots=True)
class Jackknife:
    """A value with its first-order bias removed.

    Attributes:
        value: may be negative where the true distance is near 0; it is never clipped.
        std_error: of ``value``, from the spread of the groups' pseudo-values.
        ci95: with Student's t on G - 1 degrees of freedom.
        left_out: the plain distance without each group, [G].
    """

    value: float
    std_error: float
    ci95: tuple[float, float]
    left_out: Array


def delete_group_jackknife(full: float, left_out: Array, sizes: Array) -> Jackknife:
    """Combines the value on all images with the values without each group.

    value = G theta - sum_g (1 - m_g / n) theta_(g), which removes a bias proportional to 1/n also where the group
    sizes m_g differ; pseudo-values h_g theta - (h_g - 1) theta_(g) with h_g = n / m_g give the error.

    Args:
        full: theta on all n images.
        left_out: theta without group g, [G].
        sizes: m_g, [G], positive, summing to n.

    Source: Quenouille 1956; Busing, Meijer and van der Leeden 1999, eq. 8 and 9 (unequal groups).
    """
    count, n = len(left_out), sizes.sum()
    value = float(count * full - ((1 - sizes / n) * left_out).sum())
    h = n / sizes
    pseudo = h * full - (h - 1) * left_out
    std_error = float(np.sqrt((((pseudo - value) ** 2) / (h - 1)).mean()))
    half_width = float(student.ppf(0.975, count - 1)) * std_error
    return Jackknife(value, std_error, (value - half_width, value + half_width), left_out)


def debiased_frechet(
    generated: FeatureSet, reference: FeatureSet, full: float, independent: bool
) -> tuple[Jackknife, Groups]:
    """The Frechet distance with its sampling bias removed, and the group of each generated image.

    With ``independent`` group g is left out on both sides at once, and the estimand is the distance between the two
    populations; otherwise the reference's moments are held fixed, and it is the distance to those moments.
    """
    groups = jackknife_groups(len(generated), generated.labels, GROUPS)
    sizes = np.bincount(groups, minlength=GROUPS).astype(np.float64)
    whole, parts = _group_sums(generated.features, groups)
    if independent:
        other_groups = jackknife_groups(len(reference), reference.labels, GROUPS)
        other_whole, other_parts = _group_sums(reference.features, other_groups)
        against = [(other_whole - part).moments() for part in other_parts]
    else:
        against = [moments_of(reference)] * GROUPS
    left_out = np.array(
        [frechet_distance((whole - part).moments(), other) for part, other in zip(parts, against, strict=True)]
    )
    return delete_group_jackknife(full, left_out, sizes), groups


def _group_sums(features: Array, groups: Groups) -> tuple[Sums, list[Sums]]:
    centre = features.mean(axis=0)
    parts = [sums(features[groups == group], centre) for group in range(GROUPS)]
    whole = Sums(
        centre,
        np.sum([part.first for part in parts], axis=0),
        np.sum([part.second for part in parts], axis=0),
        len(features),
    )
    return whole, parts


def fid(generated: FeatureSet, reference: FeatureSet, independent: bool) -> tuple[Estimate, ...]:
    """Frechet distance of the features, plain and debiased. Range: from 0; best value 0.

    ``fid`` is what everybody reports. Its bias is positive, falls as 1/n and differs between models; the standard
    error comes from the influence function and says how it would scatter at this n, so there is no interval: the
    number estimates its own expectation at n images, not the distance. ``fid_debiased`` estimates the distance itself,
    by a delete-group jackknife with 10 groups, and may be negative where the distance is next to 0.

    Raises nothing for small n; the caller refuses n below ``Metric.needs``.

    Source: Heusel et al. 2017; bias: Chong and Forsyth 2020; see the functions above for both errors.
    """
    against = moments_of(reference)
    plain, influence = frechet_influence(generated.features, moments(generated.features), against)
    n = len(generated)
    std_error = mean_error(influence, generated.labels)
    jackknife, groups = debiased_frechet(generated, reference, plain, independent)
    bias = plain - jackknife.value
    biased = n < BIASED_BELOW or abs(bias) > BIASED_SHARE * abs(plain)
    return (
        Estimate(
            "fid",
            plain,
            higher_is_better=False,
            std_error=std_error,
            params={
                "std_error_method": "influence function",
                "biased": biased,
                "estimated_bias": bias,
                "reference_side": "held fixed",
            },
            comparable_across_n=False,
            terms={"influence": influence},
        ),
        Estimate(
            "fid_debiased",
            jackknife.value,
            higher_is_better=False,
            std_error=jackknife.std_error,
            ci95=jackknife.ci95,
            params={
                "std_error_method": "delete-group jackknife",
                "groups": GROUPS,
                "reference_side": "debiased" if independent else "held fixed",
            },
            terms={"left_out": jackknife.left_out, "group": groups},
        ),
    )


METRICS.register("fid")(
    Metric(("fid", "fid_debiased"), lambda dim: max(2 * GROUPS, ceil(LEAST_PER_DIMENSION * dim)), fid)
)
