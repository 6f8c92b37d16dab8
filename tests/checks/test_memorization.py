"""A network that has its training images by heart is told; one that knows only their distribution is not."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import CHECKS, Finding, Subject, look
from diffeval.checks.denoising_gap import Gap, _auc
from diffeval.checks.memorization import judge
from diffeval.checks.real_images import ModelImages, model_images
from diffeval.checks.sampled import Sampled
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_sampling


def _subject(checkpoint: Checkpoint, source: ImageSource, held_out: ModelImages | None = None) -> Subject:
    generator = plan_sampling(checkpoint, Settings(n=32, device="cpu")).generator
    subject = Subject(checkpoint, generator, 32, source)  # type: ignore[arg-type]
    if held_out is not None:
        subject.held_out = held_out  # type: ignore[misc]
    return subject


def _found(subject: Subject) -> Finding:
    return CHECKS["memorization"].run(subject)


def _split(checkpoint: Checkpoint, images: ImageSource, seen: int) -> Subject:
    """The first images are trained on, the others are held out."""
    trained, others = (
        ImageSource("made-up", "all", InMemory(some)) for some in (images.images[:seen], images.images[seen:])
    )
    subject = _subject(checkpoint, trained, model_images(others, checkpoint))
    # Of independent pixels there is nothing to learn, and the best network looks untrained.
    subject._found["untrained"] = Finding("pass", "as good as may be")
    return subject


@pytest.fixture
def _no_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels tell all there is of independent pixels, and a network need not be fitted to them."""

    def refuse(*args: object) -> None:
        raise DiffevalError("extractor: none")

    monkeypatch.setattr("diffeval.checks.sampled.plan_extractor", refuse)


