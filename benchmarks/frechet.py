"""Our Frechet step against torch-fidelity's, pytorch-fid's and clean-fid's, on the same features, interleaved.

    pip install -e '.[bench]' && python benchmarks/frechet.py [--dims 64,256,1024,2048] [--repeats 3]

Timed is the step from two sets of moments to the distance, which is what the peers' functions do. Ours is timed cold
(the reference's factor is computed) and warm (it is there, as for every further sample count or checkpoint).
pytorch-fid and clean-fid call ``scipy.linalg.sqrtm(..., disp=False)``; where the installed SciPy no longer knows that
argument they cannot run, and the table says so. All values must agree to 1e-6 relative, or the script fails.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from types import SimpleNamespace

import numpy as np
from record import save

from diffeval.metrics.frechet import Moments, frechet_distance, moments

Distance = Callable[[Moments, Moments], float]


def ours_cold(one: Moments, other: Moments) -> float:
    """With the reference's factor computed anew."""
    return frechet_distance(one, dataclasses.replace(other))


def torch_fidelity(one: Moments, other: Moments) -> float:
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    statistics_of = [{"mu": part.mean, "sigma": part.covariance} for part in (one, other)]
    found = fid_statistics_to_metric(*statistics_of, verbose=False)
    return float(next(iter(found.values())))


def pytorch_fid(one: Moments, other: Moments) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    return float(calculate_frechet_distance(one.mean, one.covariance, other.mean, other.covariance))


def clean_fid(one: Moments, other: Moments) -> float:
    from cleanfid.fid import frechet_distance as theirs

    return float(theirs(one.mean, one.covariance, other.mean, other.covariance))


CONTESTANTS: dict[str, tuple[str, Distance]] = {
    "diffeval, warm": ("diffeval", frechet_distance),
    "diffeval, cold": ("diffeval", ours_cold),
    "torch-fidelity": ("torch-fidelity", torch_fidelity),
    "pytorch-fid": ("pytorch-fid", pytorch_fid),
    "clean-fid": ("clean-fid", clean_fid),
}


def features(n: int, d: int, seed: int) -> np.ndarray:
    """Rectified, heavy-tailed, correlated features, like those of a network after its last ReLU."""
    random = np.random.Generator(np.random.Philox(seed))
    mixing = np.random.Generator(np.random.Philox(99)).standard_normal((d, d)) / np.sqrt(d)
    raw = random.standard_t(8, size=(n, d)) @ mixing
    rectified: np.ndarray = np.maximum(raw + 0.1 * seed, 0.0)
    return rectified


def measure(d: int, repeats: int) -> list[dict[str, object]]:
    """One row per contestant at dimension ``d``, with medians over interleaved repeats."""
    one, other = (moments(features(3 * d, d, seed)) for seed in (0, 1))
    assert other.factor.shape == (d, d)
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    values: dict[str, float] = {}
    failed: dict[str, str] = {}
    for _ in range(repeats):
        for name, (_, distance) in CONTESTANTS.items():
            if name in failed:
                continue
            started = time.perf_counter()
            try:
                values[name] = distance(one, other)
            except (TypeError, ImportError, ValueError) as error:
                failed[name] = f"{type(error).__name__}: {error}"
                continue
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["diffeval, warm"])
    rows: list[dict[str, object]] = []
    for name, (package, _) in CONTESTANTS.items():
        row: dict[str, object] = {"d": d, "contestant": name, "version": metadata.version(package)}
        if name in failed:
            rows.append({**row, "failed": failed[name]})
            continue
        median = statistics.median(seconds[name])
        gap = abs(values[name] - values["diffeval, warm"]) / abs(values["diffeval, warm"])
        assert gap < 1e-6, f"{name} differs by {gap:.2g} at d={d}"
        rows.append({**row, "seconds": median, "ratio": median / base, "relative_difference": gap})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", default="64,256,1024,2048")
    parser.add_argument("--repeats", type=int, default=3)
    options: SimpleNamespace = SimpleNamespace(**vars(parser.parse_args()))
    rows = [row for d in options.dims.split(",") for row in measure(int(d), options.repeats)]
    save("frechet", rows, libraries=("numpy", "scipy", "torch-fidelity", "pytorch-fid", "clean-fid"))


if __name__ == "__main__":
    main()
