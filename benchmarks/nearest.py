"""Nearest neighbours against scikit-learn's, and mode coverage at full size: seconds and memory.

    python benchmarks/nearest.py [--n 10000] [--large 50000] [--rounds 3]

Each measurement is a process of its own; ours and scikit-learn's brute force take turns, medians are shown, and their
neighbours' distances must agree. Memory is the peak of the process, features included. ``--large`` runs
mode_coverage once, with as many generated images and a reference of as many.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from record import save

LIBRARIES = ("torch", "numpy", "scikit-learn")
K = 5


def measured(what: str, n: int, d: int) -> dict[str, float]:
    """Runs one contestant here."""
    random = np.random.Generator(np.random.Philox(d))
    features = random.standard_normal((n, d), dtype=np.float32)
    started, cpu = time.perf_counter(), time.process_time()
    if what == "ours":
        from diffeval.metrics.neighbours import nearest, points

        distances = np.sqrt(nearest(points(features, features.mean(axis=0).astype(np.float64)), K, (K,))[0])
    elif what == "scikit-learn":
        from sklearn.neighbors import NearestNeighbors

        distances = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(features).kneighbors()[0]
    else:
        from diffeval.metrics.metric import FeatureSet
        from diffeval.metrics.mode_coverage import mode_coverage

        # As a run has them: float64, and nothing else.
        generated, real = FeatureSet(features.astype(np.float64)), FeatureSet(random.standard_normal((n, d)))
        del features
        found = mode_coverage(generated, real, True)
        distances = np.array([one.value or 0.0 for one in found])
    return {
        "seconds": time.perf_counter() - started,
        "core seconds": time.process_time() - cpu,
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "checksum": float(distances.mean()),
    }


def in_a_process(what: str, n: int, d: int) -> dict[str, float]:
    """The same, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", what, "--n", str(n), "--d", str(d)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--large", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", default="")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one, given.n, given.d)))
        return
    rows: list[dict[str, object]] = []
    for d in (64, given.d):
        found = {what: list[dict[str, float]]() for what in ("ours", "scikit-learn")}
        for _ in range(given.rounds):
            for what, held in found.items():
                held.append(in_a_process(what, given.n, d))
        medians = {
            what: {key: statistics.median(one[key] for one in held) for key in held[0]} for what, held in found.items()
        }
        gap = abs(medians["ours"]["checksum"] / medians["scikit-learn"]["checksum"] - 1)
        assert gap < 1e-5, f"neighbours differ by {gap:.2g} at d={d}"
        ratio = medians["scikit-learn"]["core seconds"] / medians["ours"]["core seconds"]
        rows += [
            {"what": f"{K} nearest neighbours", "by": what, "n": given.n, "d": d, **one, "ratio": ratio}
            for what, one in medians.items()
        ]
    if given.large:
        rows.append(
            {"what": "mode_coverage", "by": "ours", "n": given.large, "d": given.d}
            | in_a_process("modes", given.large, given.d)
        )
    save("nearest", rows, LIBRARIES)


if __name__ == "__main__":
    main()
