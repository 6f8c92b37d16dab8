"""Features of real images, cached by content."""

import hashlib
from pathlib import Path

import numpy as np

from diffeval.cache import cache_folder
from diffeval.data.source import ImageSource, OpenOptions, open_source
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extracted, Extractor, extract_all
from diffeval.progress import Reporter, SilentReporter
from diffeval.runs.files import read_arrays, replace_arrays


def extract_source(source: ImageSource, extractor: Extractor, reporter: Reporter) -> Extracted:
    """Features and logits of a source; from the cache where the same images met the same extractor before."""
    cached = _cached(source, extractor)
    if cached is not None:
        return cached
    reporter.note(f"reference {source.spec}: extracting {len(source)} images")
    found = extract_all(extractor, source, reporter=reporter)
    try:
        replace_arrays(
            _path(source, extractor),
            {name: array for name in _names(extractor) if (array := getattr(found, name)) is not None},
        )
    except DiffevalError as error:
        reporter.note(f"the cache is not used: {error}")
    return found


def is_cached(source: ImageSource, extractor: Extractor) -> bool:
    """Whether ``extract_source`` would find the features, and extract nothing."""
    return _cached(source, extractor) is not None


def _path(source: ImageSource, extractor: Extractor) -> Path:
    key = hashlib.sha256(f"{source.content_hash()} {extractor.id}".encode()).hexdigest()[:32]
    return cache_folder() / "features" / f"{key}.npz"


def _cached(source: ImageSource, extractor: Extractor) -> Extracted | None:
    cached = read_arrays(_path(source, extractor)) or {}
    names = _names(extractor)
    if not all(name in cached and len(cached[name]) == len(source) for name in names):
        return None
    held = {name: cached[name].astype(np.float32, copy=False) for name in names}
    return Extracted(held["features"], held.get("logits"), held["appearance"])


def _names(extractor: Extractor) -> tuple[str, ...]:
    """What is kept of an extractor's features."""
    return ("features", "appearance", *(("logits",) if extractor.classes else ()))


def held_out_source(source: ImageSource, reporter: Reporter | None = None) -> ImageSource | None:
    """Real images that are not in ``source``, to see what a score reads where nothing is wrong; None without such.

    What is found wrong with them is told to the reporter as a note: it bears on the floor, not on the scores.
    """
    if source.split != "train":
        return None
    try:
        held_out = open_source(f"{source.name}@heldout", options=OpenOptions(on_bad="skip"))
    except DiffevalError:
        return None
    for warning in held_out.triage.warnings():
        (reporter or SilentReporter()).note(f"{held_out.spec}: {warning}")
    return held_out
