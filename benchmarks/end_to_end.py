"""From a checkpoint to its FID: ``diffeval`` against a diffusers loop, a folder of PNGs and torch-fidelity.

    python benchmarks/end_to_end.py [--n 10000] [--turns 3] [--steps 10] [--threads 2] [--most 40000]

Both sample the digits model with the same noise, labels, steps and batch on the same threads, and measure by the same
64 features against the same 1297 digits: the FIDs must agree to one part in a thousand, or the script fails. Peers
save PNGs, read them back and call ``calculate_metrics`` with the features registered as an extractor. ``diffeval``
runs as its users run it, with an empty cache, and gives the standard error, the debiased value and pictures beside
the plain FID. Every measurement is a process of its own, timed from outside, in turns; what was measured is kept in
``results/end_to_end.partial.json``, and a script that was stopped goes on there.

The second table is how many images an FID within 2% of the truth takes, and how long: the root mean square error over
disjoint parts of ``--most`` images, drawn with two steps, where the model is bad enough for its FID to be known that
well. The truth is the debiased value of all of them.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import FOLDER, save

KEPT = FOLDER / "end_to_end.partial.json"
NAMES = ("diffeval", "diffusers loop, PNGs, torch-fidelity")
BATCH = 256
WITHIN, FEW = 0.02, 2
LIBRARIES = ("torch", "diffusers", "torch-fidelity", "pillow", "numpy")


def ours(n: int, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """As ``diffeval fid digits`` does it."""
    from diffeval.evaluate import evaluate
    from diffeval.plan import Settings

    settings = Settings(n=n, steps=steps, seed=seed, device="cpu", batch=BATCH)
    results = evaluate("digits", metrics=["fid"], settings=settings, at=[n], out=folder / "run")
    found = {score.name: score.value for score in results.scores}
    return {"fid": found["fid"], "debiased": found["fid_debiased"], "stages": dict(results.provenance.seconds)}


def theirs(n: int, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """A loop over diffusers' network and scheduler as its pipelines have it, PNGs, and torch-fidelity."""
    import torch
    import torch_fidelity
    from diffusers import DDIMScheduler
    from PIL import Image
    from safetensors.torch import load_file
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    from diffeval.checkpoints.checkpoint import load
    from diffeval.data.source import open_source
    from diffeval.diffusion.conditions import balanced_labels
    from diffeval.diffusion.noise import initial_noise
    from diffeval.features.digits import DIM, WEIGHTS, DigitsClassifier

    checkpoint, seconds = load("digits"), {}
    network = checkpoint.network
    scheduler = DDIMScheduler(
        trained_betas=list(checkpoint.schedule.betas), timestep_spacing="trailing", prediction_type="epsilon"
    )
    pictures, real = folder / "pictures", folder / "real"
    pictures.mkdir()
    real.mkdir()
    started = time.perf_counter()
    for start in range(0, n, BATCH):
        indices = range(start, min(start + BATCH, n))
        labels = torch.from_numpy(balanced_labels(indices.start, indices.stop, 10))
        with torch.no_grad():
            image = initial_noise(seed, indices, checkpoint.shape)
            scheduler.set_timesteps(steps)
            for t in scheduler.timesteps:
                output = network(image, t, class_labels=labels).sample
                image = scheduler.step(output, t, image, use_clipped_model_output=True).prev_sample
        pixels = ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        for index, one in zip(indices, pixels, strict=True):
            Image.fromarray(one[0]).save(pictures / f"{index:06d}.png")
    seconds["sampling, PNGs"] = time.perf_counter() - started
    for index, one in enumerate(open_source("digits@train").images):
        Image.fromarray(one[0]).save(real / f"{index:06d}.png")

    class Digits(FeatureExtractorBase):  # type: ignore[misc]
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = DigitsClassifier()
            self.network.load_state_dict(load_file(WEIGHTS))
            self.network.eval()

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return (str(DIM),)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return str(DIM)

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (self.network.features(images[:, :1].float() / 127.5 - 1.0),)

    torch_fidelity.register_feature_extractor("digits", Digits)
    started = time.perf_counter()
    value = torch_fidelity.calculate_metrics(
        input1=str(pictures), input2=str(real), fid=True, feature_extractor="digits", feature_layer_fid=str(DIM),
        cuda=False, batch_size=BATCH, cache=False, verbose=False,
    )["frechet_inception_distance"]  # fmt: skip
    seconds["calculate_metrics"] = time.perf_counter() - started
    return {"fid": float(value), "stages": seconds}


