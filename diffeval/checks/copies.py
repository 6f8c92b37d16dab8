"""Samples beside the training images: the share of copies, and AuthPct, each against held-out real images.

Real data hold near-duplicates, too, and AuthPct of real images is no 50% (it grows with the dimension), so neither
number means anything without what held-out real images read in the samples' place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.checks.arms import interval, redraws, valued
from diffeval.data.pixels import Images
from diffeval.data.source import ImageSource
from diffeval.features.extractor import Extractor
from diffeval.features.fitting import to_input
from diffeval.features.reference import extract_source
from diffeval.metrics.metric import Array
from diffeval.metrics.nearest_training import NEXT, Chunks, Nearest, Rows, nearest_training
from diffeval.metrics.neighbours import Index
from diffeval.metrics.shares import excess_interval
from diffeval.progress import Reporter

# Training images, or images for an extractor, at once.
CHUNK, BATCH = 2048, 128
# Crops are looked at under shifts by one pixel in so many of the side, on images of at least this side.
SHIFT_ONE_IN, LEAST_SIDE = 16, 8
# Fewer images than this tell nothing of a share.
LEAST = 32


@dataclass(frozen=True, slots=True)
class Look:
    """One way to see how far apart images are.

    Attributes:
        name: pixels, crops or features.
        views: of some images, each [b, d]: as they are first.
        training: the training images, seen so.
    """

    name: str
    views: Callable[[Images], list[Rows]]
    training: Chunks


@dataclass(frozen=True, slots=True)
class Compared:
    """Samples and held-out images, each with its nearest training images.

    Attributes:
        looks: names of the ways to see distances.
        ratios: distance to the nearest over the mean distance to the next ``NEXT``, by look, [L, n].
        rows: the nearest training image, by look, [L, n].
        null_ratios: of held-out images, [L, m].
        authentic: whether a sample is further from its nearest training image than that one from its own, [n].
        null_authentic: whether a held-out image is, [m].
        authentic_by: the look that this was told by.
    """

    looks: tuple[str, ...]
    ratios: Array
    rows: Index
    null_ratios: Array
    authentic: npt.NDArray[np.bool_]
    null_authentic: npt.NDArray[np.bool_]
    authentic_by: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What samples say.

    Attributes:
        values: the numbers.
        speak: which of copies and AuthPct say that training images come back.
        text: the numbers in a sentence.
    """

    values: dict[str, float]
    speak: tuple[str, ...]
    text: str


def distinct_rows(source: ImageSource) -> Index:
    """Rows of the images of a source, of identical ones the first: a duplicate must not hide what it is copied to."""
    seen: dict[bytes, int] = {}
    row = 0
    for images in source.batches(CHUNK):
        for image in images:
            seen.setdefault(image.tobytes(), row)
            row += 1
    return np.array(sorted(seen.values()), dtype=np.int64)


def compare(
    samples: Images, held_out: Images, source: ImageSource, extractor: Extractor | None, reporter: Reporter
) -> Compared:
    """Finds the nearest training images of samples and of held-out images.

    Args:
        samples: uint8 [n, C, H, W].
        held_out: real ones that are not in the source, uint8 [m, C, H, W].
        source: the training images, all of them.
        extractor: makes the features; None for pixels alone.
        reporter: hears of progress.

    Raises:
        ValueError: if there are fewer than ``LEAST`` samples, held-out images, or different training images.
    """
    source = source.in_memory()
    rows = distinct_rows(source)
    for count, what in ((len(samples), "samples"), (len(held_out), "held-out"), (len(rows), "different training")):
        if count < LEAST:
            raise ValueError(f"{count} {what} images are too few, {LEAST} are needed")
    looks = _looks(source, rows, extractor, reporter)
    reporter.stage("nearest training images", (len(looks) + 1) * len(rows), "images")
    both = np.concatenate([samples, held_out])
    found = [nearest_training(look.views(both), look.training, NEXT + 1) for look in looks]
    # Features see likeness as people do; pixels stand in for them where there are none.
    telling = 0 if extractor is None else len(looks) - 1
    authentic, n = _authentic(looks[telling], found[telling], source), len(samples)
    ratios = np.stack([one.ratios for one in found])
    return Compared(
        looks=tuple(look.name for look in looks),
        ratios=ratios[:, :n],
        rows=np.stack([one.rows[:n, 0] for one in found]),
        null_ratios=ratios[:, n:],
        authentic=authentic[:n],
        null_authentic=authentic[n:],
        authentic_by=looks[telling].name,
    )


