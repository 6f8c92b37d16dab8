"""What ``--fast`` costs: how far it moves FID, measured on real images."""

import hashlib

import numpy as np
import numpy.typing as npt

from diffeval.cache import cache_folder
from diffeval.data.source import ImageSource
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extractor
from diffeval.metrics.frechet import frechet_distance, moments
from diffeval.progress import Reporter
from diffeval.runs.files import read_arrays, replace_arrays

# Real images that are extracted both ways.
IMAGES = 256


def drift_sentence(source: ImageSource, extractor: Extractor, reporter: Reporter) -> str | None:
    """FID between two halves of some real images, in full precision and fast; None for an extractor that is exact.

    Both halves come from one population: what lies between them is that they are few, and it is the same both ways.
    What was measured once is kept by content.

    Args:
        source: real images.
        extractor: the fast one.
        reporter: hears that it takes a while.
    """
    if extractor.exact is None:
        return None
    count = min(IMAGES, len(source)) // 2 * 2
    if count < 4:
        return f"{extractor.name}: --fast was not held against full precision, {source.spec} holds too few images"
    exact = extractor.exact()
    key = hashlib.sha256(f"{source.content_hash()} {exact.id} {extractor.id} {count}".encode()).hexdigest()[:32]
    path = cache_folder() / "drift" / f"{key}.npz"
    kept = read_arrays(path)
    if kept is None or "distances" not in kept:
        reporter.note(f"{extractor.name}: holding --fast against full precision on {count} images")
        rows = np.sort(np.random.Generator(np.random.Philox(0)).permutation(len(source))[:count])
        kept = {"distances": np.array([_between_halves(source, rows, one) for one in (exact, extractor)])}
        try:
            replace_arrays(path, kept)
        except DiffevalError as error:
            reporter.note(f"the cache is not used: {error}")
    slow, fast = (float(value) for value in kept["distances"])
    return (
        f"{extractor.name}: --fast moves FID by {fast - slow:+.2g}, measured between two halves of {count} images of "
        f"{source.spec} ({slow:.4g} in full precision, {fast:.4g} fast)"
    )


def _between_halves(source: ImageSource, rows: npt.NDArray[np.int64], extractor: Extractor) -> float:
    shapes = source.pixels.shapes[rows]
    parts = []
    for shape in np.unique(shapes, axis=0):  # a batch is of one size
        same = rows[(shapes == shape).all(axis=1)]
        parts.append(extractor.run(source.pixels.read(same)).features)
    features = np.concatenate(parts).astype(np.float64)
    return frechet_distance(moments(features[0::2]), moments(features[1::2]))
