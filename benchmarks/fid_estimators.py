"""Which estimator of the Frechet distance is least biased, and whose interval covers: the study behind fid_debiased.

    python benchmarks/fid_estimators.py run [--d 64,2048,256] [--repeats 400] [--jobs 2]
    python benchmarks/fid_estimators.py table

``run`` is resumable: finished cells stay. ``table`` writes results/fid_estimators*.md and the figure. A cell is a law,
a true distance (zero, small, large), a dimension, a number of images n (a multiple of d), and a side: ``one`` holds
the reference's exact moments fixed, ``two`` compares two samples of n images. Estimators that need many solves run on
the first 50 repeats only, and at d = 2048 all on 5. Repeats are seeded by their number. Nothing is left out of the
tables.
"""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse  # noqa: E402
import gzip  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from concurrent.futures import ProcessPoolExecutor  # noqa: E402
from dataclasses import asdict, dataclass  # noqa: E402
from functools import lru_cache, partial  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import rivals  # noqa: E402
from laws import LAWS, REAL, STRENGTHS, population  # noqa: E402

from diffeval.metrics.debias import debiased_frechet  # noqa: E402
from diffeval.metrics.frechet import Moments, frechet_distance  # noqa: E402
from diffeval.metrics.metric import FeatureSet  # noqa: E402

CELLS = Path(__file__).parent / "results" / "fid_estimators"
MULTIPLES = (1.25, 2.5, 5.0, 10.0, 20.0)
LARGE = 2048
# Repeats at d = 2048, and of estimators with many solves.
FEW, SOME = 5, 50
SEED = 20000
TIMED = "seconds "


@dataclass(frozen=True)
class Cell:
    law: str
    strength: str
    d: int
    multiple: float
    side: str

    @property
    def n(self) -> int:
        return int(self.multiple * self.d)

    @property
    def path(self) -> Path:
        return CELLS / f"d{self.d}-{self.side}-{self.law}-{self.strength}-{self.multiple:g}.json.gz"


def cells(dims: list[int]) -> Iterator[Cell]:
    """One side first, everywhere; then two sides, at d = 64."""
    for side, d in (*(("one", d) for d in dims), *(("two", d) for d in dims if d == 64)):
        for law in LAWS:
            if law == "mnist" and "DIFFEVAL_TEST_MNIST" not in os.environ:
                print("mnist is left out: DIFFEVAL_TEST_MNIST does not name its folder")
                continue
            if (law in REAL and d != 64) or (d == LARGE and law not in ("rectified", "low-rank")):
                continue
            for strength in STRENGTHS if d != LARGE else ("small", "large"):
                for multiple in MULTIPLES if d != LARGE else MULTIPLES[:3]:
                    yield Cell(law, strength, d, multiple, side)


@lru_cache(maxsize=2)
def _truth(law: str, strength: str, d: int) -> tuple[Moments, float]:
    """Exact moments of the reference, and the true distance."""
    made = LAWS[law](d)
    reference = population(made, 0.0)
    delta = STRENGTHS[strength]
    return reference, frechet_distance(population(made, delta), reference) if delta else 0.0


def fixed(features: np.ndarray, reference: Moments) -> FeatureSet:
    """A reference of which only moments are known."""
    known = FeatureSet(features[:0])
    known.once("moments", lambda: reference)
    return known


def one_repeat(cell: Cell, number: int) -> dict[str, float]:
    """Every estimator on one sample, with its seconds."""
    reference, _ = _truth(cell.law, cell.strength, cell.d)
    law = LAWS[cell.law](cell.d)
    random = np.random.Generator(np.random.Philox([SEED, number]))
    features, labels = law.draw(random, cell.n, STRENGTHS[cell.strength])
    found: dict[str, float] = {}

    def timed(name: str, estimate: Callable[[], tuple[float, ...]], *parts: str) -> None:
        started = time.perf_counter()
        values = estimate()
        found[TIMED + name] = time.perf_counter() - started
        found.update({f"{name}{part}": float(value) for part, value in zip(("", *parts), values, strict=True)})

    def ours(other: FeatureSet, independent: bool) -> tuple[float, ...]:
        result = debiased_frechet(FeatureSet(features, labels), other, independent)
        variance, degrees = result.variance, len(result.terms.pseudo[0]) - 1
        return (
            result.value,
            result.plain,
            result.first_order,
            result.jackknife_variance,
            variance.pairs,
            result.std_error,
            result.half_width,
            result.remainder,
            variance.directions,
            degrees,
        )

    names = (
        " plain",
        " first order",
        " variance",
        " pairs",
        " error",
        " half",
        " remainder",
        " directions",
        " degrees",
    )
    if cell.side == "two":
        other, other_labels = law.draw(random, cell.n, 0.0)
        timed("ours", lambda: ours(FeatureSet(other, other_labels), True), *names)
        return found
    timed("ours", lambda: ours(fixed(features, reference), False), *names)
    problem = rivals.Problem(features, labels, reference)
    timed("plain", lambda: (problem.plain,))
    timed("groups 10", lambda: rivals.grouped(problem, 10), " error")
    if cell.d == 64:
        timed("influence", lambda: (rivals.influence_error(problem),))
        timed("crossfit", lambda: (rivals.crossfit_error(problem),))
    if number >= SOME:
        return found
    timed("spectral", lambda: (rivals.spectral(problem),))
    timed("half-sample", lambda: (rivals.half_sample(problem),))
    timed("infinity", lambda: (rivals.extrapolated(problem),))
    if cell.d == LARGE:
        return found
    timed("groups 5", lambda: rivals.grouped(problem, 5), " error")
    timed("groups 20", lambda: rivals.grouped(problem, 20), " error")
    for count in (5, 10, *((20,) if cell.d == 64 else ())):
        timed(f"groups {count} twice", partial(rivals.grouped_twice, problem, count), " error")
    return found


def run(dims: list[int], repeats: int, jobs: int) -> None:
    CELLS.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(jobs) as pool:
        for cell in cells(dims):
            if cell.path.exists():
                continue
            started = time.monotonic()
            count = FEW if cell.d == LARGE else repeats
            rows = list(pool.map(partial(one_repeat, cell), range(count), chunksize=max(1, count // (10 * jobs))))
            keep(cell, rows)
            print(f"{cell.path.stem}: {time.monotonic() - started:.0f} s", flush=True)


def keep(cell: Cell, rows: list[dict[str, float]]) -> None:
    """Writes a finished cell: every estimate to five digits, and the median of each estimator's seconds."""
    columns = {name: [row[name] for row in rows if name in row] for name in rows[0]}
    timed = {name.removeprefix(TIMED): values for name, values in columns.items() if name.startswith(TIMED)}
    document = {
        **asdict(cell),
        "truth": _truth(cell.law, cell.strength, cell.d)[1],
        "repeats": len(rows),
        "seconds": {name: round_off(statistics.median(values)) for name, values in timed.items()},
        "columns": {
            name: [round_off(value) for value in values]
            for name, values in columns.items()
            if not name.startswith(TIMED)
        },
    }
    unfinished = cell.path.with_suffix(".partial")
    # Without a time stamp, so that the same cell is the same file.
    with unfinished.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
        packed.write(json.dumps(document).encode())
    unfinished.replace(cell.path)


def round_off(value: float) -> float:
    return float(f"{value:.5g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--d", default="64,2048,256")
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.what == "run":
        run([int(d) for d in options.d.split(",")], options.repeats, options.jobs)
    else:
        from fid_tables import write

        write(CELLS)


if __name__ == "__main__":
    main()