def _authentic(look: Look, nearest: Nearest, source: ImageSource) -> npt.NDArray[np.bool_]:
    """Whether each image is further from its nearest training image than that one is from its own nearest."""
    rows, place = np.unique(nearest.rows[:, 0], return_inverse=True)
    own = nearest_training(look.views(source.pixels.read(rows)), look.training, 1, own=rows)
    further: npt.NDArray[np.bool_] = nearest.distances[:, 0] > own.distances[place, 0]
    return further


def _looks(source: ImageSource, rows: Index, extractor: Extractor | None, reporter: Reporter) -> tuple[Look, ...]:
    """Pixels, crops and features, as far as there are such."""

    def pixels(part: Callable[[Rows], Rows]) -> Chunks:
        def chunks() -> Iterator[tuple[Index, Rows]]:
            for start in range(0, len(rows), CHUNK):
                some = rows[start : start + CHUNK]
                yield some, part(_small(source.pixels.read(some)))
                reporter.advance(len(some))

        return chunks

    looks = [Look("pixels", lambda images: _flips(_small(images)), pixels(_flat))]
    if min(source.shape[1:]) >= LEAST_SIDE:
        crops = Look("crops", lambda images: _crops(_small(images)), pixels(lambda small: _flat(_crop(small, 1, 1))))
        looks.append(crops)
    if extractor is None:
        return tuple(looks)
    features = extract_source(source, extractor, reporter).features

    def kept() -> Iterator[tuple[Index, Rows]]:
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            yield some, features[some]
            reporter.advance(len(some))

    def seen(images: Images) -> list[Rows]:
        return [_features(extractor, one) for one in (images, np.ascontiguousarray(images[..., ::-1]))]

    return (*looks, Look("features", seen, kept))


def _features(extractor: Extractor, images: Images) -> Rows:
    parts = [extractor.run(images[at : at + BATCH]).features for at in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def _small(images: Images) -> Rows:
    """In [-1, 1], averaged down to a side of at most 32: noise that no one sees counts for less."""
    small: Rows = to_input(images).numpy()
    return small


def _flat(images: Rows) -> Rows:
    return images.reshape(len(images), -1)


def _flips(images: Rows) -> list[Rows]:
    return [_flat(images), _flat(images[..., ::-1])]


def _crop(images: Rows, down: int, right: int) -> Rows:
    """The part that is left when a border is cut off; 1 and 1 is the middle, 0 and 2 are shifted by the border."""
    border = max(1, min(images.shape[2:]) // SHIFT_ONE_IN)
    height, width = (side - 2 * border for side in images.shape[2:])
    return images[:, :, down * border : down * border + height, right * border : right * border + width]


def _crops(images: Rows) -> list[Rows]:
    """All nine, and their mirror images."""
    places = [(1, 1), *((down, right) for down in range(3) for right in range(3) if (down, right) != (1, 1))]
    return [view for down, right in places for view in _flips(_crop(images, down, right))]


def evidence(compared: Compared, ratio: float, copies: float, authentic: float) -> Evidence:
    """Whether samples copy training images more often than held-out images look like copies, and AuthPct.

    Args:
        compared: with the training images.
        ratio: below which an image is a copy, by any look.
        copies: share of copies beyond that of held-out images that speaks.
        authentic: fall of AuthPct below that of held-out images that speaks.
    """
    n, m = len(compared.authentic), len(compared.null_authentic)
    hits, null_hits = (int((one.min(axis=0) < ratio).sum()) for one in (compared.ratios, compared.null_ratios))
    excess = hits / n - null_hits / m
    low, high = excess_interval(hits, n, null_hits, m)
    share, null = compared.authentic @ redraws(n).T, compared.null_authentic @ redraws(m, key=2).T
    drawn = share - null
    below, above = interval(drawn)
    values = {
        "samples": float(n), "held_out": float(m), "copies": hits / n, "copies_held_out": null_hits / m,
        "copies_beyond": excess, "copies_beyond_low": low, "copies_beyond_high": high, "authentic": float(share[0]),
        "authentic_held_out": float(null[0]), **valued("authentic_beyond", drawn),
    }  # fmt: skip
    speak = []
    if excess > copies and low > 0:
        speak.append("copies")
    if drawn[0] < -authentic and above < 0:
        speak.append("AuthPct")
    text = (
        f"{_percent(hits / n)} of {n} samples copy a training image, {_percent(null_hits / m)} of {m} held-out images "
        f"look as if they did (difference {_percent(excess)}, 95% interval {100 * low:.1f} to {_percent(high)}, limit "
        f"{100 * copies:g}%); AuthPct {_percent(share[0])} against {_percent(null[0])} by {compared.authentic_by} "
        f"(difference {_percent(drawn[0])}, {100 * below:.1f} to {_percent(above)}, limit {-100 * authentic:g}%)"
    )
    return Evidence(values, tuple(speak), text)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
