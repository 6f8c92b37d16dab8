"""Features of real images, cached by content."""

import hashlib

import numpy as np
import numpy.typing as npt

from diffeval.cache import cache_folder
from diffeval.data.source import ImageSource, OpenOptions, open_source
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor, extract_all
from diffeval.progress import Reporter, SilentReporter
from diffeval.runs.files import read_arrays, replace_arrays


def source_features(source: ImageSource, extractor: Extractor, reporter: Reporter) -> npt.NDArray[np.float32]:
    """Features of a source, float32 [m, d]; from the cache where the same images met the same extractor before."""
    key = hashlib.sha256(f"{source.content_hash()} {extractor.id}".encode()).hexdigest()[:32]
    path = cache_folder() / "features" / f"{key}.npz"
    cached = read_arrays(path)
    if cached is not None and cached.get("features") is not None and len(cached["features"]) == len(source):
        return cached["features"].astype(np.float32, copy=False)
    reporter.note(f"reference {source.spec}: extracting {len(source)} images")
    features = extract_all(extractor, source, reporter=reporter).features
    try:
        replace_arrays(path, {"features": features})
    except DiffevalError as error:
        reporter.note(f"the cache is not used: {error}")
    return features


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
