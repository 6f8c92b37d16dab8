"""Planted among real digits in the place of samples: training images as they are, mirrored, shifted, or noisy."""

import os

import numpy as np
import pytest
import torch

from diffeval.checks.copies import Evidence, compare, distinct_rows, evidence
from diffeval.checks.pairs import closest_pairs
from diffeval.checks.sampled import look_at_samples
from diffeval.data.pixels import Images, InMemory
from diffeval.data.source import ImageSource, open_source
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor
from diffeval.measured import Extracting, Reference, plan_extractor
from diffeval.progress import SilentReporter

CPU, QUIET = torch.device("cpu"), SilentReporter()


@pytest.fixture(scope="module")
def trained() -> ImageSource:
    return open_source("digits")


@pytest.fixture(scope="module")
def extractor(trained: ImageSource) -> Extractor:
    return plan_extractor(Reference(trained), Extracting(), CPU)


@pytest.fixture(scope="module")
def unseen() -> tuple[Images, Images]:
    """Two halves of the held-out images: in the place of samples, and their null."""
    images = open_source("digits@heldout").images
    order = np.random.Generator(np.random.Philox(3)).permutation(len(images))
    return images[order[:250]], images[order[250:]]


def _source(images: Images) -> ImageSource:
    return ImageSource("made-up", "all", InMemory(images))


def _said(samples: Images, held_out: Images, source: ImageSource, extractor: Extractor | None) -> Evidence:
    return evidence(compare(samples, held_out, source, extractor, QUIET), 1 / 3, 0.01, 0.10)


def _with(samples: Images, planted: Images) -> Images:
    return np.concatenate([planted, samples[len(planted) :]])


def _some(source: ImageSource, count: int) -> Images:
    return source.images[np.random.Generator(np.random.Philox(5)).permutation(len(source))[:count]]


def _shifted(images: Images) -> Images:
    """By a pixel down and to the right; what comes in is white noise of the same range."""
    random = np.random.Generator(np.random.Philox(6))
    moved = random.integers(0, 256, images.shape, dtype=np.uint8)
    moved[:, :, 1:, 1:] = images[:, :, :-1, :-1]
    return moved


def test_held_out_images_are_no_copies(
    trained: ImageSource, unseen: tuple[Images, Images], extractor: Extractor
) -> None:
    said = _said(*unseen, trained, extractor)
    assert said.speak == ()
    assert said.values["copies_beyond_low"] <= 0 <= said.values["copies_beyond_high"]
    assert said.values["authentic_beyond_low"] < 0 < said.values["authentic_beyond_high"]
    # What real images read is no 50%.
    assert said.values["authentic_held_out"] > 0.52
    assert "by features" in said.text


@pytest.mark.parametrize("how", ["exact", "mirrored", "shifted"])
def test_5_percent_copies_are_told(
    trained: ImageSource, unseen: tuple[Images, Images], extractor: Extractor, how: str
) -> None:
    """Of 250 images 13; that they are few leaves AuthPct within its limit."""
    images = _some(trained, 13)
    planted = {"exact": images, "mirrored": images[..., ::-1], "shifted": _shifted(images)}[how]
    said = _said(_with(unseen[0], planted), unseen[1], trained, extractor)
    assert said.speak == ("copies",)
    assert said.values["copies"] == pytest.approx(13 / 250, abs=1.5 / 250)
    assert said.values["copies_beyond_low"] > 0.01
    assert said.text.startswith("5.2% of 250 samples copy a training image")


def test_without_an_extractor_pixels_tell(trained: ImageSource, unseen: tuple[Images, Images]) -> None:
    said = _said(_with(unseen[0], _some(trained, 13)), unseen[1], trained, None)
    assert said.speak == ("copies",)
    assert "by pixels" in said.text


def test_half_of_all_samples_copied_with_noise_are_told_by_both(
    trained: ImageSource, unseen: tuple[Images, Images], extractor: Extractor
) -> None:
    noise = np.random.Generator(np.random.Philox(7)).normal(0, 8, (125, 1, 8, 8))
    planted = np.clip(_some(trained, 125) + noise, 0, 255).astype(np.uint8)
    said = _said(_with(unseen[0], planted), unseen[1], trained, extractor)
    assert said.speak == ("copies", "AuthPct")


