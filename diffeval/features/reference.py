"""The reference: real images that a score is measured against, as features, cached by content."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.cache import cache_folder
from diffeval.data.source import ImageSource, open_source
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor, extract_all
from diffeval.progress import Reporter
from diffeval.runs.files import read_arrays, replace_arrays


@dataclass(frozen=True, slots=True)
class Reference:
    """Features of the reference.

    Attributes:
        spec: as the user writes it, split included.
        content_hash: sha256 over its images.
        features: float32 [m, d].
        labels: int64 [m], or None.
    """

    spec: str
    content_hash: str
    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None


def make_reference(source: ImageSource, extractor: Extractor, reporter: Reporter) -> Reference:
    """Features of a source; read from the cache where the same images met the same extractor before."""
    content = source.content_hash()
    key = hashlib.sha256(f"{content} {extractor.id}".encode()).hexdigest()[:32]
    path = cache_folder() / "features" / f"{key}.npz"
    cached = read_arrays(path)
    if cached is not None and cached.get("features") is not None and len(cached["features"]) == len(source):
        features = cached["features"].astype(np.float32, copy=False)
    else:
        reporter.note(f"reference {source.spec}: extracting {len(source)} images")
        features = extract_all(extractor, source).features
        try:
            replace_arrays(path, {"features": features})
        except DiffevalError as error:
            reporter.note(f"the cache is not used: {error}")
    return Reference(source.spec, content, features, source.labels)


def held_out_source(source: ImageSource) -> ImageSource | None:
    """Real images that are not in ``source``, to see what a score reads where nothing is wrong; None without such."""
    if source.split != "train":
        return None
    try:
        return open_source(f"{source.name}@heldout")
    except DiffevalError:
        return None
