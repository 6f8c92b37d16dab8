"""What is measured, and against what: found and held against each other before the first expensive step."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.options import LoadOptions
from diffeval.data.source import SOURCES, ImageSource, OpenOptions, open_source
from diffeval.errors import DiffevalError
from diffeval.features.extractor import UNFITTED, Extractor, ExtractorRequest, default_extractor
from diffeval.features.opening import open_extractor
from diffeval.features.statistics import PREFIX as STATISTICS
from diffeval.features.statistics import USUAL_EXTRACTORS, Statistics, check_origin, pick
from diffeval.features.statistics_files import read_statistics
from diffeval.progress import Reporter, SilentReporter
from diffeval.ready import PREFIX as READY
from diffeval.ready import ReadyImages, open_images

Measured = Checkpoint | ReadyImages
# Images, or the moments that a file holds of them.
Real = ImageSource | Statistics


@dataclass(frozen=True, slots=True)
class Extracting:
    """How features are made, as the user says it.

    Attributes:
        name: ``NAME[:VARIANT]`` or the user's own ``pkg.module:factory``; None for what the data calls for.
        weights: file with the network's weights.
        resize: resizing protocol; None for the extractor's own.
        fast: bfloat16 and compiled.
        offline: nothing is fetched from the network.
    """

    name: str | None = None
    weights: Path | None = None
    resize: str | None = None
    fast: bool = False
    offline: bool = False


def open_measured(
    spec: Measured | str | Path, options: LoadOptions | None = None, opening: OpenOptions | None = None
) -> Measured:
    """A checkpoint, or ready-made images where ``spec`` begins with ``images:``.

    Raises:
        DiffevalError: if it cannot be read, or options of a checkpoint are given for images.
    """
    if not isinstance(spec, str | Path):
        return spec
    options = options or LoadOptions()
    if not str(spec).startswith(READY):
        return load(spec, options)
    options.refuse(str(spec), tuple(name for name in options.given() if name != "offline"), "has no network")
    return open_images(str(spec), opening or OpenOptions())


@dataclass(frozen=True, slots=True)
class Reference:
    """What the user gave as the reference, opened: images, or a file of statistics whose entry is not yet chosen.

    Attributes:
        source: the images, or None.
        entries: of the file, or none.
    """

    source: ImageSource | None
    entries: tuple[Statistics, ...] = ()

    @property
    def spec(self) -> str:
        """As ``--ref`` takes it."""
        return self.source.spec if self.source is not None else self.entries[0].spec


def open_reference(measured: Measured, ref: str | None, opening: OpenOptions | None = None) -> Reference:
    """Opens the reference: the user's, or the data that the checkpoint was trained on.

    Raises:
        DiffevalError: if there is none, or it cannot be read.
    """
    spec = ref or measured.reference
    if spec is None:
        raise DiffevalError(
            f"reference: {measured.name} does not say what real images look like; give --ref, e.g. mnist:DIR, "
            f"folder:DIR or {STATISTICS}FILE.npz"
        )
    if spec.startswith(STATISTICS):
        return Reference(None, read_statistics(Path(spec.removeprefix(STATISTICS))))
    if ref is not None:
        return Reference(open_source(_named(spec), options=opening))
    try:
        return Reference(open_source(spec, options=opening))
    except DiffevalError as error:
        raise DiffevalError(
            f"reference: {measured.name} was trained on {spec}, and that cannot be opened here ({error}); give --ref"
        ) from error


def has_reference(measured: Measured, opening: OpenOptions | None = None) -> bool:
    """Whether what it was trained on is known, and here; a note says so where it is not here."""
    try:
        open_reference(measured, None, opening)
    except DiffevalError as error:
        if measured.reference is not None and opening is not None:
            opening.reporter.note(f"no real images stand beside the score: {error}")
        return False
    return True


def _named(spec: str) -> str:
    """The spec, unless it is a bare path: then how to write that."""
    path = Path(spec)
    if ":" in spec or spec in SOURCES or not path.exists():
        return spec
    form = "folder" if path.is_dir() else {".zip": "zip", ".npz": "npz", ".pkl": "stats"}.get(path.suffix.lower())
    if form is None:
        raise DiffevalError(f"reference: {spec} is a file; write npz:FILE, zip:FILE or {STATISTICS}FILE")
    other = f", or {STATISTICS}{spec} if it holds moments" if form == "npz" else ""
    raise DiffevalError(f"reference: {spec} is a path; write --ref {form}:{spec}{other}")


def plan_extractor(
    reference: Reference,
    extracting: Extracting,
    device: torch.device,
    reporter: Reporter | None = None,
    check: Callable[[Extractor], None] | None = None,
) -> Extractor:
    """The extractor that the user names, or the one that the data calls for.

    Args:
        reference: what it is held against, or fitted to.
        extracting: how features are made, as the user says it.
        device: where its network runs.
        reporter: hears of downloads and training, and what there is to know of the extractor.
        check: refuses an extractor that does not fit; called early, before it is trained where it has to be.

    Raises:
        DiffevalError: if there is none of that name, or it cannot do what is asked of it.
    """
    request = ExtractorRequest(
        device=device,
        weights=extracting.weights,
        resize=extracting.resize,
        fast=extracting.fast,
        offline=extracting.offline,
        reference=reference.source,
        wanted=_made_with(reference),
        reporter=reporter or SilentReporter(),
        before_fitting=check or (lambda draft: None),
    )
    extractor = open_extractor(extracting.name or _called_for(reference), request)
    for note in extractor.notes:
        request.reporter.note(note)
    if check is not None:
        check(extractor)
    return extractor


def _made_with(reference: Reference) -> str | None:
    """Id of the extractor that statistics say they were made with."""
    origins = [entry.origin for entry in reference.entries if entry.origin is not None]
    return origins[0].extractor_id if origins else None


def _called_for(reference: Reference) -> str:
    """The extractor that the data, or whoever made the statistics, calls for."""
    if reference.source is not None:
        return default_extractor(reference.source)
    entry = reference.entries[0]
    if entry.origin is not None:
        return entry.origin.extractor
    usual = [USUAL_EXTRACTORS[one.dim] for one in reference.entries if one.dim in USUAL_EXTRACTORS]
    if not usual:
        raise DiffevalError(
            f"extractor: {entry.path} holds {entry.dim} dimensions and does not say what made them; name the "
            f"--extractor"
        )
    return usual[0]


def settle(measured: Measured, reference: Reference, extractor: Extractor) -> tuple[Real, tuple[str, ...]]:
    """The reference in the end, held against what is measured and the extractor; and what a reader must know of it.

    Raises:
        DiffevalError: if they do not fit each other; the message names both sides.
    """
    if extractor.takes not in (None, measured.image_shape):
        ours, theirs = ("x".join(map(str, shape or ())) for shape in (measured.image_shape, extractor.takes))
        raise DiffevalError(
            f"extractor: {extractor.name} takes {theirs} images as they are, {measured.name} has {ours}; give another "
            f"--ref or --extractor"
        )
    if reference.source is None:
        statistics = pick(reference.entries, extractor.dim)
        unfitted = extractor.id.endswith(UNFITTED)
        return statistics, () if unfitted else check_origin(statistics, extractor.id)
    return reference.source, _shapes(measured, reference.source, extractor)


def _shapes(measured: Measured, source: ImageSource, extractor: Extractor) -> tuple[str, ...]:
    sizes = source.sizes()
    if set(sizes) == {measured.image_shape}:
        return ()
    ours = "x".join(map(str, measured.image_shape))
    theirs = "x".join(map(str, next(iter(sizes)))) if len(sizes) == 1 else f"{len(sizes)} sizes"
    held = f"{source.spec} holds {theirs} images, {measured.name} has {ours}"
    if extractor.resize == "none":
        raise DiffevalError(
            f"reference: {held}, and {extractor.name} takes images as they are; give another --ref or --extractor"
        )
    return (f"{held}: both are resized ({extractor.resize}), and a difference in sharpness counts as distance",)
