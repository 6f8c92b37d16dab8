"""Features of real images are extracted once."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.data.source import Images, open_source
from diffeval.errors import DiffevalError
from diffeval.features.digits import digits
from diffeval.features.extractor import Extracted, ExtractorRequest, extract_all
from diffeval.features.opening import open_extractor
from diffeval.features.reference import extract_source
from diffeval.progress import SilentReporter


def test_the_same_images_meet_the_same_extractor_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path))
    source = open_source("digits@heldout")
    extractor = open_extractor("digits", ExtractorRequest(device=torch.device("cpu"), reference=source))
    first = extract_source(source, extractor, SilentReporter())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("extracted a second time")

    monkeypatch.setattr("diffeval.features.reference.extract_all", refuse)
    again = extract_source(source, extractor, SilentReporter())
    for name in ("features", "logits", "appearance"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


def test_too_little_memory_halves_the_batch_of_real_images_and_says_so() -> None:
    whole = digits(ExtractorRequest(torch.device("cpu")))

    def tight(images: Images) -> Extracted:
        if len(images) > room:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return whole.run(images)

    room, reporter = 40, SilentReporter()
    source = open_source("digits@heldout")
    found = extract_all(dataclasses.replace(whole, run=tight), source, reporter=reporter)
    assert reporter.warnings == [
        "features: out of memory with a batch of 128; going on with 64",
        "features: out of memory with a batch of 64; going on with 32",
    ]
    expected = extract_all(whole, source)
    np.testing.assert_allclose(found.features, expected.features, rtol=0, atol=1e-5 * np.abs(expected.features).max())
    np.testing.assert_array_equal(found.appearance, expected.appearance)
    room = 0
    with pytest.raises(DiffevalError, match=r"features: out of memory with a batch of one image in digits"):
        extract_all(dataclasses.replace(whole, run=tight), source)
