"""One pass of the risk probe over noise levels and timesteps, and what it says of type and timestep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import LONGEST, Probe, Reading, below_grid, beyond_grid, refined_grid, time_grid
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Array

# Noise levels that are probed, and those at which types are told apart: at more noise, f and x hardly differ.
LEVELS = (4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0)
TYPE_LEVELS = (2.0, 1.0, 0.0, -1.0)
# Share of the declared timesteps behind which a best one is at their end.
END = 0.97
# Share of the risk of x alone above which no declared timestep is the network's.
LOST = 0.9
# Redraws of the images, for intervals.
DRAWS = 200


@dataclass(frozen=True)
class Scan:
    """Risks of one network over levels and timesteps.

    Attributes:
        readings: one per level, from little noise to much.
        schedule: as declared.
        declared: the prediction type, as declared.
    """

    readings: tuple[Reading, ...]
    schedule: NoiseSchedule
    declared: str

    @property
    def levels(self) -> tuple[float, ...]:
        """Lambda of each reading."""
        return tuple(reading.log_snr for reading in self.readings)

    @property
    def n(self) -> int:
        """Images."""
        return len(self.readings[0].xx)

    @cached_property
    def draws(self) -> Array:
        """Weights of the images: first all alike, then redrawn with replacement, [1 + DRAWS, n], rows of sum 1."""
        random = np.random.Generator(np.random.Philox(key=1))
        redrawn = random.multinomial(self.n, np.full(self.n, 1.0 / self.n), size=DRAWS) / self.n
        return np.concatenate([np.full((1, self.n), 1.0 / self.n), redrawn])

    def at(self, level: float) -> Reading:
        """The reading at a level."""
        return self.readings[self.levels.index(level)]

    def risk(self, reading: Reading, hypothesis: str) -> Array:
        """Mean risk by timestep and draw of images, [J, 1 + DRAWS]."""
        p, q = HYPOTHESES[hypothesis].coefficients(reading.signal, reading.noise)
        found: Array = reading.risk(p, q) @ self.draws.T
        return found

    @cached_property
    def log_risk_of_types(self) -> Mapping[str, Array]:
        """Mean over levels of the log of the smallest risk over timesteps, by type and draw, [1 + DRAWS]."""
        readings = [reading for reading in self.readings if reading.log_snr in TYPE_LEVELS]
        return {
            name: np.mean([np.log(np.maximum(self.risk(one, name).min(axis=0), 1e-12)) for one in readings], axis=0)
            for name in HYPOTHESES
        }

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Types from the smallest risk to the largest."""
        scores = self.log_risk_of_types
        return tuple(sorted(scores, key=lambda name: float(scores[name][0])))

    @property
    def type(self) -> str:
        """The type that the weights behave like."""
        return self.types[0]

    @cached_property
    def path(self) -> tuple[int, ...]:
        """Row of the best timestep of each reading, for the type that the weights behave like."""
        return best_path(self.readings, self.type)

    def declared_time(self, level: float) -> int:
        """The timestep at which the declared schedule has this level."""
        return time_of(self.schedule, level)

    def covered(self, level: float) -> bool:
        """Whether the declared schedule reaches this level."""
        return reaches(self.schedule, level)


def reaches(schedule: NoiseSchedule, level: float) -> bool:
    """Whether a schedule has this level between its ends."""
    return bool(schedule.log_snr[-1] <= level <= schedule.log_snr[0])


def time_of(schedule: NoiseSchedule, level: float) -> int:
    """The timestep at which a schedule is nearest to a level."""
    return int(np.argmin(np.abs(np.clip(schedule.log_snr, -1e3, 1e3) - level)))


def scan(
    probe: Probe,
    schedule: NoiseSchedule,
    declared: str,
    *,
    levels: Sequence[float] = LEVELS,
    kept: Callable[[str, float], Reading | None] = lambda stage, level: None,
    keep: Callable[[str, Reading], None] = lambda stage, reading: None,
) -> Scan:
    """Reads every level at a coarse grid of timesteps, and more finely around the best of them.

    Args:
        probe: the network and its images.
        schedule: as declared; its timesteps are what the network is told.
        declared: prediction type.
        levels: of noise, descending.
        kept: readings of an earlier pass, by stage (``coarse`` or ``fine``) and level.
        keep: is given every reading that was made, and its stage.
    """
    coarse, fine = [], []
    for level in levels:
        reading = kept("coarse", level)
        if reading is None:
            reading = _coarse(probe, schedule, level)
            keep("coarse", reading)
        coarse.append(reading)
    rough = Scan(tuple(coarse), schedule, declared)
    paths = [best_path(coarse, name) for name in {rough.type, declared}]
    for place, begun in enumerate(coarse):
        reading = kept("fine", begun.log_snr)
        if reading is None:
            reading = _with_others(probe, begun, [t for path in paths for t in refined_grid(begun, path[place])])
            keep("fine", reading)
        fine.append(reading)
    return Scan(tuple(fine), schedule, declared)


