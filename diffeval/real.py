"""The real images of a run, as features: the reference, and those held out from it."""

from dataclasses import dataclass, replace

import numpy as np

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import ImageSource, absolute, split_spec
from diffeval.drift import drift_sentence
from diffeval.features.extractor import Extractor
from diffeval.features.reference import extract_source, held_out_source
from diffeval.features.statistics import Statistics
from diffeval.measured import Measured, Real
from diffeval.metrics.frechet import Moments
from diffeval.metrics.metric import FeatureSet
from diffeval.progress import Reporter


@dataclass(frozen=True)
class RealImages:
    """What generated images are measured against.

    Attributes:
        spec: of the reference.
        extractor: name of what made the features.
        reference: its images; without any where only their moments are known.
        held_out: images of the same population that are not in it; None without such.
        independent: whether the checkpoint is known not to have been trained on the reference.
        warnings: what is not known, or not as declared.
    """

    spec: str
    extractor: str
    reference: FeatureSet
    held_out: FeatureSet | None
    independent: bool
    warnings: tuple[str, ...]


def real_images(measured: Measured, reference: Real | None, extractor: Extractor, reporter: Reporter) -> RealImages:
    """Extracts them, or finds them in the cache; none where there is no reference."""
    if reference is None:
        nothing = FeatureSet(np.empty((0, extractor.dim)), extractor=extractor.name)
        return RealImages("", extractor.name, nothing, None, independent=False, warnings=())
    if isinstance(reference, Statistics):
        return _from_statistics(measured, reference, extractor)
    held_out = held_out_source(reference, reporter)
    drift = drift_sentence(reference, extractor, reporter)
    known = features_of(reference, extractor, reporter)
    others = None if held_out is None else features_of(held_out, extractor, reporter)
    return RealImages(
        spec=reference.spec,
        extractor=extractor.name,
        reference=replace(known, held_out=others),
        held_out=others,
        independent=_independent(measured, reference.spec),
        warnings=(*_origin_warnings(measured, reference), *((drift,) if drift else ())),
    )


def features_of(source: ImageSource, extractor: Extractor, reporter: Reporter) -> FeatureSet:
    """Features of a source's images with all that is known of them; from the cache where they are there."""
    found = extract_source(source, extractor, reporter)
    logits = None if found.logits is None else found.logits.astype(np.float64)
    return FeatureSet(
        found.features.astype(np.float64),
        source.labels,
        logits,
        source.classes,
        extractor.classes,
        extractor.name,
        None if found.appearance is None else found.appearance.astype(np.float64),
    )


def _from_statistics(measured: Measured, statistics: Statistics, extractor: Extractor) -> RealImages:
    """Moments alone are a fixed point: how they scatter is not known."""
    if statistics.features is not None:
        known = FeatureSet(statistics.features.astype(np.float64), statistics.labels, extractor=extractor.name)
    else:
        known = FeatureSet(np.empty((0, statistics.dim)), extractor=extractor.name)
        known.once("moments", lambda: Moments(statistics.mean, statistics.covariance, statistics.n or 0))
    independent = is_independent(measured, statistics)
    said = () if independent or measured.reference is not None else (_unknown(measured, statistics.spec),)
    return RealImages(statistics.spec, extractor.name, known, None, independent, said)


def is_independent(measured: Measured, reference: Real | None) -> bool:
    """Whether what is measured is known not to have been trained on the reference, and how that scatters is known."""
    if isinstance(reference, Statistics):
        origin = reference.origin
        return reference.features is not None and origin is not None and _independent(measured, origin.reference)
    return reference is not None and _independent(measured, reference.spec)


def _independent(measured: Measured, spec: str) -> bool:
    """Whether the reference is known to be no part of what the checkpoint was trained on."""
    if measured.reference is None:
        return False
    trained, trained_split = split_spec(measured.reference)
    name, split = split_spec(spec)
    return absolute(name) == absolute(trained) and {trained_split, split} in ({"train", "heldout"}, {"train", "test"})


def _origin_warnings(measured: Measured, source: ImageSource) -> tuple[str, ...]:
    if measured.reference is None:
        return (_unknown(measured, source.spec),)
    if absolute(measured.reference) == absolute(source.spec) and measured.reference_hash not in (
        None,
        source.content_hash(),
    ):
        return (f"{source.spec} is not the data that {measured.name} was trained on: its hash differs",)
    return ()


def _unknown(measured: Measured, spec: str) -> str:
    whose = measured.name if isinstance(measured, Checkpoint) else f"what made {measured.name}"
    return f"it is unknown whether {whose} was trained on {spec}; the reference is held fixed"
