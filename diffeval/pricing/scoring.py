"""What scores take: each metric is tried on made-up features, and so is all else that is computed of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffeval.data.source import ImageSource
from diffeval.features.extractor import Extractor, Texts
from diffeval.features.reference import held_out_source
from diffeval.features.statistics import Statistics
from diffeval.measured import Measured, Real
from diffeval.metrics.feature_map import feature_map
from diffeval.metrics.frechet import moments
from diffeval.metrics.metric import METRICS, FeatureSet
from diffeval.metrics.realism import K, balls_of, likeness
from diffeval.pairing import Asked
from diffeval.per_class import read_classes
from diffeval.plan import ImageMaker
from diffeval.prepared import Prepared
from diffeval.pricing.law import Law, Work, find_law
from diffeval.pricing.stage import Price
from diffeval.prompting import judged_images
from diffeval.real import RealImages, is_independent
from diffeval.scoring import Weights, counts_for, estimates_of
from diffeval.suite import Suite

# What a sweep computes of each point beside scores: (generated, reference, independent).
Also = Callable[[FeatureSet, FeatureSet, bool], object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is computed of features.

    Attributes:
        suite: the metrics.
        counts: images at which each point is scored.
        points: of a sweep; 1 of a run.
        also: what a sweep computes beside scores; None of a run.
    """

    suite: Suite
    counts: tuple[int, ...]
    points: int = 1
    also: Also | None = None


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many images there are.

    Attributes:
        n: generated ones, at most.
        real: in the reference.
        held_out: real ones beside it.
        independent: whether the reference is a sample of its own; see ``Metric.compute``.
    """

    n: int
    real: int
    held_out: int
    independent: bool


@dataclass(frozen=True, slots=True)
class Laws:
    """Of one piece of work: with generated images, and with held-out ones, which may be another computation.

    Attributes:
        generated: of generated images.
        held_out: of held-out real ones; None where there are none.
    """

    generated: Law
    held_out: Law | None


def sizes_of(measured: Measured, known: Prepared, n: int) -> Sizes:
    """Of a run of n images."""
    real, held_out = _counted(known.reference)
    return Sizes(n, real, held_out, is_independent(measured, known.reference))


def _counted(reference: Real | None) -> tuple[int, int]:
    """Real images whose features are known; of moments alone there are none."""
    if isinstance(reference, ImageSource):
        held_out = held_out_source(reference)
        return len(reference), 0 if held_out is None else len(held_out)
    features = reference.features if isinstance(reference, Statistics) else None
    return 0 if features is None else len(features), 0


def scoring_prices(known: Prepared, extractor: Extractor, wanted: Wanted, sizes: Sizes) -> list[Price]:
    """Of the scores, and of finding the images that are shown.

    Args:
        known: of the run.
        extractor: whose features they are.
        wanted: what is computed of them.
        sizes: how many images there are.
    """
    made = Made(extractor, known.plan.generator, known.asked)
    once = each = 0.0
    for name, laws in metric_laws(wanted.suite, made, sizes).items():
        once += laws.generated.once(sizes.real)
        counts = counts_for(name, wanted.counts, extractor.dim, wanted.suite)
        each += sum(laws.generated.call(count, sizes.real) for count in counts)
        each += 0.0 if laws.held_out is None else laws.held_out.call(sizes.held_out, sizes.real)

    def found(work: Work) -> Law:
        return find_law(work, made.generated, made.real, sizes.n, sizes.real)

    if wanted.suite.classes and sizes.real:
        law = found(lambda ours, theirs: read_classes(ours, theirs, None, sizes.independent))
        each += law.call(sizes.n, sizes.real)
    also = wanted.also
    if also is not None:  # what it needs of real images alone is there
        each += found(lambda ours, theirs: also(ours, theirs, sizes.independent)).call(sizes.n, sizes.real)
    at = ", ".join(map(str, wanted.counts))
    where = f"at n = {at}" if also is None else f"{wanted.points} points of {at}, with and without each group"
    prices = [Price("scoring", once + each * wanted.points, where)]
    if sizes.real > K:
        law = found(_shown)
        counts = (sizes.n, sizes.held_out) if sizes.held_out else (sizes.n,)
        pictures = law.once(sizes.real) + wanted.points * sum(law.call(count, sizes.real) for count in counts)
        prices.append(Price("pictures", pictures, "which images are shown, and where all lie"))
    return prices


def metric_laws(suite: Suite, made: "Made", sizes: Sizes) -> Mapping[str, Laws]:
    """Of each metric, by name; of held-out images it always is that of a reference that is a sample of its own."""
    found = {}
    for name in suite.metrics:
        least = METRICS[name].needs(made.extractor.dim)
        ours = find_law(
            _metric(name, suite, independent=sizes.independent), made.generated, made.real, sizes.n, sizes.real, least
        )
        theirs: Law | None = None
        if sizes.held_out:
            theirs = find_law(
                _metric(name, suite, independent=True), made.real, made.real, sizes.held_out, sizes.real, least
            )
        found[name] = Laws(ours, theirs)
    return found


def measured_weights(known: Prepared, suite: Suite, counts: Sequence[int], real: RealImages) -> Weights:
    """What each metric takes at each count, so that the progress of scoring is that of its time."""
    held_out = 0 if real.held_out is None else len(real.held_out)
    sizes = Sizes(counts[-1], len(real.reference), held_out, real.independent)
    found: dict[tuple[str, int | None], float] = {}
    for name, laws in metric_laws(suite, Made(known.extractor, known.plan.generator, known.asked), sizes).items():
        theirs = 0.0 if laws.held_out is None else laws.held_out.call(held_out, sizes.real)
        found[name, None] = theirs
        at = counts_for(name, counts, known.extractor.dim, suite)
        found |= {(name, count): laws.generated.call(count, sizes.real) for count in at}
        # Whoever comes first computes what is known of the reference alone.
        found[name, None if held_out else at[0]] += laws.generated.once(sizes.real)
    return found


def _metric(name: str, suite: Suite, *, independent: bool) -> Work:
    options = suite.options.get(name, {})
    return lambda ours, theirs: estimates_of(name, ours, theirs, independent, options)


@dataclass(frozen=True, slots=True)
class Made:
    """Makes features up: how long a metric takes depends on how many there are, hardly on what they are.

    Attributes:
        extractor: whose they could be.
        maker: of the images.
        asked: their prompts; None without.
    """

    extractor: Extractor
    maker: ImageMaker
    asked: Asked | None = None

    def generated(self, n: int) -> FeatureSet:
        """Of generated images."""
        images = self._features(n, asked=True)
        if self.asked is None:
            return images
        texts, width = self.asked.pairing.texts, self.asked.judge.dim
        known = Texts(_normal(len(texts), width).astype(np.float32), np.zeros(len(texts), dtype=np.bool_))
        return judged_images(images, _normal(n, width), self.asked.pairing.rows(n), self.asked, known)

    def real(self, m: int) -> FeatureSet:
        """Of real ones, with classes like those of the generated; their moments alone where there are none."""
        if m:
            return self._features(m, asked=False)
        nothing = FeatureSet(np.empty((0, self.extractor.dim)), extractor=self.extractor.name)
        nothing.once("moments", lambda: moments(_normal(2 * self.extractor.dim, self.extractor.dim)))
        return nothing

    def _features(self, n: int, *, asked: bool) -> FeatureSet:
        extractor, labels = self.extractor, self.maker.labels(range(n))
        names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
        return FeatureSet(
            np.maximum(_normal(n, extractor.dim), 0.0),
            labels,
            _normal(n, len(extractor.classes)) if extractor.classes else None,
            names,
            extractor.classes,
            extractor.name,
            np.abs(_normal(n, 2 + 2 * self.maker.image_shape[0])) % 1.0,
            asked=asked,
        )


def _normal(n: int, width: int) -> npt.NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=n)).standard_normal((n, width))


def _shown(ours: FeatureSet, theirs: FeatureSet) -> object:
    """What pictures are chosen by, and the map of features."""
    feature_map(ours.features, theirs.features)
    return likeness(ours.features, theirs.once("realism", lambda: balls_of(theirs.features)))
