"""``data-range``: the range, and the order of channels, in which the weights expect images.

Images are shown to the network as a u + b in place of the declared u. At one noise level that would not be a fair
comparison: a smaller image drowns in the same noise, and noise that hides everything is easily predicted, so that the
flattest map would win. So the noise is matched to the image: for every map lambda is moved by -2 log|a|, at which
alpha a / sigma, the signal in the noise, is what it is for u. All maps then show the network the same noisy images,
differently scaled and shifted; the least error of noise that any function of them has is the same for all. A network
trained on one of the maps comes near to it there, at the timestep of that level, and for no other map can it be
better. So the map with the least risk is the one that the network was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.arms import best_time, interval, redraws, valued, without_network
from diffeval.checks.check import Calls, Finding, Row, Subject, check
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import BATCH, Reading, refined_grid, time_grid
from diffeval.checks.real_images import ModelImages
from diffeval.checks.scan import LEVELS as PROBED
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.metrics.metric import Array

# Where risks are compared, in log-SNR of the declared map. With more noise the scale of the image is lost in it.
LEVELS = (2.0, 0.0)
# Timesteps told at each, beside those that suited the network best in the scan: evenly spaced ones, and ones evenly
# spaced in lambda; then others around the best.
COARSE, FINE = (7, 6), 9
# Ranges that people train on, and one that the fit, which starts from the nearest of these, reaches wider ones from.
RANGES = ((-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5), (-2.0, 2.0), (0.0, 255.0))
# Nats by which a level may lie beyond the declared schedule.
BEYOND = 0.5
# Rounds of the continuous fit, each with timesteps of its own; evaluations in each, timesteps told at each, and the
# first step: in log|a|, and in half-widths of the range.
ROUNDS, EVALUATIONS, FIT_TIMES, STEP = 2, 14, 5, 0.2
DECLARED = "declared"
# Share of the risk that needs no network that one must come below under some map.
LEARNT = 0.9


@dataclass(frozen=True, slots=True)
class Map:
    """An affine map of images in the declared range.

    Attributes:
        name: as it is called.
        scale: of all channels; with one for each, noise could not hide them as it hides the declared ones.
        offset: of every channel, [C], or of all, [1].
        flag: that declares it, where it can be declared.
        reverse: whether the order of the channels is turned round, too.
    """

    name: str
    scale: float
    offset: Array
    flag: str = ""
    reverse: bool = False

    def __call__(self, x0: torch.Tensor) -> torch.Tensor:
        """Maps images [n, C, H, W]."""
        offset = torch.from_numpy(self.offset).float().view(1, -1, 1, 1)
        return (x0.flip(1) if self.reverse else x0) * self.scale + offset

    @property
    def shift(self) -> float:
        """Nats that its level lies below the declared map's."""
        return float(2.0 * np.log(abs(self.scale)))


@dataclass(frozen=True)
class Look:
    """What the network made of one map.

    Attributes:
        map: of the images.
        readings: of the risk probe, one per level.
        without_network: mean over levels of the log risk that needs none.
    """

    map: Map
    readings: tuple[Reading, ...]
    without_network: float

    @cached_property
    def _risks(self) -> dict[str, tuple[Array, ...]]:
        """Mean risk of every prediction type by timestep and draw, [J, 1 + DRAWS], for each level."""
        draws = redraws(len(self.readings[0].xx)).T
        return {
            name: tuple(one.risk(*hypothesis.coefficients(one.signal, one.noise)) @ draws for one in self.readings)
            for name, hypothesis in HYPOTHESES.items()
            if hypothesis.declared
        }

    @cached_property
    def type(self) -> str:
        """The prediction type that suits it best."""
        return min(self._risks, key=lambda name: sum(np.log(one[:, 0].min()) for one in self._risks[name]))

    @property
    def rows(self) -> tuple[int, ...]:
        """The best timestep at each level, by its row in the reading."""
        return tuple(int(one[:, 0].argmin()) for one in self._risks[self.type])

    @property
    def log_risk(self) -> Array:
        """By level and draw of images, at the best timestep, [L, 1 + DRAWS]."""
        return np.log([one.min(axis=0) for one in self._risks[self.type]])

    @property
    def score(self) -> Array:
        """Mean over levels, [1 + DRAWS]."""
        found: Array = self.log_risk.mean(axis=0)
        return found

    def finer(self, subject: Subject, images: ModelImages) -> "Look":
        """With more timesteps around the best ones."""
        times = [refined_grid(one, row, FINE) for one, row in zip(self.readings, self.rows, strict=True)]
        more = look_at(subject, images, self.map, times).readings
        readings = tuple(one.joined(other) for one, other in zip(self.readings, more, strict=True))
        return replace(self, readings=readings)

    def row(self) -> Row:
        """Its risk at each level, as a row of a table."""
        risks = np.exp(self.log_risk[:, 0])
        return {"map": self.map.name, **{f"log_snr {at:g}": float(one) for at, one in zip(LEVELS, risks, strict=True)}}


