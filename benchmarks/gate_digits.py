"""The release gate on the digits model: what must pass, and what must not, with the verdict of each.

    python benchmarks/gate_digits.py [--runs DIR]

The baseline is the digits model, n = 2000, and the gate file is what `diffeval gate init` writes from it and its
checks. Held against it, with the settings under test allowed to differ (`may_differ = ["sampler", "w", "source"]`) and
not: other seeds; a checkpoint trained for 400 steps; the declared sampler without clipping, and with leading in place
of trailing timesteps (which is no worse); images drawn along diffusers' default betas; w = 7; ready-made images
without a class, and with 5% copies of training images (`memorization` beside the scores). And the model itself at
n = 300. Everything but these samplers is done by the commands that a user types. A script that was stopped goes on
with the same `--runs`. About 8 minutes on 2 cores.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler
from record import save

import diffeval
from diffeval.data.source import open_source
from diffeval.diffusion.conditions import balanced_labels
from diffeval.plan import Settings

N, STEPS = 2000, 10
CHECKS = "noise-schedule,timestep-embedding,prediction-type,guidance-branch"
# A class is left out, and a share of images are copies.
DROPPED, COPIED = 8, 0.05
ALLOWED = 'may_differ = ["sampler", "w", "source"]'

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def command(*words: object, out: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``diffeval WORDS``, unless the folder that it would make is there."""
    if out is not None and (out / "results.json").exists():
        return subprocess.CompletedProcess([], 0)
    given = [*map(str, words), *(("--out", str(out), "--quiet") if out is not None else ())]
    return subprocess.run([sys.executable, "-m", "diffeval", *given], capture_output=True, text=True, check=False)


def scored(checkpoint: object, folder: Path, *more: object, n: int = N) -> Path:
    """A run of the standard suite."""
    done = command("eval", checkpoint, "--n", n, "--at", n, *more, out=folder)
    if done.returncode:
        raise SystemExit(done.stderr)
    return folder


def half_trained(runs: Path) -> Path:
    """A checkpoint of a training that was stopped early."""
    if not (runs / "half" / "model_index.json").exists():
        command("train", "digits", "--steps", 400, "--out", runs / "half", "--quiet")
    return scored(runs / "half", runs / "half-eval")


def resampled(runs: Path, name: str, **config: object) -> Path:
    """The digits model, with its sampler configured otherwise."""
    folder = runs / name
    if not (folder / "results.json").exists():
        digits = diffeval.load("digits")
        assert digits.sampler is not None, "it declares one"
        sampler = dataclasses.replace(digits.sampler, config={**digits.sampler.config, **config})
        changed = dataclasses.replace(digits, sampler=dataclasses.replace(sampler, name="declared"))
        diffeval.evaluate(changed, settings=Settings(n=N, device="cpu"), at=(N,), out=folder, task="eval")
    return folder


