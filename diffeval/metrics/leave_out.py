"""Frechet distances with images left out, all of them from one eigendecomposition.

Leaving out images i in g (weights w_i, together n / G of n) changes the covariance by a matrix of low rank,

    S_(g) = a (S - c sum_g w_i u_i u_i' - n' c d d'),   u_i = x_i - mu,  d = -sum_g w_i u_i / n',  n' = n - n / G,
    a = (n - 1) / (n' - 1),  c = 1 / (n - 1),

and the trace of a matrix square root is an integral of log-determinants, tr M^1/2 - tr N^1/2 = 1/pi int_0^inf log
det(M + s^2) - log det(N + s^2) ds. With L L' = S_r and V diag(D) V' = L' S L, the coordinates z_i = w_i^1/2 V' L' u_i
and R(s) = diag(1 / (D + s^2)), the matrix determinant lemma gives what leaving g out takes from tr (L' S L)^1/2:

    Delta_g = -1/pi int log det(I - c Z_g R(s) Z_g') + log(1 - y_g(s)) ds,

a determinant as large as the group, 1 by 1 for a single image (y_g is the mean's share). Its linear part is c sum_k
Z_gk^2 / (2 D_k^1/2) exactly; only the rest is integrated by quadrature. So n distances, each without one image, cost
as much as one, where refitting costs n. The same coordinates serve the reference's images: z_j = D^1/2 V' L^-1 (y_j -
nu).

Source: derived here, from the matrix determinant lemma and the integral for the square root (Higham 2008, eq. 6.1);
equal to refitting without the images to rounding (``tests/metrics/test_leave_out.py``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigvalsh

from diffeval.metrics.groups import Groups
from diffeval.metrics.metric import Array
from diffeval.metrics.quadrature import half_line_nodes

# Relative error of the quadrature, of what is left when the linear part is known.
TOLERANCE = 1e-6
# Singularities below this share of the largest are not resolved; they matter by as much.
LEAST_RATIO = 1e-7
# Leverage of a group, kept this far from 1.
LEVERAGE_ROOM = 1e-12


@dataclass(frozen=True)
class Side:
    """One of the two samples, by group.

    Attributes:
        n: images.
        z: coordinates of its images times the root of their weights, [G, b, r].
        root_weight: [G, b].
        moved: sum of the group's weighted deviations from the mean, [G, d].
        energy: sum of the group's weighted squared deviations, [G].
        total: sum of all squared deviations.
        gap: this side's mean minus the other's, [d].
    """

    n: int
    z: Array
    root_weight: Array
    moved: Array
    energy: Array
    total: float
    gap: Array

    def __len__(self) -> int:
        return len(self.z)

    def left(self, groups: int) -> float:
        """Images that are left without so many groups, by weight."""
        return self.n * (1 - groups / len(self))

    def scale(self, groups: int) -> float:
        """a^1/2 - 1, where a = (n - 1) / (n' - 1)."""
        left = self.left(groups)
        return float(np.expm1(0.5 * np.log1p((self.n - left) / (left - 1))))

    def gram(self) -> Array:
        """sum_g Z_g' Z_g, [r, r]."""
        flat = self.z.reshape(-1, self.z.shape[2])
        product: Array = flat.T @ flat
        return product

    @property
    def large(self) -> bool:
        """Whether groups are larger than the dimension; then each is refitted, and pairs are left alone."""
        return bool(self.z.shape[1] > self.z.shape[2])

    @property
    def c(self) -> float:
        """1 / (n - 1)."""
        return 1.0 / (self.n - 1)


def make_side(features: Array, groups: Groups, gap: Array, to_coordinates: Array) -> Side:
    """Brings the images of one side into groups; ``to_coordinates`` [d, r] maps deviations to coordinates."""
    deviations = features - features.mean(axis=0)
    coordinates = deviations @ to_coordinates
    root_weight = np.sqrt(groups.weight)
    grouped = deviations[groups.index]
    return Side(
        n=len(features),
        z=coordinates[groups.index] * root_weight[..., None],
        root_weight=root_weight,
        moved=np.einsum("gb,gbd->gd", groups.weight, grouped),
        energy=np.einsum("gb,gbd,gbd->g", groups.weight, grouped, grouped),
        total=float((deviations**2).sum()),
        gap=gap,
    )


@dataclass(frozen=True)
class AtNode:
    """What one value of s says about one side.

    Attributes:
        log_determinant: log det A_g plus its linear part c tr Z_g R Z_g', [G].
        shift: y_g n', what the moved mean adds, [G].
        y: A_g^-1/2 Z_g, [G, b, r].
        p: A_g^-1/2 times the roots of the weights, [G, b].
        own: ||c Y_g R Y_g'||^2, [G].
    """

    log_determinant: Array
    shift: Array
    y: Array
    p: Array
    own: Array


def at_node(side: Side, r: Array) -> AtNode:
    """Leverages, log-determinants and scaled rows at R(s) = diag(r)."""
    if side.z.shape[1] == 1:
        rows = side.z[:, 0]
        leverage = np.minimum(side.c * (rows**2 @ r), 1 - LEVERAGE_ROOM)[:, None]
        inverse_root = 1 / np.sqrt(1 - leverage)
        y, p = side.z * inverse_root[..., None], side.root_weight * inverse_root
    else:
        kernel = side.c * (side.z * r) @ side.z.transpose(0, 2, 1)
        leverage, vectors = np.linalg.eigh(kernel)
        leverage = leverage.clip(0, 1 - LEVERAGE_ROOM)
        turned = vectors.transpose(0, 2, 1) / np.sqrt(1 - leverage)[..., None]
        y, p = turned @ side.z, (turned @ side.root_weight[..., None])[..., 0]
    return AtNode(
        log_determinant=(np.log1p(-leverage) + leverage).sum(axis=1),
        shift=(p**2).sum(axis=1) - (side.root_weight**2).sum(axis=1),
        y=y,
        p=p,
        own=((leverage / (1 - leverage)) ** 2).sum(axis=1),
    )


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues D > 0 of L' S L, [r], and the quadrature that fits them."""

    eigenvalues: Array

    @cached_property
    def roots(self) -> Array:
        """D^1/2."""
        return np.sqrt(self.eigenvalues)

    def nodes(self, tolerance: float) -> Iterator[tuple[float, Array, float]]:
        """(s, 1 / (D + s^2), weight) at each node; the weights hold the factor 1 / pi."""
        hi = float(self.roots.max())
        # Leaving images out lowers the smallest eigenvalue.
        lo = float(np.clip(self.roots.min() / 10, LEAST_RATIO * hi, 0.1 * hi))
        for s, weight in zip(*half_line_nodes(lo, hi, tolerance), strict=True):
            yield float(s), 1 / (self.eigenvalues + s**2), float(weight) / np.pi


def log_left(share: Array) -> Array:
    """Log(1 - share), where a share of 1 means that what is left has lost a dimension."""
    left: Array = np.log1p(-np.minimum(share, 1 - LEVERAGE_ROOM))
    return left


def removed(side: Side, spectrum: Spectrum) -> Array:
    """Delta_g, what leaving each group out takes from the trace of the root, [G]."""
    if side.large:
        return _refitted(side, spectrum)
    taken: Array = side.c * ((side.z**2).sum(axis=1) @ (0.5 / spectrum.roots))
    for _, r, weight in spectrum.nodes(TOLERANCE):
        here = at_node(side, r)
        taken = taken - weight * (here.log_determinant + log_left(here.shift / side.left(1)))
    return taken


def _refitted(side: Side, spectrum: Spectrum) -> Array:
    """Delta_g where a group is larger than the dimension: by an eigendecomposition each."""
    taken = []
    for z, weight in zip(side.z, side.root_weight, strict=True):
        moved = weight @ z
        changed = np.diag(spectrum.eigenvalues) - side.c * (z.T @ z + np.outer(moved, moved) / side.left(1))
        taken.append(spectrum.roots.sum() - np.sqrt(eigvalsh(changed).clip(min=0.0)).sum())
    return np.array(taken)


def first_differences(side: Side, spectrum: Spectrum, taken: Array) -> Array:
    """Theta - theta_(g) [G], given Delta_g."""
    left, scale = side.left(1), side.scale(1)
    root = 2 * (scale * spectrum.roots.sum() - (1 + scale) * taken)
    moved = (side.moved**2).sum(axis=1)
    trace = side.total * side.c - (side.total - side.energy - moved / left) / (left - 1)
    shift = 2 * side.moved @ side.gap / left - moved / left**2
    first: Array = root + trace + shift
    return first
