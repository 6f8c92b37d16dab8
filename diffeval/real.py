"""The real images of a run, as features: the reference, and those held out from it."""

from dataclasses import dataclass

import numpy as np

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import ImageSource
from diffeval.features.extractor import Extractor, extract_all
from diffeval.features.reference import held_out_source, make_reference
from diffeval.metrics.metric import FeatureSet
from diffeval.progress import Reporter


@dataclass(frozen=True)
class RealImages:
    """What generated images are measured against.

    Attributes:
        spec: of the reference.
        extractor: name of what made the features.
        reference: its images.
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


def real_images(checkpoint: Checkpoint, source: ImageSource, extractor: Extractor, reporter: Reporter) -> RealImages:
    """Extracts them, or finds them in the cache."""
    reference = make_reference(source, extractor, reporter)
    held_out = held_out_source(source)
    held_out_set = None
    if held_out is not None:
        held_out_set = FeatureSet(extract_all(extractor, held_out).features.astype(np.float64), held_out.labels)
    return RealImages(
        spec=source.spec,
        extractor=extractor.name,
        reference=FeatureSet(reference.features.astype(np.float64), reference.labels),
        held_out=held_out_set,
        independent=_independent(checkpoint, source),
        warnings=_origin_warnings(checkpoint, source),
    )


def _independent(checkpoint: Checkpoint, source: ImageSource) -> bool:
    """Whether the reference is known to be no part of what the checkpoint was trained on."""
    if checkpoint.reference is None:
        return False
    trained_name, _, trained_split = checkpoint.reference.partition("@")
    name, _, split = source.spec.partition("@")
    return name == trained_name and {trained_split, split} in ({"train", "heldout"}, {"train", "test"})


def _origin_warnings(checkpoint: Checkpoint, source: ImageSource) -> tuple[str, ...]:
    if checkpoint.reference is None:
        return (f"it is unknown whether {checkpoint.name} was trained on {source.spec}; the reference is held fixed",)
    if checkpoint.reference == source.spec and checkpoint.reference_hash not in (None, source.content_hash()):
        return (f"{source.spec} is not the data that {checkpoint.name} was trained on: its hash differs",)
    return ()
