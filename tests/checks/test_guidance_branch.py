"""A condition that is ignored, classes numbered otherwise, a null class that was not trained: each is told."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.options import LoadOptions
from diffeval.checks.check import Finding, Subject, look
from diffeval.checks.guidance_branch import LEVELS
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.schedule import named_schedule
from diffeval.plan import Settings, plan_sampling

# Two classes of images: N(m, S^2) and N(-m, S^2) in every pixel.
M, S = 0.12, 0.25


def _find(checkpoint: Checkpoint, source: ImageSource, n: int = 24) -> Finding:
    generator = plan_sampling(checkpoint, Settings(n=n, device="cpu")).generator
    return look("guidance-branch", Subject(checkpoint, generator, n, source))[1]  # type: ignore[arg-type]


def _told(checkpoint: Checkpoint, other: Callable[[torch.Tensor], torch.Tensor]) -> Checkpoint:
    """The checkpoint, whose network is told other classes than it is asked for."""
    denoise = checkpoint.denoiser

    def changed(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return denoise(x, t, None if condition is None else other(condition))

    return dataclasses.replace(checkpoint, denoiser=changed)


@pytest.fixture(scope="module")
def two_classes() -> ImageSource:
    labels = np.arange(256, dtype=np.int64) % 2
    noise = np.random.Generator(np.random.Philox(0)).standard_normal((256, 1, 8, 8))
    x = S * noise + np.where(labels == 0, M, -M)[:, None, None, None]
    levels = np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.uint8)
    return ImageSource("made-up", "all", InMemory(levels), labels, ("light", "dark"))


def _best(null: bool = True) -> Denoiser:
    """The best prediction under each class, and under none: the classes', weighted by how likely each is."""
    alpha_bar = torch.tensor(named_schedule("linear").alpha_bar)

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        assert condition is not None
        a = alpha_bar[t.long()].reshape(-1, 1, 1, 1)
        spread = a * S**2 + 1 - a
        likely = torch.tanh(x.sum(dim=(1, 2, 3), keepdim=True) * a.sqrt() * M / spread)
        # Where no label was trained, what comes out is nobody's.
        untold = M * likely if null else torch.full_like(likely, 4 * M)
        mean = torch.tensor([M, -M, 0.0])[condition].view(-1, 1, 1, 1) + untold * (condition == 2).view(-1, 1, 1, 1)
        return (1 - a).sqrt() * (x - a.sqrt() * mean) / spread

    return denoise


def _with_classes(gaussian: Callable[..., Checkpoint], denoiser: Denoiser) -> Checkpoint:
    return dataclasses.replace(gaussian(), denoiser=denoiser, classes=("light", "dark"), null_class=2)


def test_what_a_class_is_worth_is_the_one_worked_out_by_hand(
    gaussian: Callable[..., Checkpoint], two_classes: ImageSource
) -> None:
    """Relative entropy of N(m, S^2 + 1/snr) from N(-m, S^2 + 1/snr) over 64 pixels, between the two outer levels."""
    finding = _find(_with_classes(gaussian, _best()), two_classes, n=256)
    assert finding.status == "pass", finding.summary
    most, least = (64 * (2 * M) ** 2 / 2 / (S**2 + np.exp(-level)) for level in (max(LEVELS), min(LEVELS)))
    assert finding.values["condition_nats"] == pytest.approx(most - least, rel=0.1)
    for row in finding.rows:
        power = 1 / (1 + np.exp(-float(str(row["log_snr"]))))
        spread = power * S**2 + 1 - power
        assert row["true"] == pytest.approx(power * S**2 / spread, rel=0.1)
        cost = (1 - power) * power * (2 * M) ** 2 / spread**2
        assert float(str(row["wrong"])) - float(str(row["true"])) == pytest.approx(cost, rel=0.15)
        # The mean of the two classes is off by half of the way between them.
        mixed = float(str(row["mean_of_classes"])) - float(str(row["true"]))
        assert mixed == pytest.approx(cost / 4, rel=0.25)


def test_a_null_class_that_is_nobodys_is_told(gaussian: Callable[..., Checkpoint], two_classes: ImageSource) -> None:
    finding = _find(_with_classes(gaussian, _best(null=False)), two_classes, n=256)
    assert finding.status == "fail"
    assert finding.summary.startswith("the null class was not trained: ")
    # It is 3 m off for one class and 5 m for the other; a wrong class is 2 m off.
    assert finding.values["null_u"] == pytest.approx((9 + 25) / 2 / 4, rel=0.15)
    assert "--drop-condition" in finding.fix