def measure(name: str, n: int, steps: int, seed: int, threads: int) -> dict[str, Any]:
    """One process from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        told = {"DIFFEVAL_CACHE": f"{folder}/cache", "OMP_NUM_THREADS": str(threads)}
        words = [sys.executable, __file__, "--child", name, "--n", str(n), "--steps", str(steps), "--seed", str(seed)]
        started = time.perf_counter()
        done = subprocess.run(
            [*words, "--folder", folder], env={**os.environ, **told}, capture_output=True, text=True, check=False
        )
        taken = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        return {"seconds": taken, **json.loads(done.stdout.splitlines()[-1])}


def needed_images(most: int, threads: int) -> list[dict[str, Any]]:
    """Relative root mean square error of both estimates against n, over disjoint parts of many images."""
    import torch

    from diffeval.data.source import open_source
    from diffeval.diffusion.conditions import balanced_labels
    from diffeval.evaluate import evaluate
    from diffeval.features.digits import digits
    from diffeval.features.extractor import ExtractorRequest
    from diffeval.metrics.debias import debiased_frechet
    from diffeval.metrics.frechet import frechet_distance, moments
    from diffeval.metrics.metric import FeatureSet
    from diffeval.plan import Settings
    from diffeval.runs.chunks import ChunkStore

    torch.set_num_threads(threads)
    folder = FOLDER.parent / ".end_to_end"
    settings = Settings(n=most, steps=FEW, device="cpu", batch=BATCH)
    evaluate("digits", metrics=["fid"], settings=settings, at=[most], out=folder)
    store = ChunkStore(next((folder / "features").iterdir()), 256, ("features", "appearance", "logits"))
    made = store.gather("features", most).astype(np.float64)
    extract = digits(ExtractorRequest(torch.device("cpu"))).run
    real = open_source("digits@train").images
    labels = balanced_labels(0, most, 10)
    reference = FeatureSet(extract(real).features.astype(np.float64))
    truth = debiased_frechet(FeatureSet(made, labels), reference, False).value
    rows = []
    n = 250
    while n <= most // 5:
        parts = [made[start : start + n] for start in range(0, most - n + 1, n)][:40]
        plain = [frechet_distance(moments(part), moments(reference.features)) for part in parts]
        corrected = [debiased_frechet(FeatureSet(part, labels[:n]), reference, False).value for part in parts]
        rows.append(
            {
                "n": n, "parts": len(parts), "truth": truth,
                "plain: rms error": _error(plain, truth), "debiased: rms error": _error(corrected, truth),
            }
        )  # fmt: skip
        n *= 2
    return rows


def _error(values: list[float], truth: float) -> float:
    return float(np.sqrt(np.mean((np.array(values) / truth - 1.0) ** 2)))


def needed(rows: list[dict[str, Any]], key: str) -> float | None:
    """Images at which an error falls to 2%, between the counts that were tried by a power law; None beyond them."""
    for one, two in itertools.pairwise(rows):
        if one[key] > WITHIN >= two[key]:
            share = np.log(one[key] / WITHIN) / np.log(one[key] / two[key])
            return float(one["n"] * (two["n"] / one["n"]) ** share)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--most", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        found = (ours if options.child == NAMES[0] else theirs)(options.n, options.steps, options.seed, options.folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**found, "peak_bytes": peak}))
        return
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for turn in range(options.turns):
        for name in NAMES:
            key = f"{name}/{options.n}/{options.steps}/{options.threads}/{turn}"
            if key not in kept:
                kept[key] = measure(name, options.n, options.steps, turn, options.threads)
                KEPT.write_text(json.dumps(kept, indent=1) + "\n")
                print(key, kept[key], flush=True)
    runs = {
        name: [kept[f"{name}/{options.n}/{options.steps}/{options.threads}/{turn}"] for turn in range(options.turns)]
        for name in NAMES
    }
    for one, other in zip(*runs.values(), strict=True):
        assert abs(one["fid"] / other["fid"] - 1) < 1e-3, f"FID {one['fid']} against {other['fid']}"
    peers = [run["seconds"] for run in runs[NAMES[1]]]
    rows = []
    for name, made in runs.items():
        seconds = [run["seconds"] for run in made]
        ratios = [other / own for own, other in zip(seconds, peers, strict=True)]
        rows.append(
            {
                "path": name, "n": options.n, "steps": options.steps, "threads": options.threads,
                "seconds (median)": float(np.median(seconds)),
                "times the other (median of ratios)": float(np.median(ratios)),
                "peak memory GB": max(run["peak_bytes"] for run in made) / 1e9,
                "FID, seed 0": made[0]["fid"],
                "stages, s": ", ".join(f"{stage} {taken:.1f}" for stage, taken in made[0]["stages"].items()),
            }
        )  # fmt: skip
    save("end_to_end", rows, LIBRARIES)
    errors = kept.get(f"errors/{options.most}") or needed_images(options.most, options.threads)
    kept[f"errors/{options.most}"] = errors
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    images = {key: needed(errors, f"{key}: rms error") for key in ("plain", "debiased")}
    print({key: "more than were tried" if value is None else round(value) for key, value in images.items()})
    each = {name: row["seconds (median)"] / options.n for name, row in zip(NAMES, rows, strict=True)}
    # The seconds are those of n images scaled; start-up is in them, and the model is sampled with the declared steps.
    last = {
        f"images to {WITHIN:.0%}": images["debiased"], "plain, images to it": images["plain"],
        "seconds, diffeval, debiased": None if images["debiased"] is None else images["debiased"] * each[NAMES[0]],
        "seconds, peers, plain": None if images["plain"] is None else images["plain"] * each[NAMES[1]],
    }  # fmt: skip
    save("end_to_end_errors", [*errors, last], LIBRARIES)


if __name__ == "__main__":
    main()
