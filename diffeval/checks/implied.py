"""The noise schedule that the weights imply: at every noise level, the timestep at which the network is best."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffeval.checkpoints.schedules import karras_grid
from diffeval.checks.probe import Reading
from diffeval.checks.scan import Scan
from diffeval.diffusion.schedule import SCHEDULE_NAMES, NoiseSchedule, named_schedule
from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Array

# Lambda is compared only as far as both curves are real levels.
FARTHEST = 12.0
# Curves that differ by less than this explain the same weights; the plainer one, which comes first, is named.
SAME = 0.05
# Rows on either side of the best one in which redraws of the images may have theirs.
NEAR = 6
# Shifts of flows (Esser et al. 2024), and the noise levels between which EDM's grid runs (Karras et al. 2022).
SHIFTS, EDM_LEVELS = (1.0, 2.0, 3.0, 5.0), (0.002, 80.0)
# Numbers of timesteps that networks are trained with.
LENGTHS = (10, 20, 50, 100, 128, 200, 250, 256, 300, 400, 500, 512, 1000, 2000, 4000)


@dataclass(frozen=True, slots=True)
class Implied:
    """What the weights imply.

    Attributes:
        levels: lambda, [L].
        times: the best timestep at each, by draw of images, float64 [L, 1 + DRAWS].
        excess: risk at the declared timestep over the least, less 1, [L, 1 + DRAWS].
        reliance: mean risk over timesteps over the least, less 1, [L]: 0 where the network does not heed t.
        edge: whether the best timestep is the first or last that was told, [L].
    """

    levels: tuple[float, ...]
    times: Array
    excess: Array
    reliance: Array
    edge: tuple[bool, ...]

    def part(self, levels: Sequence[float]) -> "Implied":
        """At some of the levels."""
        rows = [self.levels.index(level) for level in levels if level in self.levels]
        return Implied(
            tuple(self.levels[row] for row in rows),
            self.times[rows],
            self.excess[rows],
            self.reliance[rows],
            tuple(self.edge[row] for row in rows),
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """A noise schedule that the weights may follow.

    Attributes:
        name: e.g. ``linear, 1000 timesteps``.
        log_snr: lambda at each timestep that the network is told, [T].
        like: whose noise schedule to declare; empty where none would do.
        mistake: what is wrong beside the schedule, e.g. a reversed index; empty without.
        scale: of the timesteps, before the curve is looked up.
    """

    name: str
    log_snr: Array
    like: str = ""
    mistake: str = ""
    scale: float = 1.0

    def at(self, times: Array) -> Array:
        """Lambda at timesteps, between them linear; beyond them the curve goes on as at its end."""
        times = times * self.scale
        steps = np.arange(len(self.log_snr))
        curve = np.clip(self.log_snr, -FARTHEST, FARTHEST)
        beyond = np.maximum(times - steps[-1], 0.0) * (curve[-1] - curve[-2])
        found: Array = np.clip(np.interp(times, steps, curve) + beyond, -FARTHEST, FARTHEST)
        return found


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a curve explains the implied timesteps: root mean square over levels of lambda(t*) - lambda, nats."""

    curve: Curve
    rms: float


def implied(scan: Scan) -> Implied:
    """The best timesteps, for the type that the weights behave like."""
    both = list(zip(scan.readings, scan.path, strict=True))
    kept = [(reading, row) for reading, row in both if scan.covered(reading.log_snr)] or both
    times, excess, reliance, edge = [], [], [], []
    for reading, row in kept:
        risk = scan.risk(reading, scan.type)
        near = slice(max(row - NEAR, 0), row + NEAR + 1)
        best = risk[near].min(axis=0)
        declared = reading.at(scan.declared_time(reading.log_snr))
        times.append(_vertex(np.array(reading.times)[near], risk[near]))
        excess.append(risk[declared] / best - 1.0)
        reliance.append(float(_over_time(reading, risk[:, 0]) / best[0] - 1.0))
        edge.append(row in (0, len(reading.times) - 1))
    levels = tuple(reading.log_snr for reading, _ in kept)
    return Implied(levels, np.array(times), np.array(excess), np.array(reliance), tuple(edge))