# Images to spend, at most.
IMAGES = 32


def _calls(subject: Subject) -> Calls:
    shown = min(IMAGES, len(subject.probe_images))
    return {BATCH: _passes(len(candidates(subject.checkpoint, subject.probe_images.x0))) * shown / BATCH}


def _passes(maps: int) -> int:
    """Forward passes of each image."""
    each = sum(COARSE) + len(PROBED) + FINE
    return len(LEVELS) * ((maps + ROUNDS) * each + ROUNDS * EVALUATIONS * FIT_TIMES)


@check(
    "data-range",
    about="the weights expect images in the declared range, channels in their order",
    reads=("images",),
    calls=_calls,
)
def data_range(
    subject: Subject,
    *,
    fail: float = 1.1,
    warn: float = 1.02,
    fit_fail: float = 1.5,
    fit_warn: float = 1.2,
    tie: float = 1.02,
    images: int = IMAGES,
) -> Finding:
    """Risk of the noise prediction under other maps of the images, each at the noise that hides it as much.

    Values: ``ratio``, risk under the declared map over that under the best other one, with its interval; 1 and less
    is right. ``fit_ratio``, the same over a map whose scale and offset are fitted; ``expects_low``, ``expects_high``:
    what the ends of the declared range become under it. Risks are geometric means over log-SNR 2 and 0. Timestep and
    prediction type are chosen for every map anew: a wrong noise schedule or type is not taken for a wrong range.

    A network that is shown images in a wrong range may look untrained; this check does not stand behind that one. It
    is inconclusive where no map does better than x and a constant do.

    Fails where another map is better by ``fail``, with its interval by ``warn``, and by ``warn`` at every level.

    Args:
        subject: what is looked at.
        fail: ratio that is a failure. On short trainings it was 0.6 and less with the right map, 2 and more without.
        warn: ratio that is worth a warning.
        fit_fail: ratio of the fitted map that is a failure where none of the others is. Two free numbers make good for
            other faults, too: with running statistics that were off, the ratio was 1.3.
        fit_warn: ratio of the fitted map that is worth a warning.
        tie: maps whose risks differ by less are not told apart.
        images: to spend.

    Cost: 62 forward passes for each image and map (8 maps, 9 in colour), 400 for the fit.
    """
    shown = subject.probe_images.first(min(images, subject.n))
    maps = [one for one in candidates(subject.checkpoint, shown.x0) if _reached(subject.checkpoint.schedule, one)]
    if len(maps) < 2 or maps[0].name != DECLARED:
        return Finding("inconclusive", "the noise schedule does not reach the levels at which ranges are told apart")
    subject.reporter.stage("data-range", _passes(len(maps)) * len(shown), "forward passes")
    declared, *others = [look_at(subject, shown, one).finer(subject, shown) for one in maps]
    best = min(others, key=lambda one: float(one.score[0]))
    fitted = min((best, declared), key=lambda one: float(one.score[0]))
    for _ in range(ROUNDS):
        fitted = _fit(subject, shown, fitted)
    return _judge(
        declared, best, others, fitted, subject.checkpoint.value_range, (fail, warn, fit_fail, fit_warn, tie)
    )


def candidates(checkpoint: Checkpoint, x0: torch.Tensor) -> tuple[Map, ...]:
    """The declared map, and the others that people confuse it with."""
    low, high = checkpoint.value_range
    every = [Map(DECLARED, 1.0, np.zeros(1))]
    for one in RANGES:
        if one != (low, high):
            scale = (one[1] - one[0]) / (high - low)
            said, flag = _said(*one), f"--value-range={one[0]:g},{one[1]:g}"
            every.append(Map(f"images in {said}", scale, np.array([one[0] - scale * low]), flag))
    mean = x0.mean(dim=(0, 2, 3)).double().numpy()
    spread = max(float(x0.var(dim=(0, 2, 3)).mean()) ** 0.5, 1e-3 * (high - low))
    every.append(Map("standardised images, of mean 0 and variance 1", 1.0 / spread, -mean / spread))
    every.append(Map("inverted images, dark for light", -1.0, np.array([low + high])))
    if len(mean) == 3:
        every.append(Map("channels in reverse order (BGR for RGB)", 1.0, np.zeros(1), reverse=True))
    return tuple(every)


def _reached(schedule: NoiseSchedule, one: Map) -> bool:
    """Whether the declared schedule has the levels at which a map is judged."""
    curve = schedule.log_snr
    return bool(curve[-1] - BEYOND <= min(LEVELS) - one.shift and max(LEVELS) - one.shift <= curve[0] + BEYOND)


