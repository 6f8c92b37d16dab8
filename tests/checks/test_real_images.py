"""Real images in the network's own range, in an order that never changes."""

import dataclasses

import numpy as np
import pytest

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.real_images import MOST, held_out_images, model_images
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.errors import DiffevalError
from diffeval.progress import SilentReporter


def _source(images: np.ndarray, labels: np.ndarray | None = None, classes: int = 0) -> ImageSource:  # type: ignore[type-arg]
    return ImageSource("made-up", "all", InMemory(images), labels, tuple(map(str, range(classes))))


def test_levels_become_the_networks_range(digits: Checkpoint) -> None:
    images = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    images[1], images[2] = 255, 51
    assert sorted(model_images(_source(images), digits).x0[:, 0, 0, 0].tolist()) == pytest.approx([-1, -0.6, 1])
    unit = dataclasses.replace(digits, value_range=(0.0, 1.0))
    assert sorted(model_images(_source(images), unit).x0[:, 0, 0, 0].tolist()) == pytest.approx([0, 0.2, 1])


def test_labels_stay_with_their_images_in_an_order_that_does_not_change(digits: Checkpoint) -> None:
    labels = np.arange(200, dtype=np.int64) % 10
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None, None], (200, 1, 8, 8)).copy()
    found = model_images(_source(images, labels, 10), digits)
    assert found.labels is not None
    levels = ((found.x0[:, 0, 0, 0] + 1) * 127.5).round().long()
    assert levels.tolist() == found.labels.tolist()
    assert levels.tolist() != labels.tolist()
    again = model_images(_source(images, labels, 10), digits)
    assert again.x0.equal(found.x0)
    first = found.first(7)
    assert len(first) == 7
    assert first.labels is not None
    assert first.labels.tolist() == found.labels[:7].tolist()


def test_classes_that_are_not_the_networks_are_no_labels(digits: Checkpoint) -> None:
    labels = np.zeros(20, dtype=np.int64)
    images = np.zeros((20, 1, 8, 8), dtype=np.uint8)
    assert model_images(_source(images, labels, 3), digits).labels is None
    assert model_images(_source(images), digits).labels is None


def test_no_more_than_tell_something(digits: Checkpoint) -> None:
    assert len(model_images(_source(np.zeros((MOST + 5, 1, 8, 8), dtype=np.uint8)), digits)) == MOST


def test_images_that_do_not_fit_are_refused_in_a_line(digits: Checkpoint) -> None:
    with pytest.raises(DiffevalError, match=r"made-up@all holds 3x8x8 images, digits takes 1x8x8; give --ref"):
        model_images(_source(np.zeros((4, 3, 8, 8), dtype=np.uint8)), digits)
    with pytest.raises(DiffevalError, match=r"made-up@all holds 1 image, moments need at least 2"):
        model_images(_source(np.zeros((1, 1, 8, 8), dtype=np.uint8)), digits)


def test_held_out_images_are_others(digits: Checkpoint, digit_images: ImageSource) -> None:
    trained, held_out = model_images(digit_images, digits), held_out_images(digit_images, digits, SilentReporter())
    assert held_out is not None
    assert held_out.spec == "digits@heldout"
    seen = {row.numpy().tobytes() for row in trained.x0}
    assert sum(row.numpy().tobytes() in seen for row in held_out.x0) < 0.02 * len(held_out)
    whole = _source(np.zeros((4, 1, 8, 8), dtype=np.uint8))
    assert held_out_images(whole, digits, SilentReporter()) is None
