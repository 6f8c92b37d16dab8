"""Seconds and memory of every metric on features: 10,000 images of 2048 dimensions against as many real ones.

    python benchmarks/suite_speed.py [--n 10000] [--m 10000]

Every metric of the registry. Both sides have ten classes and 1000 logits, and are samples of their own, which takes
longest; neighbourhoods take 5,000 of each side. Every metric once, in a process of its own, with nothing kept from
another; memory is the peak of that process less its features.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np
from record import save

from diffeval.metrics.metric import METRICS, FeatureSet
from diffeval.suite import standard

DIM, CLASSES, LOGITS = 2048, 10, 1000


def side(seed: int, n: int) -> FeatureSet:
    """Rectified, heavy-tailed features in balanced classes, and logits that know these."""
    from neighbours import draw

    labels = np.arange(n) % CLASSES
    random = np.random.Generator(np.random.Philox(100 + seed))
    logits = 2 * random.standard_normal((n, LOGITS)) + 6 * np.eye(LOGITS)[labels]
    names = tuple(str(number) for number in range(LOGITS))
    look = random.uniform(0.1, 0.9, (n, 8))
    features = draw(n, seed).astype(np.float64)
    return FeatureSet(features, labels, logits, names[:CLASSES], names, "clip:ViT-L-14-336", look)


def measure_here(name: str, n: int, m: int) -> None:
    """Prints one measurement."""
    from neighbours import peak

    generated, reference, compute = side(0, n), side(1, m), METRICS[name].compute
    before, started, busy = peak(), time.perf_counter(), time.process_time()
    found = compute(generated, reference, True)
    seconds, cores = time.perf_counter() - started, time.process_time() - busy
    assert all(one.value is not None for one in found), found
    memory = {"GB beyond the features": peak() - before, "GB in all": peak()}
    print(json.dumps({"seconds": seconds, "core seconds": cores, **memory}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10000)
    parser.add_argument("--m", type=int, default=10000)
    parser.add_argument("--metric", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.metric:
        measure_here(options.metric, options.n, options.m)
        return
    rows: list[dict[str, object]] = []
    for name in (*standard(), *(each for each in METRICS if not METRICS[each].place)):
        words = [sys.executable, __file__, "--metric", name, "--n", str(options.n), "--m", str(options.m)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        measured = json.loads(done.stdout.splitlines()[-1])
        scores = ", ".join(METRICS[name].scores)
        rows.append({"metric": name, "scores": scores, "standard": name in standard(), **measured})
        print(rows[-1], flush=True)
    total = sum(float(str(row["seconds"])) for row in rows if row["standard"] or row["metric"] == "vendi")
    busy = sum(float(str(row["core seconds"])) for row in rows if row["standard"] or row["metric"] == "vendi")
    rows.append({"metric": "standard suite and vendi", "seconds": total, "core seconds": busy})
    save("suite_speed", rows, ("numpy", "scipy", "torch"))


if __name__ == "__main__":
    main()