def _over_time(reading: Reading, risk: Array) -> float:
    """Mean risk over the declared range of timesteps, each counting for the stretch that it stands for."""
    times = np.array(reading.times, dtype=np.float64)
    return float(np.trapezoid(risk, times) / (times[-1] - times[0]))


def _vertex(times: Array, risk: Array) -> Array:
    """Of a parabola through the least risk and its neighbours, by draw; the least itself at the edges."""
    found = np.empty(risk.shape[1])
    for draw, row in enumerate(risk.argmin(axis=0)):
        found[draw] = times[row]
        if not 0 < row < len(times) - 1:
            continue
        (left, middle, right), (a, b, c) = times[row - 1 : row + 2], risk[row - 1 : row + 2, draw]
        first, second = (b - a) / (middle - left), (c - b) / (right - middle)
        curvature = (second - first) / (right - left)
        if curvature > 0:
            found[draw] = np.clip((left + middle) / 2 - first / (2 * curvature), left, right)
    return found


def candidates(declared: NoiseSchedule) -> tuple[Curve, ...]:
    """The declared schedule, rightly and wrongly indexed, and every named one of every usual length."""
    curve = np.asarray(declared.log_snr)
    told = len(curve)
    made = [
        Curve("the declared one", curve, "declared"),
        Curve("the declared one, reversed", curve[::-1].copy(), "", "the timestep counts from noise to image"),
    ]
    lengths = sorted({*LENGTHS, told}, key=lambda length: (length != 1000, length))
    for zero_snr, length, name in itertools.product((False, True), lengths, SCHEDULE_NAMES):
        try:
            schedule = named_schedule(name, length, zero_snr=zero_snr)
        except (DiffevalError, ValueError):
            continue
        said = f"{name}, {length} timesteps" + (", zero terminal SNR" if zero_snr else "")
        flags = f"--schedule {name} --timesteps {length}" + (" --zero-snr" if zero_snr else "")
        made.append(Curve(said, np.asarray(schedule.log_snr), flags))
    made += _of_sigmas(told)
    # In training it was told t / factor, or is told that now.
    for factor in (2.0, 4.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, float(told)):
        before = f"the network was trained with t / {factor:g}"
        now = f"the network was trained with t, and is told t / {factor:g}"
        made += [
            Curve(f"the declared one at {factor:g} t", curve, "", before, factor),
            Curve(f"the declared one at t / {factor:g}", curve, "", now, 1.0 / factor),
        ]
    return tuple(made)


def _of_sigmas(told: int) -> list[Curve]:
    """Schedules that are told by their noise over their signal: flows, and EDM's grid, as long as the declared one."""
    times = (np.arange(told) + 1.0) / (told + 1.0)
    made = []
    for shift in SHIFTS:
        noise = shift * times / (1.0 + (shift - 1.0) * times)
        curve = 2.0 * (np.log1p(-noise) - np.log(noise))
        made.append((f"a flow with shift {shift:g}, {told} timesteps", curve))
    grid = -2.0 * np.log(karras_grid(*EDM_LEVELS, told))
    made.append((f"EDM's grid, sigma {EDM_LEVELS[0]:g} to {EDM_LEVELS[1]:g}, {told} timesteps", grid))
    return [Curve(name, curve, "--schedule FILE.npy, with its alpha-bar at each timestep") for name, curve in made]


def fits(found: Implied, curves: Sequence[Curve]) -> tuple[Fit, ...]:
    """Every curve with its distance, the nearest first; the first of those as near as the nearest before them."""
    levels = np.array(found.levels)
    made = [Fit(one, float(np.sqrt(np.mean((one.at(found.times[:, 0]) - levels) ** 2)))) for one in curves]
    least = min(one.rms for one in made)
    return tuple(sorted(made, key=lambda one: max(one.rms, least + SAME)))
