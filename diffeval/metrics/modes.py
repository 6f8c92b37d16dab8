"""What counts as a mode: a class by the extractor's classifier, or a cluster of real features."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score

from diffeval.metrics.metric import Array, FeatureSet, LackingError
from diffeval.metrics.occupancy import Side

# Principal components that clusters are found in, and real and generated images for each of them.
COMPONENTS, PER_CLUSTER, PER_GENERATED = 64, 50, 20
MOST_CLUSTERS = 100
# Real images that a cluster needs of either half of the reference, at least.
LEAST_OF_CLUSTER = 5
# Restarts of k-means; images from which on it goes by batches.
RESTARTS, LARGE = 5, 20_000
# Keys the halves of the reference.
_HALVES = 0x5EED5

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Modes:
    """The mode of every image.

    Attributes:
        kind: ``labels`` or ``clusters``.
        names: of the modes, [K].
        generated: mode of each generated image, [n].
        real: mode of each real image that was not used to find the modes, [m].
        rows: which images of the reference those are; None where they are held-out ones.
        reference: mode of every image of the reference, for those who want to look at some.
        medoids: image of the reference in the middle of each mode, [K].
        held_out: mode of each held-out image; None without such, or where they are ``real``.
        mixed_up: share of real images of each mode that are taken for each other one, [K, K]; None where that is not
            known, or cannot be.
        agreement: adjusted mutual information of modes and labels of real images, 1 for equal ones; None without.
    """

    kind: str
    names: tuple[str, ...]
    generated: Index
    real: Index
    rows: Index | None
    reference: Index
    medoids: Index
    held_out: Index | None
    mixed_up: Array | None = None
    agreement: float | None = None

    def __len__(self) -> int:
        return len(self.names)


def by_class(generated: FeatureSet, reference: FeatureSet) -> Modes:
    """Modes are the classes that the extractor's classifier tells apart.

    Real images go through the same classifier, so that what it mixes up it mixes up on both sides. They are held-out
    ones where there are such: it may know those that it was fitted to by heart.

    Raises:
        LackingError: without a classifier.
    """
    if generated.logits is None or reference.logits is None or not generated.logit_classes:
        raise LackingError("modes by class need an extractor with a classifier, and this one has none")
    held_out = reference.held_out
    known = held_out if held_out is not None and held_out.logits is not None else reference
    assert known.logits is not None, "chosen so"
    ours, theirs, all_ = (one.argmax(axis=1) for one in (generated.logits, known.logits, reference.logits))
    medoids = [_surest(reference.logits, all_, mode) for mode in range(len(generated.logit_classes))]
    return Modes(
        kind="labels",
        names=generated.logit_classes,
        generated=ours,
        real=theirs,
        rows=None if known is held_out else np.arange(len(reference)),
        reference=all_,
        medoids=np.array(medoids),
        held_out=None,
        mixed_up=_mixed_up(known, theirs),
    )


def _mixed_up(images: FeatureSet, taken_for: Index) -> Array | None:
    """From images whose classes are known, among those that the classifier knows."""
    places = {name: place for place, name in enumerate(images.logit_classes)}
    if images.labels is None or not images.classes or any(name not in places for name in images.classes):
        return None
    true = np.array([places[name] for name in images.classes])[images.labels]
    found = np.zeros((len(places), len(places)))
    np.add.at(found, (true, taken_for), 1.0)
    np.fill_diagonal(found, 0.0)
    shares: Array = found / np.maximum(np.bincount(true, minlength=len(places))[:, None], 1)
    return shares


def _surest(logits: Array, modes: Index, mode: int) -> int:
    """The image that the classifier is surest of; the first one where none is of the class."""
    inside = np.flatnonzero(modes == mode)
    if not len(inside):
        return 0
    margin = logits[inside, mode] - np.delete(logits[inside], mode, axis=1).max(axis=1)
    return int(inside[margin.argmax()])


@dataclass(frozen=True)
class Clustering:
    """Clusters of one half of the reference.

    Attributes:
        components: of the features.
        centres: found in them.
        half: rows of the reference that they were found by.
        other: the other rows.
    """

    components: PCA
    centres: KMeans | MiniBatchKMeans
    half: Index
    other: Index = field(repr=False)

    def modes(self, features: Array) -> Index:
        """The cluster of each image, [n]."""
        found: Index = self.centres.predict(self._reduced(features)).astype(np.int64)
        return found

    def medoids(self, features: Array) -> Index:
        """The image nearest to each centre, [K]."""
        distances = self.centres.transform(self._reduced(features))
        found: Index = distances.argmin(axis=0).astype(np.int64)
        return found

    def _reduced(self, features: Array) -> Array:
        found: Array = np.ascontiguousarray(self.components.transform(features), dtype=np.float64)
        return found


def usual_count(reference: FeatureSet, n: int) -> int:
    """K: one for every 50 images of the reference and every 20 generated ones, 2 to 100.

    A half of the reference finds the clusters, and the other is counted in them.
    """
    return int(np.clip(min(len(reference) // PER_CLUSTER, n // PER_GENERATED), 2, MOST_CLUSTERS))


def clusters_of(reference: FeatureSet, count: int, seed: int) -> Clustering:
    """K-means on the principal components of one half of the reference; kept with it."""

    def find() -> Clustering:
        order = np.random.Generator(np.random.Philox(_HALVES)).permutation(len(reference))
        half, other = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        features = reference.features[half]
        components = PCA(min(COMPONENTS, *features.shape), random_state=0).fit(features)
        reduced = np.ascontiguousarray(components.transform(features), dtype=np.float64)
        kind = MiniBatchKMeans if len(half) > LARGE else KMeans
        return Clustering(components, kind(count, n_init=RESTARTS, random_state=seed).fit(reduced), half, other)

    return reference.once(f"clusters-{count}-{seed}", find)


def by_cluster(generated: FeatureSet, reference: FeatureSet, count: int, seed: int = 0) -> Modes:
    """Modes are clusters of the reference; what lies in them is counted among images that did not make them.

    Their names say which label most of their real images have, where there are labels.
    """
    found = clusters_of(reference, count, seed)
    modes = reference.once(f"modes-{count}-{seed}", lambda: found.modes(reference.features))
    medoids = reference.once(f"medoids-{count}-{seed}", lambda: found.medoids(reference.features))
    held_out = reference.held_out
    labels, classes = reference.labels, reference.classes
    return Modes(
        kind="clusters",
        names=tuple(_name(mode, modes, labels, classes, int(medoids[mode])) for mode in range(count)),
        generated=found.modes(generated.features),
        real=modes[found.other],
        rows=found.other,
        reference=modes,
        medoids=medoids,
        held_out=None if held_out is None else found.modes(held_out.features),
        agreement=None if labels is None else float(adjusted_mutual_info_score(labels, modes)),
    )


def _name(mode: int, modes: Index, labels: Index | None, classes: Sequence[str], medoid: int) -> str:
    if labels is None or not classes:
        return f"cluster {mode} (as real image {medoid})"
    inside = Counter(labels[modes == mode].tolist())
    if not inside:
        return f"cluster {mode} (empty)"
    label, number = inside.most_common(1)[0]
    return f"cluster {mode} ({number / inside.total():.0%} {classes[label]!r})"


def sides(modes: Modes, generated: FeatureSet, reference: FeatureSet) -> tuple[Side, Side]:
    """Generated and real images, with their classes where these were asked for, and are the same on both sides.

    Classes that were not asked for are part of what is compared: a class that is not there is missing.
    """
    known = reference if modes.rows is not None else reference.held_out
    same = known is not None and known.labels is not None and generated.classes == known.classes
    if generated.labels is None or not generated.asked or not same:
        return Side(modes.generated), Side(modes.real)
    return Side(modes.generated, generated.labels), Side(modes.real, labels_of(modes, reference))


def labels_of(modes: Modes, reference: FeatureSet) -> npt.NDArray[np.int64] | None:
    """Of the real images."""
    if modes.rows is not None:
        return None if reference.labels is None else reference.labels[modes.rows]
    return None if reference.held_out is None else reference.held_out.labels
