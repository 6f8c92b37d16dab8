"""Features of real images are extracted once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffeval.data.source import open_source
from diffeval.features.extractor import ExtractorRequest
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
