"""How often the kernel distance's interval holds the true distance, and how often its test is wrong where nothing is.

    OPENBLAS_NUM_THREADS=1 python benchmarks/kid_coverage.py [--n 250,1000] [--laws ...] [--repeats 400]

Resumable: finished cells stay. A cell is a law, a true distance (zero, small, large), and n images of 64 dimensions on
each side. Each repeat draws both sides anew and is scored twice: with the reference as a sample, the truth being the
distance of the populations, and with the reference held fixed, where it is what the statistic reads on average over
generated images, given these real ones.

The truth does not come from the kernel matrix. The kernel is a polynomial, so a law's embedding is its first three
moment tensors, and distances are inner products of these. They are closed forms for Gaussian laws and their mixtures,
sums over the finite populations of real features, and zero in the third order for symmetric laws; only the rectified
law's third moments are means of 400,000 draws (the same for both populations), 400 times the largest sample, so that
their error is a twentieth of the statistic's. The test is read at distance zero only.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import record
from laws import CLASSES, LAWS, REAL, STRENGTHS, Array, _matrices, _real_features

from diffeval.metrics import permutation
from diffeval.metrics.kernel import side_of, within
from diffeval.metrics.kid import kid
from diffeval.metrics.metric import FeatureSet

D = 64
SEED = 32000
CHUNK, CHUNKS = 20000, 20
PARTIAL = record.FOLDER / "kid_coverage.partial.json"
# (x'y / d + 1)^3 = sum over p of these times (x'y)^p.
POWERS = (1.0, 3 / D, 3 / D**2, 1 / D**3)


@dataclass(frozen=True)
class Embedding:
    """Moments of a law: E x [d], E xx' [d, d], E xx'x'' [d, d, d]."""

    first: Array
    second: Array
    third: Array

    def inner(self, other: "Embedding") -> float:
        """E k(x, y) for independent draws of the two."""
        products = [np.vdot(getattr(self, order), getattr(other, order)) for order in ("first", "second", "third")]
        return float(POWERS[0] + sum(power * product for power, product in zip(POWERS[1:], products, strict=True)))


def of_points(points: Array, weights: Array) -> Embedding:
    """Of a finite population, [n, d], with weights that sum to 1."""
    third = np.zeros((D * D, D))
    for start in range(0, len(points), 2000):
        part = points[start : start + 2000]
        squares = (part[:, :, None] * part[:, None, :]).reshape(len(part), -1)
        third += squares.T @ (part * weights[start : start + 2000, None])
    return Embedding(weights @ points, points.T @ (points * weights[:, None]), third.reshape(D, D, D))


def _third_of_mixture(delta: float) -> Array:
    """Of Gaussians of one covariance W: sum of mean (x) mean (x) mean, and mean (x) W in its three orders."""
    a, _, c = _matrices(D)
    centres = (1 + delta) * np.sqrt(D) * c[:CLASSES]
    noise, mean = 0.09 * a.T @ a, centres.mean(axis=0)
    third = of_points(centres, np.full(CLASSES, 1 / CLASSES)).third
    for axes in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
        third = third + np.einsum(axes, mean, noise)
    return third


def _third_by_draws(name: str, delta: float) -> Array:
    random = np.random.Generator(np.random.Philox(SEED))
    weights = np.full(CHUNK, 1 / CHUNK / CHUNKS)
    return sum(
        (of_points(LAWS[name](D).draw(random, CHUNK, delta)[0], weights).third for _ in range(CHUNKS)),
        start=np.zeros((D, D, D)),
    )


def embedding(name: str, delta: float) -> Embedding:
    """Of a law at strength delta."""
    if name in REAL:
        features, labels = _real_features()[name]
        weights = np.ones(len(features))
        # As in laws.py: half of the ones are missing; or all of three classes.
        if delta == STRENGTHS["small"]:
            weights[labels == 1] = 0.5
        elif delta == STRENGTHS["large"]:
            weights[np.isin(labels, (1, 4, 8))] = 0.0
        return of_points(features, weights / weights.sum())
    mean, covariance = LAWS[name](D).moments(delta)
    third = np.zeros((D, D, D))
    if name in ("mixture", "classes"):
        third = _third_of_mixture(delta)
    elif name == "rectified":
        third = _third_by_draws(name, delta)
    return Embedding(mean, covariance + np.outer(mean, mean), third)


def given(population: Embedding, reference: FeatureSet) -> float:
    """Expectation of the statistic over generated images, the reference's being as they are."""
    points = reference.features
    sample = of_points(points, np.full(len(points), 1 / len(points)))
    own = float(within(side_of(reference)).partners.mean())
    return population.inner(population) + own - 2 * population.inner(sample)


