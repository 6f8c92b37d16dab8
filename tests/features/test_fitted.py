"""The extractor that is fitted to the reference: fair to unseen images, kept by content, reproducible."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.data.pixels import Images, InMemory
from diffeval.data.source import ImageSource, open_source
from diffeval.errors import DiffevalError
from diffeval.features import fitted as module
from diffeval.features.extractor import Extractor, ExtractorRequest, default_extractor, extract_all
from diffeval.features.fitted import fitted, train
from diffeval.features.fitting import VIEW, augmented, contrastive_loss, fit, retrieval, to_input
from diffeval.metrics.debias import debiased_frechet
from diffeval.metrics.metric import FeatureSet
from diffeval.progress import SilentReporter

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> ImageSource:
    return open_source("digits")


@pytest.fixture(scope="module")
def extractor(digits: ImageSource) -> Extractor:
    return fitted(ExtractorRequest(CPU, reference=digits))


def _source(images: Images, labels: np.ndarray | None = None) -> ImageSource:
    classes = () if labels is None else tuple(map(str, range(labels.max() + 1)))
    return ImageSource("made", "all", InMemory(images), labels, classes)


def test_it_tells_held_out_digits_apart_and_says_so(digits: ImageSource, extractor: Extractor) -> None:
    held_out = open_source("digits@heldout")
    extracted = extract_all(extractor, held_out)
    assert extracted.features.shape == (500, extractor.dim)
    assert extracted.logits is not None
    accuracy = float(np.mean(extracted.logits.argmax(axis=1) == held_out.labels))
    assert accuracy > 0.9
    assert extractor.classes == digits.classes
    assert f"accuracy {accuracy:.1%} on 500 images that it was not trained on" in extractor.notes[0]


def test_seen_images_look_like_unseen_ones_to_it(digits: ImageSource, extractor: Extractor) -> None:
    seen, unseen = (
        FeatureSet(extract_all(extractor, source).features.astype(float), source.labels)
        for source in (digits, open_source("digits@heldout"))
    )
    low, high = debiased_frechet(unseen, seen, independent=True).ci95
    assert low <= 0 <= high


def test_it_is_fitted_once_for_the_same_images(
    digits: ImageSource, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train", never)
    assert fitted(ExtractorRequest(CPU, reference=digits)).id == extractor.id
    assert digits.labels is not None
    with pytest.raises(AssertionError, match="trained again"):
        fitted(ExtractorRequest(CPU, reference=dataclasses.replace(digits, labels=digits.labels[::-1].copy())))


def test_the_kept_file_serves_as_weights_elsewhere(
    digits: ImageSource, extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Path(extractor.notes[0].split("its weights are ")[1].split(", for --weights")[0])
    carried = tmp_path / "carried.safetensors"
    carried.write_bytes(kept.read_bytes())
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "elsewhere"))
    other = fitted(ExtractorRequest(CPU, weights=carried))
    assert other.id == extractor.id
    some = digits.images[:5]
    np.testing.assert_array_equal(other.run(some).features, extractor.run(some).features)
    for content in (b"hello", carried.read_bytes()[:-10]):
        carried.write_bytes(content)
        with pytest.raises(DiffevalError, match="holds no fitted network"):
            fitted(ExtractorRequest(CPU, weights=carried))


def test_the_same_seed_gives_the_same_network_whatever_the_threads(draw: Callable[..., Images]) -> None:
    x = to_input(draw(64, channels=3, height=20, width=20))
    y = torch.arange(64) % 3
    before = torch.get_num_threads()
    first = fit(x, y, 3, reporter=SilentReporter(), steps=3)
    torch.set_num_threads(2)
    second = fit(x, y, 3, reporter=SilentReporter(), steps=3)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    other = fit(x, y, 3, reporter=SilentReporter(), steps=3, seed=1)
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_without_labels_it_learns_to_find_an_unseen_image_again_from_another_view(digits: ImageSource) -> None:
    x, unseen = to_input(digits.images), to_input(open_source("digits@heldout").images)
    network = fit(x, None, 0, reporter=SilentReporter(), steps=200)
    generator = torch.Generator().manual_seed(1)
    first, second = (network(augmented(unseen, generator, VIEW)) for _ in range(2))
    by_chance = math.log(2 * len(unseen) - 1)
    assert float(contrastive_loss(first, second)) < by_chance - 0.8


def test_what_it_was_trained_without_labels_is_worth_is_said(digits: ImageSource) -> None:
    unlabelled = dataclasses.replace(digits, labels=None, classes=())
    found = train(unlabelled, open_source("digits@heldout"), SilentReporter(), steps=1)
    assert found.classes == ()
    share = retrieval(found.network, to_input(open_source("digits@heldout").images))
    assert f"it finds {share:.1%} of 500 unseen images again from a second view (by chance 0.2%)" in found.quality


def test_the_contrastive_loss_of_orthogonal_images_by_hand() -> None:
    """Each view has its partner at cosine 1 and two strangers at cosine 0; the temperature is 0.2."""
    views = torch.eye(2)
    assert float(contrastive_loss(views, views)) == pytest.approx(math.log(1 + 2 * math.exp(-1 / 0.2)), rel=1e-5)


def test_without_a_held_out_part_a_tenth_is_left_out_of_the_training(draw: Callable[..., Images]) -> None:
    labels = np.arange(300) % 3
    found = train(_source(draw(300), labels), None, SilentReporter(), steps=1)
    assert "on 30 images that it was not trained on" in found.quality
    assert found.classes == ("0", "1", "2")


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (3, 64), (1, 5), (3, 100)])
def test_sizes_and_channels_that_people_have(draw: Callable[..., Images], channels: int, side: int) -> None:
    images = draw(8, channels=channels, height=side, width=side)
    x = to_input(images)
    assert max(x.shape[2:]) <= 32
    network = fit(x, torch.arange(8) % 2, 2, reporter=SilentReporter(), steps=1)
    assert network.features(x).shape == (8, 64)


def test_large_images_are_averaged_down() -> None:
    stripes = np.tile(np.array([0, 254], dtype=np.uint8), (1, 1, 64, 32))
    np.testing.assert_allclose(to_input(stripes).numpy(), 127 / 127.5 - 1, atol=1e-6)


def test_what_it_cannot_do_is_said(draw: Callable[..., Images], extractor: Extractor) -> None:
    with pytest.raises(DiffevalError, match="statistics hold none; give images with --ref"):
        fitted(ExtractorRequest(CPU))
    with pytest.raises(DiffevalError, match="needs 200 images to be trained on, made@all holds 20"):
        fitted(ExtractorRequest(CPU, reference=_source(draw(20))))
    with pytest.raises(DiffevalError, match="was trained on 1x8x8 images of digits@train, got 1x9x9"):
        extractor.run(draw(1, channels=1, height=9, width=9))
    with pytest.raises(DiffevalError, match="fitted is fast as it is; leave --fast out"):
        fitted(ExtractorRequest(CPU, fast=True))


def test_the_data_decides_which_extractor_is_usual(draw: Callable[..., Images], digits: ImageSource) -> None:
    assert default_extractor(digits) == "digits"
    assert default_extractor(_source(draw(2, channels=1))) == "fitted"
    assert default_extractor(_source(draw(2))) == "inception"
