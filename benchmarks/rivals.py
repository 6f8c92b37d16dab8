"""Other ways to estimate a Frechet distance and its error, as published or as proposed; the study compares them.

All hold the reference's moments fixed. ``Problem`` brings the features into the reference's coordinates once, so that
every estimator pays for its own solves only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigh, eigvalsh

from diffeval.metrics.frechet import Moments

Array = np.ndarray
# Sizes of FID-infinity's regression, and the least share of n among them, as its authors have them.
SIZES, LEAST_SHARE = 15, 0.1


@dataclass(frozen=True)
class Problem:
    """Generated features [n, d] against moments."""

    features: Array
    labels: Array | None
    reference: Moments

    @cached_property
    def coordinates(self) -> Array:
        return self.features @ self.reference.factor

    def distance(self, rows: Array) -> float:
        """Plain distance of some of the images."""
        return self.distance_of(sums(self.features[rows], self.coordinates[rows]))

    def distance_of(self, some: "Sums") -> float:
        """Plain distance of the images summed up."""
        mean, z_mean = some.x / some.n, some.z / some.n
        spread = (some.squares - some.n * (mean @ mean)) / (some.n - 1) + np.trace(self.reference.covariance)
        gram = (some.gram - some.n * np.outer(z_mean, z_mean)) / (some.n - 1)
        root = np.sqrt(eigvalsh(gram, check_finite=False).clip(min=0.0)).sum()
        return float(((mean - self.reference.mean) ** 2).sum() + spread - 2 * root)

    @cached_property
    def plain(self) -> float:
        return self.distance(np.arange(len(self.features)))

    @cached_property
    def random(self) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(len(self.features)))

    def deal(self, count: int) -> Array:
        """Group numbers, classes in their shares."""
        order = np.arange(len(self.features)) if self.labels is None else np.argsort(self.labels, kind="stable")
        numbers = np.empty(len(order), dtype=int)
        numbers[order] = np.arange(len(order)) % count
        return numbers

    def groups(self, count: int) -> tuple["Sums", list["Sums"]]:
        """Sums of all images and of each group."""
        numbers = self.deal(count)
        parts = [sums(self.features[numbers == group], self.coordinates[numbers == group]) for group in range(count)]
        return add(parts), parts


@dataclass(frozen=True)
class Sums:
    """What moments need of some images, and groups can be subtracted from."""

    n: int
    x: Array
    z: Array
    squares: float
    gram: Array

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(
            self.n - other.n, self.x - other.x, self.z - other.z, self.squares - other.squares, self.gram - other.gram
        )


def sums(features: Array, coordinates: Array) -> Sums:
    return Sums(
        len(features),
        features.sum(axis=0),
        coordinates.sum(axis=0),
        float((features**2).sum()),
        coordinates.T @ coordinates,
    )


def add(parts: Sequence[Sums]) -> Sums:
    return Sums(
        sum(part.n for part in parts),
        np.sum([part.x for part in parts], axis=0),
        np.sum([part.z for part in parts], axis=0),
        sum(part.squares for part in parts),
        np.sum([part.gram for part in parts], axis=0),
    )


def extrapolated(problem: Problem) -> float:
    """FID-infinity: 15 sizes, reshuffled subsets, least squares on 1 / n, intercept (Chong and Forsyth 2020)."""
    n = len(problem.features)
    sizes = np.linspace(max(2, LEAST_SHARE * n), n, SIZES).astype(int)
    values = [problem.distance(problem.random.permutation(n)[:size]) for size in sizes]
    return float(np.polyfit(1 / sizes, values, 1)[1])


def spectral(problem: Problem) -> float:
    """Minus the bias that a Gaussian sample has to second order, from the eigenvalues of the two covariances."""
    n, deviations = len(problem.features), problem.features - problem.features.mean(axis=0)
    covariance = deviations.T @ deviations / (n - 1)
    factor = problem.reference.factor
    values = eigvalsh(factor.T @ covariance @ factor)
    roots = np.sqrt(values.clip(min=0.0))
    # Second derivative of -2 tr M^1/2 along Gaussian noise in M: E H_ij^2 = M_ii M_jj (1 + delta_ij) / n.
    total = np.outer(roots**2, roots**2) / (np.outer(roots, roots) * np.add.outer(roots, roots)).clip(min=1e-300)
    curvature = (total.sum() + np.trace(total)) / 2
    # What the mean adds cancels with the trace: E |mean - mu|^2 = tr S / n.
    return problem.plain - float(np.trace(covariance) + curvature) / n


def grouped(problem: Problem, count: int) -> tuple[float, float]:
    """Delete-group jackknife of first order, and its standard error."""
    whole, parts = problem.groups(count)
    left = np.array([problem.distance_of(whole - part) for part in parts])
    value = count * problem.plain - (count - 1) * left.mean()
    return float(value), float(np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum()))


def grouped_twice(problem: Problem, count: int) -> tuple[float, float]:
    """Of second order (Schucany, Gray and Owen 1971), and the nested jackknife's error of the first-order value."""
    whole, parts = problem.groups(count)
    one = np.array([problem.distance_of(whole - part) for part in parts])
    two = np.zeros((count, count))
    for first in range(count):
        for second in range(first):
            two[first, second] = two[second, first] = problem.distance_of(whole - parts[first] - parts[second])
    mean_two = two.sum() / (count * (count - 1))
    value = (count**2 * problem.plain - 2 * (count - 1) ** 2 * one.mean() + (count - 2) ** 2 * mean_two) / 2
    nested = (count - 1) * one - (count - 2) * two.sum(axis=1) / (count - 1)
    error = np.sqrt((count - 1) / count * ((nested - nested.mean()) ** 2).sum())
    return float(value), float(error)


def half_sample(problem: Problem) -> float:
    """Richardson: twice the value minus the mean of both halves."""
    _, halves = problem.groups(2)
    return 2 * problem.plain - (problem.distance_of(halves[0]) + problem.distance_of(halves[1])) / 2


def influence(features: Array, mean: Array, covariance: Array, reference: Moments) -> Array:
    """Influence of images [k] at some moments: 2 (m - m_r)'(x - m) + (x - m)'(I - A)(x - m) + const."""
    factor = reference.factor
    values, vectors = eigh(factor.T @ covariance @ factor, driver="evd", check_finite=False)
    usable = values > values.max() * np.finfo(float).eps * len(values)
    half = (factor @ vectors[:, usable]) * values[usable] ** -0.25
    centred = features - mean
    quadratic: Array = (centred**2).sum(axis=1) - ((centred @ half) ** 2).sum(axis=1)
    constant = np.trace(covariance) - np.sqrt(values.clip(min=0.0)).sum()
    terms: Array = quadratic - constant + 2 * centred @ (mean - reference.mean)
    return terms


def influence_error(problem: Problem) -> float:
    """Standard error from influence terms at the sample's own moments."""
    features = problem.features
    terms = influence(features, features.mean(axis=0), np.cov(features.T), problem.reference)
    return _error(terms, problem.labels)


def crossfit_error(problem: Problem, count: int = 10) -> float:
    """Standard error from each group's influence terms under the moments of the others."""
    numbers, features = problem.deal(count), problem.features
    terms = np.empty(len(features))
    for group in range(count):
        others = features[numbers != group]
        terms[numbers == group] = influence(
            features[numbers == group], others.mean(axis=0), np.cov(others.T), problem.reference
        )
    return _error(terms, problem.labels)


def _error(terms: Array, labels: Array | None) -> float:
    from diffeval.metrics.groups import mean_error

    return mean_error(terms, labels)