def one_repeat(name: str, delta: float, n: int, number: int, population: Embedding, truth: float) -> list[list[float]]:
    """Value, truth, error and interval, with the reference as a sample and held fixed; and the p-value."""
    random = np.random.Generator(np.random.Philox([SEED, n, number]))
    law, found = LAWS[name](D), []
    ours, theirs = FeatureSet(*law.draw(random, n, delta)), FeatureSet(*law.draw(random, n, 0.0))
    for independent in (True, False):
        # The p-value is the same on both sides: permutations are left out where it is not read.
        permutation.PERMUTATIONS = 200 if independent and not delta else 2
        estimate = kid(ours, theirs, independent)[0]
        assert estimate.value is not None
        assert estimate.std_error is not None
        assert estimate.ci95 is not None
        target = truth if independent else given(population, theirs)
        p_value = float(estimate.params["p_value"] or 0.0)
        found.append([estimate.value, target, estimate.std_error, *estimate.ci95, p_value])
    return found


def row(cell: Mapping[str, object], columns: Array) -> dict[str, object]:
    """What the repeats [R, 6] of a cell come to."""
    value, truth, error, low, high, p_value = columns.T
    scatter = np.std(value - truth, ddof=1)
    tested = cell["distance"] == "zero" and cell["reference"] == "sample"
    return {
        **cell,
        "truth": float(truth.mean()),
        "bias / its error": float(np.mean(value - truth) / scatter * np.sqrt(len(value))),
        "std_error / sd": float(error.mean() / scatter),
        "coverage %": 100 * float(np.mean((low <= truth) & (truth <= high))),
        "below %": 100 * float(np.mean(truth < low)),
        "above %": 100 * float(np.mean(truth > high)),
        "symmetric interval %": 100 * float(np.mean(np.abs(value - truth) <= 1.96 * error)),
        "p < 0.05 %": 100 * float(np.mean(p_value < 0.05)) if tested else None,
    }


def run(names: list[str], counts: list[int], repeats: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(PARTIAL.read_text()) if PARTIAL.exists() else []
    done = {(one["law"], one["distance"], one["n"], one["repeats"]) for one in rows}
    for n in counts:
        for name in names:
            wanted = [s for s in STRENGTHS if (name, s, n, repeats) not in done]
            reference = embedding(name, 0.0) if wanted else None
            for strength in wanted:
                assert reference is not None
                started, delta = time.monotonic(), STRENGTHS[strength]
                population = embedding(name, delta)
                truth = population.inner(population) + reference.inner(reference) - 2 * population.inner(reference)
                found = np.array([one_repeat(name, delta, n, i, population, truth) for i in range(repeats)])
                for index, side in enumerate(("sample", "held fixed")):
                    cell = {"law": name, "distance": strength, "n": n, "reference": side, "repeats": repeats}
                    rows.append(row(cell, found[:, index]))
                PARTIAL.write_text(json.dumps(rows))
                print(f"{name} {strength} n={n}: {time.monotonic() - started:.0f} s", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--laws", default=",".join(LAWS))
    parser.add_argument("--n", default="250,1000")
    parser.add_argument("--repeats", type=int, default=400)
    options = parser.parse_args()
    record.FOLDER.mkdir(exist_ok=True)
    rows = run(options.laws.split(","), [int(n) for n in options.n.split(",")], options.repeats)
    record.save("kid_coverage", rows, ("numpy", "scipy"))
    PARTIAL.unlink()


if __name__ == "__main__":
    main()