def ready_made(runs: Path, name: str, change: Callable[[Pixels, Labels], tuple[Pixels, Labels]]) -> list[Path]:
    """Images of the digits model, changed; scored, and held against the training images."""
    more = command("sample", "digits", "--n", N + N // 4, "--seed", 5, "--format", "npz", out=runs / "sampled")
    assert not more.returncode, more.stderr
    with np.load(runs / "sampled" / "samples.npz") as held:
        images, labels = change(held["arr_0"], held["arr_1"])
    path = runs / f"{name}.npz"
    np.savez(path, arr_0=images[:N], arr_1=labels[:N])
    ref = ("--ref", "digits@train")
    scored(f"images:{path}", runs / f"{name}-eval", "--extractor", "digits", *ref)
    command("check", f"images:{path}", "--only", "memorization", "--n", N, *ref, out=runs / f"{name}-check")
    return [runs / f"{name}-eval", runs / f"{name}-check"]


def wrongly_scheduled(images: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    """Drawn by somebody's own loop, whose scheduler was left at diffusers' default betas."""
    digits, count = diffeval.load("digits"), 2 * N
    scheduler = DDIMScheduler(prediction_type=digits.prediction, clip_sample=True)
    scheduler.set_timesteps(STEPS)
    told = torch.from_numpy(balanced_labels(0, count, len(digits.classes)))
    x = torch.randn(count, *digits.shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        for t in scheduler.timesteps:
            x = scheduler.step(digits.denoiser(x, t, told), t, x).prev_sample
    levels = ((x + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return levels.numpy(), told.numpy()


def dropped(images: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    """Without a class."""
    return images[labels != DROPPED], labels[labels != DROPPED]


def copied(images: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    """With training images among them."""
    source, random = open_source("digits@train"), np.random.Generator(np.random.Philox(0))
    assert source.labels is not None, "digits have"
    count = round(COPIED * N)
    taken, places = random.permutation(len(source))[:count], random.permutation(N)[:count]
    images, labels = images.copy(), labels.copy()
    images[places] = source.pixels.read(taken).transpose(0, 2, 3, 1)
    labels[places] = source.labels[taken]
    return images, labels


def cases(runs: Path) -> Iterator[tuple[str, str, str, list[Path]]]:
    """Name, the verdict where nothing may differ, the one where the settings under test may, and the runs."""
    yield "other seeds", "pass", "pass", [scored("digits", runs / "seed", "--seed", 1)]
    yield "trained for 400 steps", "fail", "fail", [half_trained(runs)]
    yield "sampler that does not clip", "no-evidence", "fail", [resampled(runs, "unclipped", clip_sample=False)]
    yield (
        "sampler with leading timesteps",
        "no-evidence",
        "pass",
        [resampled(runs, "leading", timestep_spacing="leading")],
    )
    yield "images of a wrong schedule", "no-evidence", "fail", ready_made(runs, "schedule", wrongly_scheduled)
    yield "w = 7", "no-evidence", "fail", [scored("digits", runs / "w7", "--w", 7)]
    yield "images without a class", "no-evidence", "fail", ready_made(runs, "dropped", dropped)
    yield "images with 5% copies", "no-evidence", "fail", ready_made(runs, "copied", copied)
    yield (
        "images as they are",
        "no-evidence",
        "pass",
        ready_made(runs, "clean", lambda images, labels: (images, labels)),
    )
    yield "n = 300", "inconclusive", "inconclusive", [scored("digits", runs / "few", "--seed", 2, n=300)]


def gate_files(runs: Path, of_images: bool) -> tuple[Path, Path]:
    """What `gate init` writes: as it is, and with settings under test. Images have no network, but may be copies."""
    evidence = [runs / "baseline"] if of_images else [runs / "baseline", runs / "baseline-check"]
    text = command("gate", "init", *evidence).stdout
    if of_images:
        text += '\n[[rule]]\ncheck = "memorization"\n'
    kind = "images" if of_images else "network"
    files = runs / f"{kind}.toml", runs / f"{kind}-allowed.toml"
    line = next(one for one in text.splitlines() if one.startswith("# may_differ"))
    for path, told in zip(files, (text, text.replace(line, ALLOWED)), strict=True):
        path.write_text(told)
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/gate_digits"), help="What is there is not redone.")
    runs: Path = parser.parse_args().runs
    runs.mkdir(parents=True, exist_ok=True)
    scored("digits", runs / "baseline")
    command("check", "digits", "--only", CHECKS, out=runs / "baseline-check")
    rows = []
    for name, strict, lenient, found in cases(runs):
        of_images = len(found) > 1
        for path, wanted in zip(gate_files(runs, of_images), (strict, lenient), strict=True):
            checks = [] if of_images else [runs / "baseline-check"]
            same = [] if name == "trained for 400 steps" else checks  # its checks are of another network
            done = command("gate", *found, *same, "--config", path, "--baseline", runs / "baseline", "--json")
            verdict = json.loads(done.stdout)
            rows.append(
                {
                    "case": name, "may differ": "" if "allowed" not in path.name else "sampler, w, source",
                    "verdict": verdict["status"], "exit code": done.returncode, "wanted": wanted,
                    "right": verdict["status"] == wanted, "in words": verdict["sentence"],
                    "first rule": next(iter(verdict["rules"]))["sentence"],
                }
            )  # fmt: skip
            print(name, rows[-1]["verdict"], rows[-1]["right"], flush=True)
    save("gate_digits", rows, ("diffeval", "torch"))


if __name__ == "__main__":
    main()
