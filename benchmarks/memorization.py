"""What ``memorization`` says of real images in the samples' place, with training images planted, and of networks.

    python benchmarks/memorization.py [--zoo DIR] [--mnist DIR]

Planted: half of the held-out images stand for samples, the other half is held out; some of the former are replaced by
training images. Halves: nothing is planted, 200 random halves, how often a sign speaks. Networks: those of the zoo and
the digits model, healthy and trained on 100 images.
"""

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from record import save
from scipy.stats import binomtest
from zoo.table import ENTRIES
from zoo.trainings import open_entry

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checks.check import Subject, look
from diffeval.checks.copies import Compared, Evidence, compare, evidence
from diffeval.checks.real_images import model_images
from diffeval.checks.sampled import Limits
from diffeval.data.pixels import Images
from diffeval.data.source import ImageSource, open_source
from diffeval.diffusion.sampling import Generator
from diffeval.measured import Extracting, Reference, plan_extractor
from diffeval.plan import Settings, plan_sampling
from diffeval.progress import SilentReporter

LIMITS, QUIET, CPU = Limits(), SilentReporter(), torch.device("cpu")
SHARE, DRAWS = 0.05, 200
NETWORKS = ("unet-seed-1", "unet-long", "dit", "cnn", "overfit-unet", "overfit-cnn")
SHOWN = (
    "copies", "copies_held_out", "copies_beyond", "copies_beyond_low", "authentic", "authentic_held_out",
    "authentic_beyond", "authentic_beyond_low", "authentic_beyond_high", "gap", "gap_low", "gap_high",
)  # fmt: skip


def random(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key))


def shifted(images: Images) -> Images:
    """By one pixel down and to the right; what comes in is the border again."""
    return np.pad(images, ((0, 0), (0, 0), (1, 0), (1, 0)), mode="edge")[:, :, :-1, :-1]


def noisy(images: Images, grey_levels: float) -> Images:
    moved = images + random(9).normal(0, grey_levels, images.shape)
    return np.asarray(np.clip(np.round(moved), 0, 255), dtype=np.uint8)


def planted(samples: Images, source: ImageSource) -> Iterator[tuple[str, Images]]:
    """Samples some of which are made of training images."""
    few, half = (round(share * len(samples)) for share in (SHARE, 0.5))
    taken = source.pixels.read(random(1).permutation(len(source))[:half])
    some = taken[:few]
    yield "nothing", samples
    for name, images in (
        ("5% exact", some), ("5% mirrored", some[..., ::-1]), ("5% shifted by a pixel", shifted(some)),
        ("5% under noise of 15", noisy(some, 15)), ("5% under noise of 40", noisy(some, 40)), ("50% exact", taken),
    ):  # fmt: skip
        yield name, np.concatenate([images, samples[len(images) :]])


def of(compared: Compared) -> Evidence:
    return evidence(compared, LIMITS.ratio, LIMITS.copies, LIMITS.authentic)


def told(said: Evidence) -> dict[str, object]:
    return {"speak": ", ".join(said.speak), **row_of(said.values)}


def row_of(values: Mapping[str, float]) -> dict[str, object]:
    return {name: values[name] for name in SHOWN if name in values}


