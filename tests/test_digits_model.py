"""What the shipped files promise: a good and small model, an extractor that does not favour its training data."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.builtin import FOLDER
from diffeval.checkpoints.checkpoint import load
from diffeval.data.source import open_source
from diffeval.features.digits import digits
from diffeval.features.extractor import ExtractorRequest, extract_all
from diffeval.metrics.debias import debiased_frechet
from diffeval.metrics.frechet import frechet_distance, moments
from diffeval.metrics.metric import FeatureSet
from diffeval.plan import Settings, plan_sampling

N = 500


@pytest.fixture(scope="module")
def reference() -> FeatureSet:
    return _real("digits@train")


def _real(spec: str) -> FeatureSet:
    source = open_source(spec)
    return FeatureSet(
        extract_all(digits(ExtractorRequest(torch.device("cpu"))), source).features.astype(float), source.labels
    )


def _samples(w: float) -> tuple[np.ndarray, FeatureSet, float]:
    """Pixels, features, and the share of samples that show the class asked for."""
    plan = plan_sampling(load("digits"), Settings(n=N, w=w, device="cpu"))
    pixels = np.concatenate([plan.generator.images(range(start, start + 250)) for start in range(0, N, 250)])
    labels = plan.generator.labels(range(N))
    extracted = digits(ExtractorRequest(torch.device("cpu"))).run(pixels)
    assert extracted.logits is not None
    assert labels is not None
    accuracy = float((extracted.logits.argmax(axis=1) == labels).mean())
    return pixels, FeatureSet(extracted.features.astype(float), labels), accuracy


def test_plain_samples_are_as_good_as_promised(reference: FeatureSet) -> None:
    _, samples, accuracy = _samples(1.0)
    assert accuracy >= 0.98
    plain, real = (
        frechet_distance(moments(part.features), moments(reference.features))
        for part in (samples, _real("digits@heldout"))
    )
    assert plain <= 2 * real


def test_guidance_does_not_collapse_contrast() -> None:
    pixels, _, accuracy = _samples(3.0)
    assert accuracy >= 0.99
    real = open_source("digits").images
    assert 0.9 < pixels.std() / real.std() < 1.1


def test_the_extractor_does_not_favour_what_it_was_trained_on(reference: FeatureSet) -> None:
    held_out = _real("digits@heldout")
    low, high = debiased_frechet(held_out, reference, independent=True).ci95
    assert low <= 0 <= high


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in (FOLDER / "digits").rglob("*") if path.is_file()) < 3e6
    assert Path(FOLDER / "digits_extractor.safetensors").stat().st_size < 1e6
