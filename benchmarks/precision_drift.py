"""What half precision, and compiling, do to FID: paired differences to float32 on the digits model, same seeds.

    python benchmarks/precision_drift.py [--n 2000] [--seeds 0,1,2] [--threads 2]

Each row is a run less the float32 run of the same seed: only what the arithmetic changes is left in the difference of
fid_debiased and its standard error; the standard error of the float32 value itself stands beside it. Pixels that
differ are a share of all; "images moved" is the root mean square in levels. What each is worth in seconds is measured
by ``sampling.py``. About 10 minutes on 2 cores, half of it compiling.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import save

from diffeval.compare.difference import difference
from diffeval.evaluate import evaluate
from diffeval.plan import CHUNK, Settings
from diffeval.runs.chunks import ChunkStore
from diffeval.runs.records import Results

WAYS: dict[str, dict[str, Any]] = {
    "float32, compiled": {"compile": "on"},
    "bf16": {"dtype": "bf16"},
    "bf16, compiled": {"dtype": "bf16", "compile": "on"},
    "fp16": {"dtype": "fp16"},
}


def run(settings: Settings, folder: Path) -> tuple[np.ndarray, Results]:
    """Images and results of a run."""
    results = evaluate("digits", metrics=["fid"], settings=settings, at=[settings.n], out=folder, keep="images")
    images = ChunkStore(folder / "images", CHUNK, ("images",)).gather("images", settings.n)
    return images.astype(float), results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in map(int, options.seeds.split(",")):
            exact = Settings(n=options.n, seed=seed, device="cpu", batch=64, compile="off")
            base = Path(folder) / f"float32-{seed}"
            expected, plain = run(exact, base)
            score = plain.score("fid_debiased")
            for name, way in WAYS.items():
                other = Path(folder) / f"{name}-{seed}"
                images, results = run(dataclasses.replace(exact, **way), other)
                assert results.provenance.compiled == (way.get("compile") == "on"), f"{name}: compiled or not"
                found = difference(other, base)
                gap = np.abs(images - expected)
                rows.append(
                    {
                        "way": name, "seed": seed, "n": options.n, "fid_debiased, float32": score.value,
                        "its std error": score.std_error,
                        "difference": found.value, "std error": found.std_error, "paired": found.paired,
                        "pixels that differ": float((gap > 0).mean()),
                        "by more than one level": float((gap > 1).mean()),
                        "images moved": float(np.sqrt((gap**2).mean())),
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
    save("precision_drift", rows, libraries=("torch", "diffusers"))


if __name__ == "__main__":
    main()
