"""Every image against every prompt, and what makes such a reading meaningless."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array, FeatureSet, LackingError
from diffeval.metrics.prompted import Prompted, Rows, unit

# What a cosine becomes: 100 times it, as most papers and torchmetrics have it; Hessel et al.'s; the cosine itself.
SCALES: Mapping[str, Callable[[Array], Array]] = {
    "100": lambda cosine: 100.0 * cosine,
    "hessel": lambda cosine: 2.5 * np.maximum(cosine, 0.0),
    "raw": lambda cosine: cosine,
}
# Images of a prompt that have a difference, and images that are held against all prompts at once.
PAIR, BLOCK = 2, 1024
# Below this, embeddings of different things are one, and pixels are of one colour (of x in [-1, 1]).
SAME, FLAT = 1e-6, 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Of every image that can be scored, on the chosen scale.

    Attributes:
        kept: places of these images among all, int64 [k].
        own: with its own prompt, [k].
        others: mean over the texts of other concepts, each once, [k]; NaN where there are none.
        rows: its prompt, int64 [k].
        best: the prompt of another concept that it fits best, int64 [k]; -1 where there is none.
        found: whether its own prompt fits better than all of other concepts, [k].
        shift: by how much the sum of ``others`` changes where a text is no text of anybody's, [T]; NaN of two texts.
    """

    kept: Rows
    own: Array
    others: Array
    rows: Rows
    best: Rows
    found: npt.NDArray[np.bool_]
    shift: Array


def flat_images(images: FeatureSet) -> npt.NDArray[np.bool_]:
    """Images of a single colour, and those that the judge makes nothing of, [n]."""
    assert images.prompted is not None, "asked before"
    features = images.prompted.images
    nothing: npt.NDArray[np.bool_] = ~np.any(features, axis=1) | ~np.isfinite(features).all(axis=1)
    if images.appearance is None:
        return nothing
    channels = (images.appearance.shape[1] - 2) // 2
    found: npt.NDArray[np.bool_] = nothing | (images.appearance[:, 2 : 2 + channels].max(axis=1) < FLAT)
    return found


def refuse_deaf(prompted: Prompted, flat: npt.NDArray[np.bool_]) -> None:
    """A tower that gives the same for whatever it is given makes a number that means nothing."""
    texts = unit(prompted.texts)
    different = len(set(prompted.prompts))
    if different > 1 and float(np.ptp(texts, axis=0).max()) < SAME:
        raise LackingError(
            f"{prompted.judge}'s text tower gives the same features for all {different} prompts: it ignores its "
            f"input, its weights are damaged or of another network"
        )
    images = unit(prompted.images[~flat])
    if len(images) > PAIR and float(np.ptp(images, axis=0).max()) < SAME:
        raise LackingError(
            f"{prompted.judge}'s image tower gives the same features for all {len(images)} images: they are copies of "
            f"one, or its weights are damaged"
        )


def texts_of(prompted: Prompted) -> Rows:
    """Prompts of the same text have the same number, from 0 in the order of their first, int64 [P]."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in prompted.prompts], dtype=np.int64)


def hold_against_all(prompted: Prompted, kept: Rows, scale: str) -> Reading:
    """Cosines of the kept images with every distinct text, block by block; only their own in float64."""
    of = texts_of(prompted)
    firsts = np.unique(of, return_index=True)[1]
    images, texts, concepts = unit(prompted.images[kept]), unit(prompted.texts[firsts]), prompted.concepts[firsts]
    rows, apply = prompted.rows[kept], SCALES[scale]
    mine = of[rows]
    own = apply((images * texts[mine]).sum(axis=1))
    others, best = np.full(len(kept), np.nan), np.full(len(kept), -1, dtype=np.int64)
    found, shift = np.zeros(len(kept), dtype=bool), np.zeros(len(texts))
    small_images, small_texts = images.astype(np.float32), texts.astype(np.float32)
    for start in range(0, len(kept) if len(np.unique(concepts)) > 1 else 0, BLOCK):
        block = slice(start, start + BLOCK)
        cosines = small_images[block] @ small_texts.T
        ours = cosines[np.arange(len(cosines)), mine[block]]
        wrong = concepts[mine[block], None] != concepts[None, :]
        terms = np.where(wrong, apply(cosines.astype(np.float64)), 0.0)
        count, total = wrong.sum(axis=1), terms.sum(axis=1)
        others[block] = total / count
        shift += _without(terms, wrong, total, count)
        cosines[~wrong] = -np.inf
        best[block] = firsts[cosines.argmax(axis=1)]
        found[block] = ours > cosines.max(axis=1)
    return Reading(kept, own, others, rows, best, found, shift)


def _without(terms: Array, wrong: npt.NDArray[np.bool_], total: Array, count: Rows) -> Array:
    """By how much the means over other texts change, summed over images, where a text is left out, [T]; NaN of two."""
    if count.min() < PAIR:
        return np.full(terms.shape[1], np.nan)
    changed = (total[:, None] - terms) / (count - 1)[:, None] - (total / count)[:, None]
    summed: Array = np.where(wrong, changed, 0.0).sum(axis=0)
    return summed


def diversities(prompted: Prompted, read: Reading) -> list[float | None]:
    """1 less the mean cosine of two images, by text as ``texts_of`` numbers it; None where there are no two."""
    images, of = unit(prompted.images[read.kept]), texts_of(prompted)
    counts = np.bincount(of[read.rows], minlength=int(of.max()) + 1)
    sums = np.zeros((len(counts), images.shape[1]))
    np.add.at(sums, of[read.rows], images)
    squares = (sums**2).sum(axis=1)
    return [
        None if k < PAIR else float(1.0 - (square - k) / (k * (k - 1)))
        for k, square in zip(counts.tolist(), squares.tolist(), strict=True)
    ]