def on_data(spec: str) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Rows of what was planted, and of halves without a plant."""
    source, others = open_source(f"{spec}@train"), open_source(f"{spec}@heldout")
    extractor = plan_extractor(Reference(source), Extracting(offline=True), CPU)
    name, images = spec.split(":")[0], others.images[random(2).permutation(len(others))]
    samples, held_out = images[: len(images) // 2], images[len(images) // 2 :]
    rows: list[dict[str, object]] = []
    for features in (extractor, None):
        for what, mixed in planted(samples, source):
            started = time.process_time()
            said = of(compare(mixed, held_out, source, features, QUIET))
            seconds = time.process_time() - started
            by = "features" if features else "pixels alone"
            rows.append({"data": name, "planted": what, "by": by, **told(said), "seconds": seconds})
    tenth = len(samples) // 10
    taken = source.pixels.read(random(3).permutation(len(source))[: 2 * tenth])
    duplicated = [np.concatenate([taken[:tenth], samples[tenth:]]), np.concatenate([taken[tenth:], held_out[tenth:]])]
    said = of(compare(duplicated[0], duplicated[1], source, extractor, QUIET))
    what = "a tenth of both lies in the data"
    rows.append({"data": name, "planted": what, "by": "features", **told(said)})
    whole = compare(samples, held_out, source, extractor, QUIET)
    return rows, [halves(name, whole)]


def halves(name: str, whole: Compared) -> dict[str, object]:
    """How often a sign speaks where samples and held-out images are random halves of the same images."""
    ratios = np.concatenate([whole.ratios, whole.null_ratios], axis=1)
    authentic = np.concatenate([whole.authentic, whole.null_authentic])
    n, spoken = len(authentic), []
    for draw in range(DRAWS):
        order = random(100 + draw).permutation(n)
        one, other = order[: n // 2], order[n // 2 :]
        drawn = replace(
            whole, ratios=ratios[:, one], null_ratios=ratios[:, other], authentic=authentic[one],
            null_authentic=authentic[other],
        )  # fmt: skip
        spoken.append(of(drawn).speak)
    row: dict[str, object] = {"data": name, "images": n // 2, "halves": DRAWS}
    for sign in ("copies", "AuthPct"):
        hits = sum(sign in speak for speak in spoken)
        low, high = binomtest(hits, DRAWS).proportion_ci(0.95, "exact")
        row |= {f"{sign} speaks": hits / DRAWS, f"{sign} interval": f"{low:.3f} to {high:.3f}"}
    return row | {"fails": sum(len(speak) > 1 for speak in spoken) / DRAWS}


def networks(zoo: Path) -> Iterator[dict[str, object]]:
    """What the whole check says of networks."""
    digits = load("digits")
    for w in (1.0, 3.0):
        yield checked(f"digits, w = {w:g}", Subject(digits, made(digits, w), 64, open_source("digits")))
    for name in NETWORKS:
        entry = next(one for one in ENTRIES if one.name == name)
        checkpoint, subset = open_entry(entry, zoo), zoo / name / "train.npz"
        # Trained on few images: those are its training images, and what is held out of all digits is held out.
        source = open_source(f"npz:{subset}@all" if subset.exists() else "digits")
        subject = Subject(checkpoint, made(checkpoint, 1.0), 64, source)
        subject.__dict__["held_out"] = model_images(open_source("digits@heldout"), checkpoint)
        yield checked(name, subject)


def made(checkpoint: Checkpoint, w: float) -> Generator:
    generator = plan_sampling(checkpoint, Settings(n=64, w=w, device="cpu")).generator
    assert isinstance(generator, Generator)
    return generator


def checked(name: str, subject: Subject) -> dict[str, object]:
    started = time.process_time()
    result, _ = look("memorization", subject)
    print(name, result.status, result.summary, flush=True)
    return {
        "network": name,
        "status": result.status,
        **row_of(result.values),
        "seconds": time.process_time() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, default=None)
    parser.add_argument("--mnist", default=os.environ.get("DIFFEVAL_TEST_MNIST"))
    given = parser.parse_args()
    plants: list[dict[str, object]] = []
    quiet: list[dict[str, object]] = []
    for spec in ("digits", *([f"mnist:{given.mnist}"] if given.mnist else [])):
        planted_rows, halves_rows = on_data(spec)
        plants, quiet = plants + planted_rows, quiet + halves_rows
    libraries = ("diffeval", "torch", "numpy", "scipy")
    save("memorization", plants, libraries)
    save("memorization_halves", quiet, libraries)
    if given.zoo is not None:
        save("memorization_networks", list(networks(given.zoo)), libraries)


if __name__ == "__main__":
    main()
