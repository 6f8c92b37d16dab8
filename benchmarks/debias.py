"""The whole debiased estimate against the plain route: one eigendecomposition instead of one solve per group left out.

    pip install -e '.[bench]' && python benchmarks/debias.py [--dims 64,256,1024,2048] [--repeats 3]

The plain route is a delete-group jackknife with 10 groups: 11 distances, each by a peer's function from moments that
are made by subtraction. Ours leaves out every single image. On the same features, interleaved, at n = 1.25 d. "cold"
makes the reference's factor anew; "two sides" debiases a reference of the same size, too. Both routes start from the
same plain distance, equal to 1e-6; and what leaving an image out changes must be what the peer finds, for three
images, to 1e-6 of the distance. The debiased values differ by what their estimators differ: fewer groups and no
second order.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

import numpy as np
from frechet import features, torch_fidelity
from record import save

from diffeval.metrics.debias import Debiased, debiased_frechet
from diffeval.metrics.frechet import Moments, frechet_distance, moments
from diffeval.metrics.metric import FeatureSet

GROUPS = 10
Distance = Callable[[Moments, Moments], float]


def reference_of(known: Moments) -> FeatureSet:
    """A reference of which only moments are known."""
    reference = FeatureSet(np.empty((0, len(known.mean))))
    reference.once("moments", lambda: known)
    return reference


def plain_route(images: np.ndarray, known: Moments, distance: Distance) -> tuple[float, float]:
    """Value and standard error from 11 distances."""
    n, mean = len(images), images.mean(axis=0)
    deviations = images - mean
    numbers = np.arange(n) % GROUPS
    sums = [deviations[numbers == group].sum(axis=0) for group in range(GROUPS)]
    products = [deviations[numbers == group].T @ deviations[numbers == group] for group in range(GROUPS)]
    whole = np.sum(products, axis=0)

    def without(groups: list[int]) -> float:
        left = n - sum(int((numbers == group).sum()) for group in groups)
        shift = -np.sum([sums[group] for group in groups] or [np.zeros_like(mean)], axis=0) / left
        product = whole - (np.sum([products[group] for group in groups], axis=0) if groups else 0)
        covariance = (product - left * np.outer(shift, shift)) / (left - 1)
        return distance(Moments(mean + shift, covariance, left), known)

    full, left_out = without([]), np.array([without([group]) for group in range(GROUPS)])
    value = GROUPS * full - (GROUPS - 1) * left_out.mean()
    error = np.sqrt((GROUPS - 1) / GROUPS * ((left_out - left_out.mean()) ** 2).sum())
    return float(value), float(error)


def measure(d: int, repeats: int) -> list[dict[str, object]]:
    n = 5 * d // 4
    images, other = features(n, d, 0), features(n, d, 1)
    known = moments(features(4 * d, d, 1))
    warm = reference_of(known)
    assert known.factor.shape == (d, d)
    contestants: dict[str, Callable[[], Debiased | tuple[float, float]]] = {
        "ours, warm": lambda: debiased_frechet(FeatureSet(images), warm, False),
        "ours, cold": lambda: debiased_frechet(FeatureSet(images), reference_of(dataclasses.replace(known)), False),
        "ours, two sides": lambda: debiased_frechet(FeatureSet(images), FeatureSet(other), True),
        "10 groups, our distance": lambda: plain_route(images, known, frechet_distance),
        "10 groups, torch-fidelity": lambda: plain_route(images, known, torch_fidelity),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    found: dict[str, Debiased | tuple[float, float]] = {}
    for _ in range(repeats):
        for name, estimate in contestants.items():
            started = time.perf_counter()
            found[name] = estimate()
            seconds[name].append(time.perf_counter() - started)
    ours = found["ours, warm"]
    assert isinstance(ours, Debiased)
    agree(images, known, ours)
    base = statistics.median(seconds["ours, warm"])
    rows: list[dict[str, object]] = []
    for name in contestants:
        result, median = found[name], statistics.median(seconds[name])
        value, error = (result.value, result.std_error) if isinstance(result, Debiased) else result
        rows.append(
            {"d": d, "n": n, "route": name, "seconds": median, "ratio": median / base, "value": value, "error": error}
        )
    return rows


def agree(images: np.ndarray, known: Moments, ours: Debiased) -> None:
    """Stops where the two routes contradict each other."""
    full = torch_fidelity(moments(images), known)
    assert abs(ours.plain - full) < 1e-6 * full
    n = len(images)
    taken = np.array([torch_fidelity(moments(np.delete(images, i, axis=0)), known) for i in (0, n // 2, n - 1)])
    # Influences are (n - 1) times what leaving an image out takes away, less their mean: compare differences.
    expected = -(taken - taken[0]) * (n - 1)
    got = ours.influence[[0, n // 2, n - 1]] - ours.influence[0]
    assert np.abs(got - expected).max() < 1e-6 * (n - 1) * ours.plain, (got, expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", default="64,256,1024,2048")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = [row for d in options.dims.split(",") for row in measure(int(d), options.repeats)]
    save("debias", rows, libraries=("numpy", "scipy", "torch-fidelity"))


if __name__ == "__main__":
    main()
