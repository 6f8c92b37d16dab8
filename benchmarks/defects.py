"""Which scores see which defect: real held-out images with something planted in them, in the place of generated ones.

    DIFFEVAL_TEST_MNIST=DIR python benchmarks/defects.py [--draws 12]

The reference is 5,000 MNIST images; draws of 2,000 others, 200 of each class, stand for a model. Without a defect they
say what a score reads where nothing is wrong, and how it scatters; each defect is then planted into other draws. A
cell is how far the mean of a defect's draws lies from the healthy mean, in standard deviations of a single healthy
draw, towards worse. Features are those of the ``fitted`` extractor, trained on the reference.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from record import save
from scipy.ndimage import gaussian_filter

from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource, open_source
from diffeval.features.appearance import appearance
from diffeval.features.extractor import Extractor, ExtractorRequest
from diffeval.features.opening import open_extractor
from diffeval.metrics.metric import METRICS, FeatureSet
from diffeval.per_class import LEVEL, read_classes
from diffeval.progress import SilentReporter

N, PER_CLASS = 2000, 200
Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Defect = Callable[[np.random.Generator, Images, Labels], Images]
# Not metrics of everything: CMMD is defined on CLIP's features only.
LEFT_OUT = {"cmmd"}
# Shown as means over the draws.
COUNTED = ("classes named", "the 3 named")


def none(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    return images


def dropped(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """Asked for a 3, the model draws something else."""
    made = images.copy()
    others = np.flatnonzero(labels != 3)
    made[labels == 3] = images[random.choice(others, int((labels == 3).sum()), replace=False)]
    return made


def swapped(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """Asked for a 3 it draws an 8, and the other way round: all images are right, none of these labels is."""
    made = images.copy()
    made[labels == 3], made[labels == 8] = images[labels == 8], images[labels == 3]
    return made


def few(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """Three images of each class, over and over."""
    made = images.copy()
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        made[rows] = images[random.choice(rows[:3], len(rows))]
    return made


def one_class_few(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """Three images of one class, over and over; the other classes are whole."""
    made = images.copy()
    rows = np.flatnonzero(labels == 3)
    made[rows] = images[random.choice(rows[:3], len(rows))]
    return made


def noise(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """One image in twenty is noise."""
    made = images.copy()
    rows = random.choice(len(images), len(images) // 20, replace=False)
    made[rows] = random.integers(0, 256, made[rows].shape, dtype=np.uint8)
    return made


def blurred(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """Blurred by 0.7 pixels."""
    made: Images = gaussian_filter(images.astype(np.float32), (0, 0, 0.7, 0.7)).round().astype(np.uint8)
    return made


def grainy(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """Grain of 10 grey levels, as of a sampler with too few steps."""
    grain = random.normal(0, 10, images.shape)
    return (images + grain).clip(0, 255).round().astype(np.uint8)


def faint(random: np.random.Generator, images: Images, labels: Labels) -> Images:
    """A fifth less contrast."""
    return (images * 0.8).round().astype(np.uint8)


DEFECTS: Mapping[str, Defect] = {
    "a class is missing": dropped,
    "two classes exchanged": swapped,
    "3 images per class": few,
    "3 images of one class": one_class_few,
    "5% noise images": noise,
    "blur": blurred,
    "grain": grainy,
    "contrast": faint,
}


def measured(
    extractor: Extractor, images: Images, labels: Labels, reference: FeatureSet, held_out: FeatureSet
) -> Mapping[str, float]:
    found = features(extractor, images, labels, reference.classes)
    values: dict[str, float] = {}
    for name in METRICS:
        if name not in LEFT_OUT:
            values |= {one.name: float(one.value or 0.0) for one in METRICS[name].compute(found, reference, True)}
    readings = read_classes(found, reference, held_out, True)
    values["classes named"] = sum(reading.p < LEVEL for reading in readings)
    values["the 3 named"] = any(reading.p < LEVEL and reading.name == "3" for reading in readings)
    return values


def features(extractor: Extractor, images: Images, labels: Labels, classes: tuple[str, ...]) -> FeatureSet:
    parts = [extractor.run(images[start : start + 500]) for start in range(0, len(images), 500)]
    logits = np.concatenate([part.logits for part in parts if part.logits is not None]).astype(np.float64)
    values = np.concatenate([part.features for part in parts]).astype(np.float64)
    looks = appearance(images).astype(np.float64)
    return FeatureSet(values, labels, logits, classes, extractor.classes, extractor.name, looks)


def halves(source: ImageSource) -> tuple[ImageSource, npt.NDArray[np.int64]]:
    """The reference, and the rows that are not in it."""
    order = np.random.Generator(np.random.Philox(1)).permutation(len(source))
    mine = np.sort(order[: len(source) // 2])
    assert source.labels is not None, "MNIST has labels"
    pixels = InMemory(source.images[mine])
    return ImageSource("mnist-half", "all", pixels, source.labels[mine], source.classes), np.sort(order[len(mine) :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=12)
    given = parser.parse_args()
    source = open_source(f"mnist:{os.environ['DIFFEVAL_TEST_MNIST']}@all")
    half, others = halves(source)
    assert source.labels is not None, "MNIST has labels"
    assert half.labels is not None, "and its halves do, too"
    request = ExtractorRequest(torch.device("cpu"), reference=half, reporter=SilentReporter())
    extractor = open_extractor("fitted", request)
    print(extractor.notes[0])
    reference = features(extractor, half.images, half.labels, half.classes)
    directions = {score: METRICS[name].higher_is_better for name in METRICS for score in METRICS[name].scores}
    directions |= dict.fromkeys(COUNTED, False)

    def draws(make: Defect, key: int) -> list[Mapping[str, float]]:
        found = []
        for draw in range(given.draws):
            random = np.random.Generator(np.random.Philox((key, draw)))
            rows = np.concatenate(
                [random.choice(others[source.labels[others] == one], PER_CLASS, replace=False) for one in range(10)]  # type: ignore[index]
            )
            rows = random.permutation(rows)
            labels = source.labels[rows]  # type: ignore[index]
            rest = np.setdiff1d(others, rows)
            held_out = features(extractor, source.images[rest], source.labels[rest], half.classes)  # type: ignore[index]
            images = make(random, source.images[rows], labels)
            found.append(measured(extractor, images, labels, reference, held_out))
        return found

    started = time.monotonic()
    healthy = draws(none, 0)
    print(f"healthy: {time.monotonic() - started:.0f} s", flush=True)
    rows: dict[str, dict[str, object]] = {}
    for score in healthy[0]:
        values = np.array([one[score] for one in healthy])
        # Grey images have no colour, in any draw.
        if values.std() or score in COUNTED:
            rows[score] = {"score": score, "healthy": float(values.mean()), "± one draw": float(values.std(ddof=1))}
    for key, (name, make) in enumerate(DEFECTS.items(), start=1):
        found = draws(make, key)
        for score, row in rows.items():
            mean = float(np.mean([one[score] for one in found]))
            if score in COUNTED:
                row[name] = mean
                continue
            shift = mean - float(str(row["healthy"]))
            worse = -shift if directions[score] else shift
            row[name] = round(worse / float(str(row["± one draw"])), 1)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    save("defects", list(rows.values()), libraries=("numpy", "scipy", "scikit-learn", "torch"))


if __name__ == "__main__":
    main()
