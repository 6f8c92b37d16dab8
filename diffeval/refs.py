"""Reference statistics as the user handles them: made from images, shown, converted."""

from pathlib import Path

import numpy as np

from diffeval.data.source import OpenOptions, open_source
from diffeval.diffusion.batching import pick_device
from diffeval.errors import DiffevalError
from diffeval.features.reference import extract_source
from diffeval.features.statistics import Origin, Statistics
from diffeval.features.statistics_files import OWN, write_statistics
from diffeval.measured import Extracting, Reference, plan_extractor
from diffeval.metrics.frechet import moments
from diffeval.progress import Reporter, SilentReporter
from diffeval.runs.files import require_writable_above
from diffeval.runs.provenance import now, versions


def make_statistics(
    data: str,
    out: Path,
    *,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    device: str = "auto",
    keep_features: bool = False,
    reporter: Reporter | None = None,
) -> Statistics:
    """Writes the moments of real images' features, and what made them.

    Args:
        data: images as ``--ref`` takes them.
        out: the ``.npz`` file.
        extracting: how features are made; by default as the data calls for.
        opening: how images on disk are opened.
        device: where the extractor runs.
        keep_features: whether features and labels go into the file, too: metrics other than FID need them.
        reporter: told of the progress.

    Raises:
        DiffevalError: if the images cannot be read, or are too few to have a covariance.
    """
    reporter = reporter or SilentReporter()
    if out.suffix != ".npz":
        raise DiffevalError(f"ref: --out {out} must end in .npz")
    require_writable_above(out.parent)
    source = open_source(data, options=opening)
    if len(source) < 2:
        raise DiffevalError(f"ref: {source.spec} holds {len(source)} images, needs at least 2")
    extractor = plan_extractor(Reference(source), extracting or Extracting(), pick_device(device), reporter)
    features = extract_source(source, extractor, reporter).features
    found = moments(features.astype(np.float64))
    made = Statistics(
        path=out,
        format=OWN,
        entry="",
        mean=found.mean,
        covariance=found.covariance,
        n=len(source),
        origin=Origin(extractor.name, extractor.id, source.spec, source.content_hash(), versions(), now()),
        features=features if keep_features else None,
        labels=source.labels if keep_features else None,
    )
    write_statistics(out, made, OWN)
    return made


def facts(statistics: Statistics) -> list[tuple[str, str]]:
    """What is known of statistics, as rows."""
    rows = [
        ("format", statistics.format + (f", entry {statistics.entry}" if statistics.entry else "")),
        ("dimensions", str(statistics.dim)),
        ("images", "not said" if statistics.n is None else str(statistics.n)),
        ("mean", f"norm {np.linalg.norm(statistics.mean):.6g}"),
        ("covariance", f"trace {np.trace(statistics.covariance):.6g}, rank {_rank(statistics)}"),
        ("sha256", statistics.content_hash()),
    ]
    if statistics.features is not None:
        labelled = "" if statistics.labels is None else ", with labels"
        rows.append(("features", f"{len(statistics.features)} x {statistics.dim}{labelled}"))
    rows += [(name, " x ".join(map(str, shape))) for name, shape in statistics.others.items()]
    if statistics.origin is None:
        return [*rows, ("origin", "not said: which extractor, weights, resizing and images is unknown")]
    origin = statistics.origin
    return [
        *rows,
        ("extractor", origin.extractor_id),
        ("reference", f"{origin.reference} (sha256 {origin.reference_hash[:16]})"),
        ("made", f"{origin.made} by diffeval {origin.versions.get('diffeval', '?')}"),
    ]


def _rank(statistics: Statistics) -> str:
    rank = int(np.linalg.matrix_rank(statistics.covariance, hermitian=True))
    return str(rank) if rank == statistics.dim else f"{rank} of {statistics.dim}: too few images, or dead features"


def convert(entries: tuple[Statistics, ...], out: Path, form: str, entry: str | None = None) -> None:
    """Writes one entry of a file in another format.

    Raises:
        DiffevalError: if the file holds several and none is named, or the format cannot hold it.
    """
    if entry is None and len(entries) > 1:
        named = ", ".join(one.entry for one in entries)
        raise DiffevalError(f"ref: {entries[0].path} holds {named}; name one with --entry")
    fitting = [one for one in entries if entry in (None, one.entry)]
    if not fitting:
        named = ", ".join(one.entry for one in entries if one.entry) or "one without a name"
        raise DiffevalError(f"ref: {entries[0].path} has no entry {entry!r}, it holds {named}")
    write_statistics(out, fitting[0], form)