def test_duplicates_among_training_images_hide_no_copy(unseen: tuple[Images, Images], trained: ImageSource) -> None:
    """Every image lies there seven times: its nearest five are itself."""
    images = _some(trained, 200)
    sevenfold = _source(np.concatenate([images] * 7))
    assert list(distinct_rows(sevenfold)) == list(range(200))
    once = _said(_with(unseen[0], images[:13]), unseen[1], _source(images), None)
    said = _said(_with(unseen[0], images[:13]), unseen[1], sevenfold, None)
    assert said.values == once.values
    assert "copies" in said.speak


def test_data_with_natural_duplicates_accuse_nobody(unseen: tuple[Images, Images], trained: ImageSource) -> None:
    """A tenth of samples and of held-out images lies among the training images, as in data that were scraped."""
    images, (samples, held_out) = trained.images, unseen
    said = _said(_with(samples, images[:25]), _with(held_out, images[25:50]), trained, None)
    assert said.values["copies"] >= 0.1
    assert said.speak == ()


def test_pairs_are_shown_worst_first(trained: ImageSource, unseen: tuple[Images, Images]) -> None:
    samples = unseen[0].copy()
    samples[7], samples[3] = trained.images[11], trained.images[20][..., ::-1]
    compared = compare(samples, unseen[1], trained, None, QUIET)
    pictures, table = closest_pairs(samples, trained, compared, 1 / 3)
    assert pictures.images.shape == (16, 2, 1, 8, 8)
    assert pictures.columns == ("sample", "nearest training image")
    assert [(row["sample"], row["training_image"], row["mirrored"]) for row in table[:2]] == [
        (3, "row 20", True),
        (7, "row 11", False),
    ]
    assert [row["grey_levels"] for row in table[:2]] == [0.0, 0.0]
    assert pictures.rows[1] == "sample 7: ratio 0.00 by pixels, 0.0 grey levels from row 11"
    assert (pictures.images[1, 0] == pictures.images[1, 1]).all()
    ratios = [float(row["ratio"] or 0) for row in table]
    assert ratios == sorted(ratios)
    assert sum(bool(row["copy"]) for row in table) == 2


def test_what_cannot_be_looked_at_is_said(trained: ImageSource, unseen: tuple[Images, Images]) -> None:
    small = np.zeros((40, 1, 4, 4), dtype=np.uint8)
    with pytest.raises(DiffevalError, match=r"samples are 1x4x4 and images of digits@train 1x8x8; give another --ref"):
        look_at_samples(small, unseen[1], trained, CPU, QUIET)
    with pytest.raises(DiffevalError, match="20 samples images are too few, 32 are needed"):
        look_at_samples(unseen[0][:20], unseen[1], trained, CPU, QUIET)
    alike = _source(np.zeros((300, 1, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match="1 different training images are too few"):
        compare(*unseen, alike, None, QUIET)


def test_larger_images_are_averaged_and_shifts_grow_with_them(unseen: tuple[Images, Images]) -> None:
    """128 pixels are averaged down to 32, where crops are shifted by 2: 8 of the pixels that there are."""
    random = np.random.Generator(np.random.Philox(8))
    images = random.integers(0, 256, (120, 3, 16, 16), dtype=np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    moved = np.roll(images[:40], (8, -8), axis=(2, 3))
    said = _said(moved, images[80:], _source(images[:80]), None)
    assert said.values["copies"] == 1.0
    assert said.values["copies_held_out"] == 0.0


@pytest.mark.skipif("DIFFEVAL_TEST_MNIST" not in os.environ, reason="DIFFEVAL_TEST_MNIST names no folder")
def test_mirrored_copies_of_mnist_are_told_and_held_out_images_are_not() -> None:
    spec = f"mnist:{os.environ['DIFFEVAL_TEST_MNIST']}"
    source, others = _source(open_source(f"{spec}@train").images[:3000]), open_source(f"{spec}@heldout").images
    order = np.random.Generator(np.random.Philox(4)).permutation(len(others))
    samples, held_out = others[order[:200]], others[order[200:400]]
    assert _said(samples, held_out, source, None).speak == ()
    said = _said(_with(samples, _some(source, 10)[..., ::-1]), held_out, source, None)
    assert said.speak == ("copies",)
    assert said.values["copies"] == 0.05
