"""Precision, recall, density and coverage: seconds and memory against the prdc package and torch-fidelity.

    pip install -e '.[bench]' && python benchmarks/neighbours.py [--n 10000] [--large 50000] [--rounds 3]

Every measurement is a process of its own, which loads the same float32 features and runs one contestant; rounds are
interleaved, and medians are shown. Core seconds are added up over threads, and feel less of what else the machine
does. Memory is the peak of that process, less what it held before the call (features among that). prdc takes one k for
all four scores and was asked for 5; torch-fidelity has precision and recall only. The scores must be equal, or the
script fails. ``--large`` runs ours once at that size. Measurements are kept as they come, in
``results/neighbours_measurements.json``, and not taken again (delete the file to start anew).
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from record import FOLDER, save

Features = npt.NDArray[np.float32]
DIM = 2048
LIBRARIES = ("torch", "numpy", "scikit-learn", "prdc", "torch-fidelity")
MEASUREMENTS = FOLDER / "neighbours_measurements.json"


def draw(n: int, seed: int) -> Features:
    """Rectified, correlated features, with one heavy-tailed scale per image and a spectrum that falls as 1 / i."""
    random, mixing = (np.random.Generator(np.random.Philox(one)) for one in (seed, 99))
    falling = np.sqrt(np.arange(1, DIM + 1, dtype=np.float32))[:, None]
    mix = mixing.standard_normal((DIM, DIM), dtype=np.float32) / falling
    features = np.empty((n, DIM), np.float32)
    for start in range(0, n, 5000):
        size = min(5000, n - start)
        scale = np.sqrt(8 / random.chisquare(8, (size, 1))).astype(np.float32)
        raw = scale * random.standard_normal((size, DIM), dtype=np.float32)
        features[start : start + size] = np.maximum(raw @ mix + 0.1 * seed, 0.0)
    return features


def ours(generated: Features, real: Features) -> dict[str, float]:
    """All four, with their errors, without the null."""
    from diffeval.metrics.manifold import make_cloud, read

    centre = real.mean(axis=0, dtype=np.float64)
    found = read(make_cloud(generated, centre), make_cloud(real, centre))  # type: ignore[arg-type]  # float32 will do
    return dict(found.values)


def ours_with_null(generated: Features, real: Features) -> dict[str, float]:
    """The metric as a run has it: float64, a reference of 2 n images, the null from its halves."""
    from diffeval.metrics.manifold import manifold
    from diffeval.metrics.metric import FeatureSet

    found = manifold(FeatureSet(generated.astype(np.float64)), FeatureSet(real.astype(np.float64)), True)
    return {f"{one.name}, other half": float(one.value or 0.0) for one in found}


def prdc(generated: Features, real: Features, k: int = 5) -> dict[str, float]:
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(real, generated, k)
    return {f"{name} (k={k})": float(value) for name, value in found.items()}


def prdc_3(generated: Features, real: Features) -> dict[str, float]:
    return prdc(generated, real, 3)


def torch_fidelity(generated: Features, real: Features) -> dict[str, float]:
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric

    found = prc_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), prc_neighborhood=3, verbose=False
    )
    return {name: float(found[name]) for name in ("precision", "recall")}


WITH_NULL = "diffeval, with errors and null"
CONTESTANTS: Mapping[str, Callable[[Features, Features], dict[str, float]]] = {
    "diffeval, with errors": ours,
    WITH_NULL: ours_with_null,
    "prdc": prdc,
    "prdc, k=3": prdc_3,
    "torch-fidelity": torch_fidelity,
}
# Ran once, for its answers or its size.
ONCE = (WITH_NULL, "prdc, k=3")


def peak() -> float:
    """Of this process, in GB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_here(contestant: str, folder: Path) -> None:
    """Prints one measurement."""
    import sklearn.metrics  # noqa: F401  # what a contestant imports is not its memory
    import torch_fidelity.metric_prc  # noqa: F401

    import diffeval.metrics.manifold  # noqa: F401

    seeds = (0, 1, 2) if contestant == WITH_NULL else (0, 1)
    generated, *parts = (np.load(folder / f"{seed}.npy") for seed in seeds)
    # No copy where there is one part: it would be counted as held before the call.
    real = parts[0] if len(parts) == 1 else np.concatenate(parts)
    del parts
    before, started, busy = peak(), time.perf_counter(), time.process_time()
    values = CONTESTANTS[contestant](generated, real)
    taken = {"seconds": time.perf_counter() - started, "core seconds": time.process_time() - busy}
    print(json.dumps({**taken, "extra": peak() - before, "peak": peak(), "scores": values}))