def best_path(readings: Sequence[Reading], hypothesis: str) -> tuple[int, ...]:
    """Rows, one per level, of least total log risk along which timesteps only rise or only fall with the level.

    A network may make much the same of timesteps far apart that it was never told, so that what looks best at one
    level alone need not be its own. Along a noise schedule timesteps have an order.
    """
    times = [np.array(reading.times) for reading in readings]
    costs = [np.log(np.maximum(_mean_risk(reading, hypothesis), 1e-12)) for reading in readings]
    rising, cost = _rising(times, costs)
    falling, other = _rising([-one[::-1] for one in times], [one[::-1] for one in costs])
    if cost <= other:
        return rising
    return tuple(len(one) - 1 - row for one, row in zip(times, falling, strict=True))


def _rising(times: Sequence[Array], costs: Sequence[Array]) -> tuple[tuple[int, ...], float]:
    """The cheapest rows of ascending grids along which times do not fall, and their cost, by dynamic programming."""
    total, came_from = costs[0], []
    for before, here, cost in zip(times, times[1:], costs[1:], strict=False):
        first = np.array([int(np.argmin(total[: row + 1])) for row in range(len(total))])
        reach = np.searchsorted(before, here, side="right") - 1
        possible = reach >= 0
        came_from.append(np.where(possible, first[np.maximum(reach, 0)], -1))
        total = np.where(possible, total[came_from[-1]], np.inf) + cost
    rows = [int(np.argmin(total))]
    for pointers in reversed(came_from):
        rows.append(int(pointers[rows[-1]]))
    return tuple(reversed(rows)), float(total.min())


def _coarse(probe: Probe, schedule: NoiseSchedule, level: float) -> Reading:
    """A level at a coarse grid, with the declared timestep and its neighbours, and others where these are not it."""
    told = time_of(schedule, level)
    near = {min(max(told + step, 0), schedule.timesteps - 1) for step in (-1, 0, 1)}
    coarse = probe.read(level, sorted({*time_grid(schedule.log_snr), *near}))
    best = min(("epsilon", "sample", "v_prediction"), key=lambda name: _mean_risk(coarse, name).min())
    return _beyond(probe, coarse, schedule, best, told)


def _beyond(probe: Probe, reading: Reading, schedule: NoiseSchedule, name: str, told: int) -> Reading:
    """With timesteps that are not declared, where the network is at its best at the end of those that are, or at none.

    First as many as networks are trained with; where that is still the end, as many as one needs that is told t / T.
    """
    length, most = schedule.timesteps, probe.most_time
    row = int(_mean_risk(reading, name).argmin())
    lost = _mean_risk(reading, name)[row] > LOST * float(
        np.mean(reading.ee) - np.mean(reading.xe) ** 2 / np.mean(reading.xx)
    )
    if ((row <= reading.at(1) and told > 1) or lost) and most is None:
        reading = _with_others(probe, reading, below_grid())
    if (reading.times[row] < END * (length - 1) and not lost) or told >= END * (length - 1):
        return reading
    for first, last in ((length, max(LONGEST, 2 * length)), (max(LONGEST, 2 * length), length**2)):
        times = beyond_grid(first, last, most) if last > first else ()
        reading = _with_others(probe, reading, times)
        risk = _mean_risk(reading, name)
        if int(risk.argmin()) < len(risk) - 1 and not lost:
            break
    return reading


def _with_others(probe: Probe, reading: Reading, times: Sequence[float]) -> Reading:
    """With more timesteps, if the network takes them."""
    left = sorted(set(times) - set(reading.times))
    try:
        return reading.joined(probe.read(reading.log_snr, left)) if left else reading
    except (DiffevalError, IndexError, RuntimeError, ValueError, TypeError):
        return reading


def _mean_risk(reading: Reading, name: str) -> Array:
    mean: Array = reading.risk(*HYPOTHESES[name].coefficients(reading.signal, reading.noise)).mean(axis=1)
    return mean
