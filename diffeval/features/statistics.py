"""Reference statistics: what a file says of real images without the images, and whose file it is.

Tools keep a reference as the mean and covariance of its features. Few of their files say what made the features; a
number against such a file carries that doubt with it.

=============  ===========================================================================================
diffeval       ``.npz`` with ``mu, sigma``, what made them (``diffeval``, JSON), and features where asked for
adm            ``.npz`` with ``mu, sigma, mu_s, sigma_s`` and 10,000 images ``arr_0``
pytorch-fid    ``.npz`` with ``mu, sigma``; clean-fid and EDM write the same
edm2           ``.pkl`` with a ``mu, sigma`` for each metric, e.g. ``fid`` and ``fd_dinov2``
=============  ===========================================================================================
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffeval.errors import DiffevalError

PREFIX = "stats:"
# Relative asymmetry of a covariance that rounding in float32 can explain.
SYMMETRY = 1e-4
# What the published files of a dimension were made with, where they do not say.
USUAL_EXTRACTORS = {2048: "inception", 1024: "dinov2:vitl14"}

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a file, as far as it says so.

    Attributes:
        extractor: name as ``--extractor`` takes it.
        extractor_id: see ``Extractor.id``.
        reference: the data and its split.
        reference_hash: sha256 over the images.
        versions: of the libraries.
        made: UTC, ISO 8601.
    """

    extractor: str
    extractor_id: str
    reference: str
    reference_hash: str
    versions: Mapping[str, str]
    made: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """Moments of a reference's features.

    Attributes:
        path: of the file.
        format: one of those above.
        entry: name within the file, where it holds several; empty otherwise.
        mean: float64 [d].
        covariance: float64 [d, d].
        n: images behind them, None where the file does not say.
        origin: what made them, None where the file does not say.
        features: float32 [n, d], where the file holds them.
        labels: int64 [n], where the file holds them.
        others: what else lies in the file, by name, as shapes.
    """

    path: Path
    format: str
    entry: str
    mean: Array
    covariance: Array
    n: int | None = None
    origin: Origin | None = None
    features: npt.NDArray[np.float32] | None = None
    labels: npt.NDArray[np.int64] | None = None
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def spec(self) -> str:
        """As ``--ref`` takes it."""
        return f"{PREFIX}{self.path}"

    def content_hash(self) -> str:
        """sha256 over mean and covariance."""
        digest = hashlib.sha256(repr(self.mean.shape).encode())
        digest.update(np.ascontiguousarray(self.mean).tobytes())
        digest.update(np.ascontiguousarray(self.covariance).tobytes())
        return digest.hexdigest()


def checked(path: Path, entry: str, mean: object, covariance: object) -> tuple[Array, Array]:
    """Mean and covariance in float64.

    Raises:
        DiffevalError: if they are no mean and covariance of one dimension.
    """
    name = f"{path}{f' ({entry})' if entry else ''}"
    try:
        mu, sigma = (np.asarray(value) for value in (mean, covariance))
    except ValueError as error:
        raise DiffevalError(f"reference: {name} holds a mu and a sigma that are no arrays: {error}") from error
    if mu.dtype.kind != "f" or sigma.dtype.kind != "f":
        raise DiffevalError(f"reference: {name} holds mu {mu.dtype} and sigma {sigma.dtype}, needs floating point")
    if mu.ndim != 1 or not len(mu) or sigma.shape != (len(mu), len(mu)):
        raise DiffevalError(f"reference: {name} holds mu {mu.shape} and sigma {sigma.shape}, needs [d] and [d, d]")
    if not np.isfinite(mu).all() or not np.isfinite(sigma).all():
        raise DiffevalError(f"reference: {name} holds NaN or infinity; make it anew")
    mu, sigma = mu.astype(np.float64), sigma.astype(np.float64)
    largest = float(np.abs(sigma).max())
    if float(np.abs(sigma - sigma.T).max()) > SYMMETRY * largest or (sigma.diagonal() < 0).any():
        raise DiffevalError(f"reference: {name} holds a sigma that is no covariance (not symmetric, or negative)")
    return mu, sigma / 2 + sigma.T / 2


def pick(entries: tuple[Statistics, ...], dim: int) -> Statistics:
    """The entry of a file that has the extractor's dimension.

    Raises:
        DiffevalError: if none or several have it; the message names both sides.
    """
    fitting = [entry for entry in entries if entry.dim == dim]
    if len(fitting) == 1:
        return fitting[0]
    held = ", ".join(f"{entry.entry or 'mu'} with {entry.dim}" for entry in entries)
    raise DiffevalError(
        f"reference: {entries[0].path} holds {held} dimensions, the extractor has {dim}; choose the --extractor and "
        f"layer that it was made with"
    )


def check_origin(statistics: Statistics, extractor_id: str) -> tuple[str, ...]:
    """What stands next to a number where the file leaves its origin open.

    Raises:
        DiffevalError: if it says that another extractor made it.
    """
    if statistics.origin is None:
        return (
            f"{statistics.spec} ({statistics.format}) does not say which extractor, weights and resizing made it; it "
            f"is taken to be {extractor_id}",
        )
    if statistics.origin.extractor_id != extractor_id:
        raise DiffevalError(
            f"reference: {statistics.path} was made with {statistics.origin.extractor_id}, this run uses "
            f"{extractor_id}; choose the same --extractor, --weights, --resize, or make it anew (diffeval ref make)"
        )
    return ()
