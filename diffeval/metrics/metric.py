"""What a metric takes and gives, and the registry that finds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from diffeval.metrics.prompted import Prompted
from diffeval.registry import Registry
from diffeval.runs.records import Null, Param

Made = TypeVar("Made")

Array = npt.NDArray[np.float64]


class LackingError(ValueError):
    """A metric needs something that this run does not have: labels, a classifier, another extractor."""


@dataclass(frozen=True)
class FeatureSet:
    """Features of images of one origin, in a fixed order.

    What a metric derives from them alone (moments, kernel sums) can be kept with ``once``, so that a reference pays
    for it a single time.

    Attributes:
        features: float64 [n, d].
        labels: int64 [n], or None.
        logits: float64 [n, K] of the extractor's classifier, or None without one.
        classes: names that the labels stand for; empty where they are not known.
        logit_classes: names that the logits stand for; empty where they are not known.
        extractor: name of what made the features; empty where it is not known.
        appearance: float64 [n, 2 + 2 C], see ``features.appearance``; None where the pixels are not known.
        asked: whether the labels were asked for, so that their shares are nobody's doing but the request's.
        held_out: of a reference, images of the same population that are not in it; None where none are known.
        prompted: the prompts that the images were to follow; None without.
    """

    features: Array
    labels: npt.NDArray[np.int64] | None = None
    logits: Array | None = None
    classes: tuple[str, ...] = ()
    logit_classes: tuple[str, ...] = ()
    extractor: str = ""
    appearance: Array | None = None
    asked: bool = False
    held_out: "FeatureSet | None" = None
    prompted: Prompted | None = None
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """``make()``, the first time; afterwards what it gave then."""
        if name not in self._kept:
            self._kept[name] = make()
        made: Made = self._kept[name]
        return made

    def __len__(self) -> int:
        return len(self.features)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.features.shape[1])

    def first(self, n: int) -> "FeatureSet":
        """The first ``n`` images."""
        return self.at(slice(n))

    def at(self, rows: slice | npt.NDArray[np.int64]) -> "FeatureSet":
        """Some of the images."""
        return replace(
            self,
            features=self.features[rows],
            labels=None if self.labels is None else self.labels[rows],
            logits=None if self.logits is None else self.logits[rows],
            appearance=None if self.appearance is None else self.appearance[rows],
            prompted=None if self.prompted is None else self.prompted.at(rows),
            _kept={},
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that a metric found, before it is put into its run.

    Attributes:
        name: of the score.
        value: finite, or None with ``params["error"]``.
        higher_is_better: the direction.
        std_error: see ``Score``.
        ci95: see ``Score``.
        params: the metric's own parameters and marks.
        comparable_across_n: whether its expectation does not depend on n, so that real images at another n say what
            it reads where nothing is wrong.
        terms: arrays kept for paired comparison: per-image terms [n], pseudo-values by group [G].
        needed: from a precision, the half-width of the interval relative to the value, to the images that would reach
            it, or None where no number would; None itself where the metric cannot tell.
        warnings: what a reader must know of how the number came about.
        null: what it reads where nothing is wrong, where the metric can tell by itself; it goes before what held-out
            real images read.
        tables: rows that the value stands on, by the name of the table; of the largest n, they go into the results.
    """

    name: str
    value: float | None
    higher_is_better: bool
    std_error: float | None = None
    ci95: tuple[float, float] | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    comparable_across_n: bool = True
    terms: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    needed: Callable[[float], int | None] | None = None
    warnings: tuple[str, ...] = ()
    null: Null | None = None
    tables: Mapping[str, tuple[Mapping[str, Param], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of scores that are computed together.

    Attributes:
        scores: names of the scores, in the order they are shown.
        needs: the least n at feature dimension d.
        from_moments: whether the reference's mean and covariance suffice.
        higher_is_better: the direction of the scores.
        opposed: scores among them that go the other way.
        prompted: whether it reads the prompts that images were to follow.
        alone: whether it reads nothing of real images, and can do without a reference.
        possible: (images of the reference, names that the extractor's classifier knows, and the configuration by
            keyword); raises ``LackingError`` for what cannot be computed with these, before anything is.
        place: its place in the standard suite, from 1; None where it is no part of that.
        compute: (generated, reference, independent) -> one Estimate per score; its configuration by keyword.
            ``independent`` says that the reference is a sample of its own, unknown to whatever made the generated
            images; its sampling error is then removed and counted too. Otherwise the reference is held fixed.
    """

    scores: tuple[str, ...]
    needs: Callable[[int], int]
    compute: Callable[..., tuple[Estimate, ...]]
    from_moments: bool = False
    higher_is_better: bool = False
    place: int | None = None
    opposed: tuple[str, ...] = ()
    prompted: bool = False
    alone: bool = False
    possible: Callable[..., None] = lambda images, classes, **options: None

    def direction(self, score: str) -> bool:
        """Whether a higher value of a score is better."""
        return self.higher_is_better is not (score in self.opposed)

    def failed(self, reason: str) -> tuple[Estimate, ...]:
        """What stands in the place of the scores where they could not be computed."""
        return tuple(Estimate(name, None, self.direction(name), params={"error": reason}) for name in self.scores)


METRICS: Registry[Metric] = Registry("metric", "diffeval.metrics")