def look_at(subject: Subject, images: ModelImages, one: Map, times: Sequence[Sequence[float]] | None = None) -> Look:
    """Shows a map at every level, each at the given timesteps, or at a coarse grid of all."""
    probe, scan = subject.probe(images=replace(images, x0=one(images.x0))), subject.scan
    grid = {*time_grid(scan.schedule.log_snr, *COARSE), *(best_time(scan, level) for level in scan.levels)}
    told = times or [sorted(grid)] * len(LEVELS)
    readings = tuple(probe.read(level - one.shift, at) for level, at in zip(LEVELS, told, strict=True))
    draws = redraws(len(images))
    floor = float(np.mean([np.log(without_network(probe, reading, draws)[0]) for reading in readings]))
    return Look(one, readings, floor)


def _fit(subject: Subject, images: ModelImages, start: Look) -> Look:
    """The map of least risk, from one that is near; its timesteps lie around those that were best there."""
    low, high = subject.checkpoint.value_range
    half = abs(start.map.scale) * (high - low) / 2
    times = [refined_grid(one, row, FIT_TIMES) for one, row in zip(start.readings, start.rows, strict=True)]
    found: list[Look] = []

    def score(moved: npt.NDArray[np.float64]) -> float:
        scale = start.map.scale * float(np.exp(moved[0]))
        offset = start.map.offset + moved[1] * half
        found.append(look_at(subject, images, replace(start.map, name="", scale=scale, offset=offset), times))
        return float(found[-1].score[0])

    corners = np.array([[0.0, 0.0], [STEP, 0.0], [0.0, STEP]])
    minimize(score, np.zeros(2), method="Nelder-Mead", options={"maxfev": EVALUATIONS, "initial_simplex": corners})
    # It may want other timesteps by now; with few of them, all of the fit looked worse than it is.
    best = look_at(subject, images, min(found, key=lambda one: float(one.score[0])).map).finer(subject, images)
    return min((best, start), key=lambda one: float(one.score[0]))


def _judge(
    declared: Look,
    best: Look,
    others: Sequence[Look],
    fitted: Look,
    value_range: tuple[float, float],
    limits: tuple[float, float, float, float, float],
) -> Finding:
    """What the risks say."""
    fail, warn, fit_fail, fit_warn, tie = limits
    low, high = (float((fitted.map.scale * end + fitted.map.offset).mean()) for end in value_range)
    ratio, fit_ratio = np.exp(declared.score - best.score), np.exp(declared.score - fitted.score)
    values = {**valued("ratio", ratio), **valued("fit_ratio", fit_ratio), "expects_low": low, "expects_high": high}
    rows = tuple(one.row() for one in (declared, *others))
    told, expected = _said(*value_range), _said(low, high)
    # A fit that is far better than any of the known maps is a range of its own.
    strange = float(fitted.score[0]) < float(best.score[0]) - np.log(fail) and float(fit_ratio[0]) >= fit_warn
    rival, found = (fitted, fit_ratio) if strange else (best, ratio)
    sure, point = interval(found)[0], float(found[0])
    everywhere = bool((declared.log_risk - rival.log_risk)[:, 0].min() > np.log(warn))
    if min(float(one.score[0]) for one in (declared, best, fitted)) > np.log(LEARNT) + declared.without_network:
        return Finding(
            "inconclusive", "the network has learnt nothing that could be read in any range", values, rows=rows
        )
    if point >= warn and sure > 1.0 and everywhere:
        least = fit_fail if strange else fail
        failed = point >= least and sure > warn
        name = f"images in about {expected}" if strange else rival.map.name
        flag = f"--value-range={low:.3g},{high:.3g}" if strange else rival.map.flag
        return Finding(
            "fail" if failed else "warn",
            f"the weights expect {name}, {told} is declared: shown those as declared, the error of noise is "
            f"{point:.2f} times as large (limit {least if failed else warn:g}; 95% interval {sure:.2f} to "
            f"{interval(found)[1]:.2f})",
            values,
            _remedy(flag),
            ruled_out=("prediction type and noise schedule: every map was read with those that suit it best",),
            rows=rows,
        )
    alike = [one.map.name for one in others if abs(float((declared.score - one.score)[0])) < np.log(tie)]
    if len(alike) == len(others):
        return Finding("inconclusive", "the network does as well with images in any range", values, rows=rows)
    untold = f"; not told apart from {', '.join(alike)}" if alike else ""
    return Finding(
        "pass",
        f"the weights expect images in {expected}, {told} is declared; the best other map, {best.map.name}, has "
        f"{1 / float(ratio[0]):.2f} times the risk{untold}",
        values,
        rows=rows,
    )


def _remedy(flag: str) -> str:
    declare = f"declare it: {flag}; or " if flag else ""
    return f"{declare}prepare images, for sampling and for training on, as the network was trained"


def _said(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}"
