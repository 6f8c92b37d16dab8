"""Whether memory and seconds per image stay flat as the number of images grows.

    python benchmarks/flat_memory.py [--most 100000]

``sampled`` draws 8x8 images of the digits model with one step of DDIM, ``ready-made`` reads 32x32 RGB images from an
npz, with an extractor of 48 block means, so that the engine is seen and not a network. FID and KID are computed of
the first, FID alone of the second. Each count is a process of its own; its largest resident memory is read when the
images are done, and at the end. What lies in memory before the first image (libraries, network, an npz's own images)
is taken off.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import save

from diffeval.progress import SilentReporter

COUNTS = (1000, 10_000, 100_000)
KINDS = {"sampled": ("fid", "kid"), "ready-made": ("fid",)}
EXTRACTOR = """
def blocks():
    return lambda pixels: pixels.float().unflatten(3, (4, 8)).unflatten(2, (4, 8)).mean((3, 5)).flatten(1)
"""


def peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


class Watch(SilentReporter):
    """Notes time and memory when stages begin."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, float, float]] = []

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        self.seen.append((name, time.monotonic(), peak()))

    def at(self, *names: str) -> tuple[float, float]:
        """Time and memory at the first stage of these names."""
        return next((moment, memory) for name, moment, memory in self.seen if name in names)


def measure(kind: str, n: int, folder: Path) -> dict[str, object]:
    """One run, in this process."""
    from diffeval.evaluate import evaluate
    from diffeval.measured import Extracting
    from diffeval.plan import Settings

    watch = Watch()
    settings, spec, ref, extracting = Settings(n=n, steps=1, device="cpu", batch=256), "digits", None, None
    if kind == "ready-made":
        settings = Settings(n=n, device="cpu", batch=256)
        spec, ref = f"images:{folder / f'{n}.npz'}", f"npz:{folder / 'real.npz'}"
        extracting = Extracting(f"{folder / 'own.py'}:blocks")
    evaluate(
        spec, metrics=KINDS[kind], settings=settings, at=(n,), ref=ref, extracting=extracting,
        out=folder / f"{kind}-{n}", keep="none", reporter=watch,
    )  # fmt: skip
    begun, before = watch.at("sampling", "features")
    done, between = watch.at("scoring")
    return {
        "images": kind,
        "scores": ", ".join(KINDS[kind]),
        "n": n,
        "ms per image": round(1000 * (done - begun) / n, 3),
        "MB for images": round(between - before),
        "scoring s": round(time.monotonic() - done, 1),
        "MB for scoring": round(peak() - between),
        "MB in all": round(peak()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=COUNTS[-1])
    parser.add_argument("--one", nargs=3, metavar=("KIND", "N", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, n, place = options.one
        print(json.dumps(measure(kind, int(n), Path(place))))
        return
    rows = []
    counts = [count for count in COUNTS if count <= options.most]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "own.py").write_text(EXTRACTOR)
        random = np.random.Generator(np.random.Philox(0))
        for name, count in (("real", 2000), *((str(count), count) for count in counts)):
            np.savez(Path(folder) / f"{name}.npz", arr_0=random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
        for kind in KINDS:
            for count in counts:
                words = [sys.executable, __file__, "--one", kind, str(count), folder]
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(rows[-1], flush=True)
    save("flat_memory", rows, libraries=("torch", "numpy"))


if __name__ == "__main__":
    main()