@pytest.mark.usefixtures("_no_extractor")
def test_who_knows_the_distribution_alone_has_no_gap(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    """With fewer steps DDIM's samples have too little variance, which AuthPct would feel."""
    finding = _found(_split(gaussian(steps=250), gaussian_images, 512))
    assert finding.status == "pass", finding.summary
    assert finding.values["gap_low"] < 0 < finding.values["gap_high"]
    assert finding.values["auc"] == pytest.approx(0.5, abs=0.06)
    assert finding.values["copies"] == 0
    assert finding.values["samples"] == 102  # 25,600 forward passes
    assert finding.values["authentic_beyond_low"] < 0 < finding.values["authentic_beyond_high"]
    assert "by pixels alone (extractor: none)" in finding.summary


def test_the_best_denoiser_of_the_training_images_themselves_is_told(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    """What a network that has learnt 64 images by heart would predict: their mean, weighted by how likely each is."""
    subject = _split(gaussian(), gaussian_images, 64)
    assert subject.images is not None
    known, alpha_bar = subject.images.x0.flatten(1), torch.tensor(subject.checkpoint.schedule.alpha_bar)

    def recite(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        a = alpha_bar[t.long()].reshape(-1, 1)
        far = (x.flatten(1)[:, None] - a.sqrt()[:, None] * known).square().sum(dim=2)
        clean = torch.softmax(-far / (2 * (1 - a)), dim=1) @ known
        return ((x.flatten(1) - a.sqrt() * clean) / (1 - a).sqrt()).view_as(x).float()

    subject._found["untrained"] = Finding("fail", "of other images it knows nothing")
    subject.checkpoint = dataclasses.replace(subject.checkpoint, denoiser=recite)
    subject.generator = dataclasses.replace(subject.generator, denoiser=recite)
    finding = _found(subject)
    assert finding.status == "fail"
    assert finding.summary.startswith(
        "training images come back, as copies and AuthPct and the denoising gap say: 100.0% of 256 samples copy"
    )
    rows = {row["log_snr"]: row for row in finding.rows}
    # With little noise every training image is recognised and all of its noise is known; of others nothing helps.
    assert float(str(rows[4.0]["train"])) < 1e-3
    assert float(str(rows[4.0]["held_out"])) > 1
    assert finding.values["auc"] > 0.99
    assert finding.values["authentic"] == 0
    assert finding.pictures is not None
    assert finding.pictures.images.shape == (16, 2, 1, 8, 8)
    assert all(row["copy"] for row in finding.tables["pairs"])


def test_the_digits_model_has_a_gap_and_is_warned_and_copies_nothing(
    digits: Checkpoint, digit_images: ImageSource
) -> None:
    """It saw its 1,297 images 197 times."""
    result, finding = look("memorization", _subject(digits, digit_images))
    assert result.status == "warn"
    assert 0.1 < finding.values["gap"] < 0.2
    assert finding.values["copies_beyond"] < 0.01
    assert finding.values["authentic_beyond"] > -0.1
    assert [row["log_snr"] for row in finding.rows] == [4.0, 2.0, 0.0, -2.0]
    assert "digits@train and digits@heldout" in result.summary


def test_without_held_out_images_it_does_not_apply(digits: Checkpoint, digit_images: ImageSource) -> None:
    whole = ImageSource("made-up", "all", InMemory(digit_images.images[:64]), None, ())
    finding = _found(_subject(digits, whole))
    assert finding.status == "not-applicable"
    assert "made-up@all has none; put images into folders train and heldout" in finding.summary


def test_few_images_show_nothing(gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource) -> None:
    finding = _found(_split(gaussian(), gaussian_images, 20))
    assert finding.status == "inconclusive"
    assert "20 training and" in finding.summary


@pytest.mark.usefixtures("_no_extractor")
def test_samples_that_are_not_finite_leave_the_gap(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    subject = _split(gaussian(), gaussian_images, 256)
    subject.generator = dataclasses.replace(subject.generator, decode=lambda x: x / 0)
    finding = _found(subject)
    assert finding.status == "pass"
    assert finding.summary.startswith("no samples to look at (sampling: 32 of 32 images hold NaN or infinity")
    assert "gap" in finding.values
    assert "copies" not in finding.values


@pytest.mark.usefixtures("_no_extractor")
def test_a_network_that_has_learnt_nothing_has_no_gap_and_its_samples_decide_nothing(
    gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource
) -> None:
    random = torch.randn((8, 8), generator=torch.Generator().manual_seed(0))
    blind = dataclasses.replace(gaussian(), denoiser=lambda x, t, condition: 0 * x + random)
    subject = _split(blind, gaussian_images, 256)
    subject._found["untrained"] = Finding("fail", "nothing")
    finding = _found(subject)
    assert finding.status == "inconclusive"
    assert "no denoising gap (the network has learnt nothing that could be read, see untrained)" in finding.summary
    assert finding.values["copies"] == 0


def _gap(speaks: bool, raised: bool) -> Gap:
    return Gap({"gap": 0.5}, speaks, raised, "gap text", ())


def _sampled(*speak: str) -> Sampled:
    return Sampled(speak, Finding("pass", "sample text", {"copies": 0.1}))


@pytest.mark.parametrize(
    ("gap", "sampled", "status", "begun"),
    [
        (_gap(True, True), _sampled("copies"), "fail", "training images come back, as copies and the denoising gap"),
        (_gap(True, True), _sampled("AuthPct"), "fail", "training images come back, as AuthPct and the denoising"),
        (_gap(False, False), _sampled("copies", "AuthPct"), "fail", "training images come back, as copies and AuthP"),
        (_gap(False, True), _sampled("copies"), "warn", "copies alone may have another reason"),
        (_gap(True, True), _sampled(), "warn", "the denoising gap alone may have another reason"),
        (_gap(True, True), "none could be made", "warn", "the denoising gap alone may have another reason"),
        (_gap(False, True), _sampled(), "warn", "sample text; gap text"),
        (_gap(False, False), _sampled(), "pass", "sample text; gap text"),
        ("no scan", _sampled("copies", "AuthPct"), "fail", "training images come back, as copies and AuthPct say"),
        ("no scan", _sampled("AuthPct"), "warn", "AuthPct alone"),
        ("no scan", _sampled(), "inconclusive", "sample text; no denoising gap (no scan)"),
        ("no scan", "none could be made", "inconclusive", "no samples to look at (none could be made)"),
    ],
)
def test_a_failure_takes_two_signs(gap: Gap | str, sampled: Sampled | str, status: str, begun: str) -> None:
    found = judge(gap, sampled)
    assert found.status == status
    assert found.summary.startswith(begun)
    assert bool(found.fix) == (status in ("fail", "warn"))


def test_ready_made_images_have_no_gap_to_miss() -> None:
    assert judge("there is no network", _sampled(), network=False).status == "pass"
    assert judge("there is no network", "too few", network=False).status == "inconclusive"


def test_the_auc_counts_pairs() -> None:
    """Of 2 x 3 pairs, 1 < 2, 1 < 3, 1 < 4, 3 < 4 are four, and 3 = 3 is a half."""
    assert _auc(np.array([1.0, 3.0]), np.array([2.0, 3.0, 4.0])) == pytest.approx(4.5 / 6)