def measure(contestant: str, folder: Path) -> Mapping[str, object]:
    """In a process of its own."""
    words = [sys.executable, __file__, "--contestant", contestant, "--folder", str(folder)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: Mapping[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def agree(one: Mapping[str, float], other: Mapping[str, float], k: Mapping[str, int]) -> float:
    """Largest difference of the scores that both have at these k."""
    gaps = [abs(one[name] - other[held]) for name in k for held in (name, f"{name} (k={k[name]})") if held in other]
    return max(gaps, default=0.0)


def rows_of(taken: Mapping[str, list[dict[str, object]]], n: int) -> list[dict[str, object]]:
    """A line per contestant at one size."""
    from diffeval.metrics.manifold import NEIGHBOURS

    found = {name: taken[f"{name} {n}"] for name in CONTESTANTS if taken.get(f"{name} {n}")}
    base = found["diffeval, with errors"]
    lines: list[dict[str, object]] = []
    for name, parts in found.items():
        scores: dict[str, float] = parts[0]["scores"]  # type: ignore[assignment]  # as measure_here wrote it
        gap = agree(base[0]["scores"], scores, NEIGHBOURS)  # type: ignore[arg-type]
        assert gap < 1e-6, f"{name} differs by {gap:g}"  # torch-fidelity takes means in float32
        ratios = {
            unit: statistics.median(
                float(str(a[unit])) / float(str(b[unit])) for a, b in zip(parts, base, strict=False)
            )
            for unit in ("seconds", "core seconds")
        }
        lines.append(
            {
                "n": n,
                "contestant": name,
                "runs": len(parts),
                "seconds": statistics.median(float(str(part["seconds"])) for part in parts),
                "core seconds": statistics.median(float(str(part["core seconds"])) for part in parts),
                "times ours": ratios["seconds"],
                "times ours, of core seconds": ratios["core seconds"],
                "GB beyond the features": max(float(str(part["extra"])) for part in parts),
                "GB in all": max(float(str(part["peak"])) for part in parts),
                **{
                    key: round(value, 5) for key, value in scores.items() if "other half" not in key and "(" not in key
                },
                "largest difference": gap if name != "diffeval, with errors" and "null" not in name else None,
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10000)
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        measure_here(options.contestant, options.folder)
        return
    taken: dict[str, list[dict[str, object]]] = {}
    if MEASUREMENTS.exists():
        taken = json.loads(MEASUREMENTS.read_text())
    plan = [(options.n, name, once) for once in range(options.rounds) for name in CONTESTANTS]
    plan = [(n, name, once) for n, name, once in plan if not once or name not in ONCE]
    plan += [(options.large, "diffeval, with errors", 0)] if options.large else []
    with tempfile.TemporaryDirectory() as place:
        for n, name, once in plan:
            key = f"{name} {n}"
            if len(taken.setdefault(key, [])) > once:
                continue
            folder = Path(place) / str(n)
            if not folder.exists():
                folder.mkdir()
                for seed in (0, 1, 2)[: 2 if n == options.large else 3]:
                    np.save(folder / f"{seed}.npy", draw(n, seed))
            taken[key].append(dict(measure(name, folder)))
            FOLDER.mkdir(exist_ok=True)
            MEASUREMENTS.write_text(json.dumps(taken, indent=2) + "\n")
            print(key, taken[key][-1], flush=True)
    sizes = dict.fromkeys(n for n, _, _ in plan)
    save("neighbours", [row for n in sizes for row in rows_of(taken, n)], LIBRARIES)


if __name__ == "__main__":
    main()