def test_the_digits_model_passes(digits: Checkpoint, digit_images: ImageSource) -> None:
    finding = _find(digits, digit_images)
    assert finding.status == "pass", finding.summary
    assert finding.values["condition_nats_low"] > 10
    assert finding.values["null_u_high"] < 0.25
    assert finding.values["null_excess_high"] < -0.1


def test_a_condition_that_is_ignored_is_certain(digits: Checkpoint, digit_images: ImageSource) -> None:
    finding = _find(_told(digits, torch.zeros_like), digit_images, n=16)
    assert finding.status == "fail"
    assert finding.summary == "the condition is ignored: the output is the same, bit by bit, whatever the class"


def test_a_class_as_null_class_was_not_trained_as_one(digits: Checkpoint, digit_images: ImageSource) -> None:
    finding = _find(_told(digits, lambda classes: torch.where(classes == 10, 3, classes)), digit_images)
    assert finding.status == "fail"
    assert "the null class was not trained" in finding.summary
    assert finding.values["null_u"] > 0.7
    assert "the condition: a wrong class is told from the true one" in finding.ruled_out[0]


def test_classes_that_are_numbered_otherwise_are_named(digits: Checkpoint, digit_images: ImageSource) -> None:
    finding = _find(
        _told(digits, lambda classes: torch.where(classes < 10, (classes + 1) % 10, classes)), digit_images
    )
    assert finding.status == "fail"
    assert finding.summary.startswith("classes are numbered otherwise than in training: images of 9 of 9 classes")
    assert "'0' under '9'" in finding.summary
    assert "--null-class" not in finding.fix


def test_a_null_class_that_is_declared_at_the_wrong_end_is_found(digit_images: ImageSource) -> None:
    """Declared 0, it is 10: every class then stands for the one before, too."""
    finding = _find(load("digits", LoadOptions(null_class=0)), digit_images)
    assert finding.status == "fail"
    assert "row 10 of the network's table of classes behaves like the null class" in finding.summary
    assert finding.fix == "declare it: --null-class 10"


def test_a_null_class_that_is_not_declared_is_found(digit_images: ImageSource) -> None:
    finding = _find(load("digits", LoadOptions(null_class="none", classes=10)), digit_images, n=16)
    assert finding.status == "pass"
    assert "no null class is declared, guidance is impossible; row 10" in finding.summary
    assert "--null-class 10" in finding.summary


def test_without_classes_or_labels_it_does_not_apply(digits: Checkpoint, digit_images: ImageSource) -> None:
    alone = dataclasses.replace(digits, classes=(), null_class=None)
    denoise = digits.denoiser
    plain = dataclasses.replace(alone, denoiser=lambda x, t, condition: denoise(x, t, torch.full((len(x),), 10)))
    finding = _find(plain, digit_images, n=8)
    assert (finding.status, finding.summary) == ("not-applicable", "the network takes no condition")
    unlabelled = dataclasses.replace(digits, denoiser=lambda x, t, condition: denoise(x, t, torch.full((len(x),), 10)))
    finding = _find(unlabelled, dataclasses.replace(digit_images, labels=None, classes=(), split="all"), n=8)
    assert finding.status == "not-applicable"
    assert "no labels of the network's 10 classes" in finding.summary


def test_many_classes_are_not_all_tried(gaussian: Callable[..., Checkpoint], two_classes: ImageSource) -> None:
    """Of 40 classes, light and dark ones: the null class is judged by itself, at a limit of its own."""
    names = tuple(str(number) for number in range(40))
    assert two_classes.labels is not None
    labels = two_classes.labels + 2 * (np.arange(256) % 20)
    many = dataclasses.replace(two_classes, labels=labels, classes=names)
    for null, status in ((True, "pass"), (False, "fail")):
        parity = _told(
            dataclasses.replace(gaussian(), denoiser=_best(null)), lambda one: torch.where(one == 40, 2, one % 2)
        )
        finding = _find(dataclasses.replace(parity, classes=names, null_class=40), many, n=128)
        assert finding.status == status, finding.summary
        assert "null_over_mixture" not in finding.values
