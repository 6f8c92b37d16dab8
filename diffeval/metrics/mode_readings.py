"""What is missing in all modes together, with what chance adds to it taken off, and with an interval that holds.

How much is missing: the mass sum_k max(0, p_k - q_k) that real images have beyond generated ones, and the
Jensen-Shannon divergence of the shares. Both are above 0 for two samples of one distribution. So both sides are drawn
anew, with their sizes, from shares that are the same but for the modes that surely differ; by how much more these
redraws read than their own shares do is taken off. Where many modes differ a little, and none of them surely, that
takes off some of the defect, too. The plain value is never too low on average (Jensen's inequality): intervals reach
up to it, and its error beyond.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from diffeval.metrics.metric import Array
from diffeval.metrics.occupancy import MISSING, Counts, Occupancy, least_missing, own_shares, shares_of_modes

# Standardised difference from which on a mode surely differs, as far as the bias of what is read goes.
DIFFERS = 3.0
# Redraws for what is read where nothing is wrong, and for errors.
DRAWS = 400
# Keys the redraws.
_NULL, _ERRORS = 0x5EED3, 0x5EED4
QUANTILE = 1.959964


@dataclass(frozen=True, slots=True)
class Reading:
    """A statistic of both sides.

    Attributes:
        value: less what redraws read too much.
        plain: as it is.
        std_error: over redraws of both sides; of shares no less than one image of either makes.
        null: what redraws read where nothing is wrong, the same taken off.
        null_error: over these.
        ci95: see above; of coverage no nearer to 1 than the least mode whose absence would be seen.
    """

    value: float
    plain: float
    std_error: float
    null: float
    null_error: float
    ci95: tuple[float, float]


def missing_mass(real: Array, generated: Array) -> Array:
    """sum_k max(0, p_k - q_k), over the last axis."""
    found: Array = np.maximum(real - generated, 0.0).sum(axis=-1)
    return found


def js_divergence(real: Array, generated: Array) -> Array:
    """Jensen-Shannon divergence in nats, 0 to log 2, over the last axis."""
    middle = (real + generated) / 2

    def towards(one: Array) -> Array:
        terms = one * np.log(np.maximum(one, 1e-300) / np.maximum(middle, 1e-300))
        return np.where(one > 0, terms, 0.0)

    found: Array = ((towards(real) + towards(generated)) / 2).sum(axis=-1)
    return found


def covered_mass(real: Array, generated: Array, mixed_up: Array | None = None) -> Array:
    """Share of real images in modes that are generated at no less than ``MISSING`` times their real rate."""
    absent = own_shares(generated, mixed_up) < MISSING * own_shares(real, mixed_up)
    found: Array = 1.0 - (real * absent).sum(axis=-1)
    return found


def readings(one: Occupancy) -> dict[str, Reading]:
    """The three statistics, by the names of their scores."""
    differing = np.abs(one.residuals()) > DIFFERS
    shares = _shares_of(one, differing)
    drawn, null = _redrawn(one, shares, _ERRORS), _redrawn(one, _shares_of(one, np.zeros_like(differing)), _NULL)
    asked = one.by_class[0].sum(axis=1)
    truth = [(asked @ each) / asked.sum() for each in reversed(shares)]
    statistics: dict[str, Callable[[Array, Array], Array]] = {
        "mode_coverage": partial(covered_mass, mixed_up=one.mixed_up),
        "missing_mass": missing_mass,
        "js_divergence": js_divergence,
    }
    least = 1.0 / (one.n + one.size)
    found = {}
    for name, statistic in statistics.items():
        plain, reads, at_null = float(statistic(one.real_shares, one.shares)), statistic(*drawn), statistic(*null)
        # Of shares; a divergence is of second order in them.
        floor = 0.0 if name == "js_divergence" else least
        error, null_error = (max(float(each.std(ddof=1)), floor) for each in (reads, at_null))
        half = QUANTILE * error
        if name == "mode_coverage":
            # Chance leaves modes empty, and fills none: that is what its null says, and nothing is taken off.
            unseen = least_missing(one.n, one.size, len(one.real))
            ends = (max(0.0, min(plain - half, 1.0 - unseen)), min(1.0, plain + half))
            found[name] = Reading(plain, plain, error, float(at_null.mean()), null_error, ends)
            continue
        value = plain - float(reads.mean() - statistic(*truth))
        found[name] = Reading(value, plain, error, 0.0, null_error, (value - half, plain + half))
    return found


def _shares_of(one: Occupancy, differing: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Shares of modes by class, [C, K], generated and real: their own where modes differ, common ones else."""
    pooled = np.where(differing, 0, one.by_class[0] + one.by_class[1])
    common = _rows_of(pooled, np.where(differing, 0.0, 1.0))
    sides = []
    for table in one.by_class:
        own = np.where(differing, _rows_of(table, np.ones(len(differing))), 0.0)
        sides.append(own + common * (1.0 - own.sum(axis=1, keepdims=True)))
    return sides[0], sides[1]


def _rows_of(table: Counts, otherwise: Array) -> Array:
    """Shares in each row of counts; of a row without any, as another says."""
    total = table.sum(axis=1, keepdims=True)
    usual = np.broadcast_to(otherwise / max(float(otherwise.sum()), 1e-300), table.shape)
    found: Array = np.divide(table, total, out=usual.astype(np.float64), where=total > 0)
    return found


def _redrawn(one: Occupancy, shares: tuple[Array, Array], key: int) -> tuple[Array, Array]:
    """Real and generated shares, [DRAWS, K] each, redrawn class by class with the sizes that they have."""
    random = np.random.Generator(np.random.Philox(key))
    drawn = []
    for rows, table in zip(shares, one.by_class, strict=True):
        sizes = table.sum(axis=1)
        exact = rows / rows.sum(axis=1, keepdims=True)
        drawn.append(np.stack([random.multinomial(n, row, DRAWS) for n, row in zip(sizes, exact, strict=True)], 1))
    ours, theirs = drawn
    return shares_of_modes(ours, theirs), ours.sum(axis=1) / one.n
