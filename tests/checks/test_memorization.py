"""A network that has its training images by heart is told; one that knows only their distribution is not."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import CHECKS, Finding, Subject, look
from diffeval.checks.memorization import _auc
from diffeval.checks.real_images import ModelImages
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.plan import Settings, plan_sampling


def _subject(checkpoint: Checkpoint, source: ImageSource) -> Subject:
    return Subject(checkpoint, plan_sampling(checkpoint, Settings(n=32, device="cpu")).generator, 32, source)  # type: ignore[arg-type]


def _found(subject: Subject) -> Finding:
    return CHECKS["memorization"].run(subject)


def _split(subject: Subject, seen: int) -> Subject:
    """The first images are trained on, the others are held out."""
    images = subject.images
    assert images is not None
    subject.held_out = ModelImages(images.x0[seen:], None, "the others")  # type: ignore[misc]
    subject.images = images.first(seen)  # type: ignore[misc]
    return subject


def test_who_knows_the_distribution_alone_has_no_gap(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    finding = _found(_split(_subject(gaussian(), gaussian_images), 512))
    assert finding.status == "pass", finding.summary
    assert finding.values["gap_low"] < 0 < finding.values["gap_high"]
    assert finding.values["auc"] == pytest.approx(0.5, abs=0.06)


def test_the_best_denoiser_of_the_training_images_themselves_is_told(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    """What a network that has learnt 64 images by heart would predict: their mean, weighted by how likely each is."""
    subject = _split(_subject(gaussian(), gaussian_images), 64)
    assert subject.images is not None
    known, alpha_bar = subject.images.x0.flatten(1), torch.tensor(subject.checkpoint.schedule.alpha_bar)

    def recite(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        a = alpha_bar[t.long()][:, None]
        far = (x.flatten(1)[:, None] - a.sqrt()[:, None] * known).square().sum(dim=2)
        clean = torch.softmax(-far / (2 * (1 - a)), dim=1) @ known
        return ((x.flatten(1) - a.sqrt() * clean) / (1 - a).sqrt()).view_as(x)

    subject.checkpoint = dataclasses.replace(subject.checkpoint, denoiser=recite)
    finding = _found(subject)
    assert finding.status == "fail"
    assert finding.summary.startswith("the network knows its training images: training images have ")
    rows = {row["log_snr"]: row for row in finding.rows}
    # With little noise every training image is recognised and all of its noise is known; of others nothing helps.
    assert float(str(rows[4.0]["train"])) < 1e-3
    assert float(str(rows[4.0]["held_out"])) > 1
    assert finding.values["auc"] > 0.99


def test_the_digits_model_has_a_gap_and_is_warned(digits: Checkpoint, digit_images: ImageSource) -> None:
    """It saw its 1,297 images 197 times."""
    result, finding = look("memorization", _subject(digits, digit_images))
    assert result.status == "warn"
    assert 0.1 < finding.values["gap"] < 0.2
    assert [row["log_snr"] for row in finding.rows] == [4.0, 2.0, 0.0, -2.0]
    assert "digits@train and digits@heldout" in result.summary


def test_without_held_out_images_it_does_not_apply(digits: Checkpoint, digit_images: ImageSource) -> None:
    whole = ImageSource("made-up", "all", InMemory(digit_images.images[:64]), None, ())
    finding = _found(_subject(digits, whole))
    assert finding.status == "not-applicable"
    assert "made-up@all has none; put images into folders train and heldout" in finding.summary


def test_few_images_show_nothing(gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource) -> None:
    finding = _found(_split(_subject(gaussian(), gaussian_images), 20))
    assert finding.status == "inconclusive"
    assert "20 training and" in finding.summary


def test_the_auc_counts_pairs() -> None:
    """Of 2 x 3 pairs, 1 < 2, 1 < 3, 1 < 4, 3 < 4 are four, and 3 = 3 is a half."""
    assert _auc(np.array([1.0, 3.0]), np.array([2.0, 3.0, 4.0])) == pytest.approx(4.5 / 6)
