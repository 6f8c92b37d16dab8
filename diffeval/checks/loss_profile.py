"""``loss-profile``: the risk at every noise level against the best affine denoiser, which takes no training at all.

From mean and covariance of the training images follows the Wiener floor R_W, the smallest risk of a prediction that is
affine in x. A network that has learnt the images lies below it; one that lies above it at some level was not, or too
little, trained there. The type is the one that the weights behave like, and the timestep the best one at each level:
a schedule or a type that is wrongly declared is another check's to find.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diffeval.checks.check import CHECKS, EXPECTED_TIMES, Calls, Finding, Row, Subject, check
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import BATCH, Probe, Reading
from diffeval.checks.scan import Scan, reaches
from diffeval.checks.slopes import IMAGES, TIMES, gradient_norms, slopes_in_time, times_of
from diffeval.checks.wiener import Moments, affine_risk, moments_of
from diffeval.metrics.metric import Array

# Levels of less noise than the scan's, where only the first timesteps of a schedule lie.
LOW_NOISE = (8.0, 6.5, 5.0)
# Timesteps about the declared one that are told there beside those of the scan.
NEAR = (-2, -1, 0, 1, 2)
# Levels at which images have most to tell beyond their covariance.
TELLING = (-1.0, 2.0)
# What makes a network worse than it could be, and has a check of its own: then that is the cause, not this.
CAUSES = (
    "batch-norm", "receptive-field", "timestep-embedding", "data-range", "ema", "memorization", "noise-schedule",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Level:
    """A network at one noise level: risk and floor of every draw of images, [1 + DRAWS].

    Attributes:
        log_snr: lambda.
        time: the best timestep.
        risk: of the noise prediction.
        floor: of the best affine one.
        scale: mean square of what the network predicts, in the same units.
    """

    log_snr: float
    time: float
    risk: Array
    floor: Array
    scale: float

    @property
    def ratio(self) -> float:
        """Risk over floor."""
        return float(self.risk[0] / self.floor[0])

    @property
    def least_ratio(self) -> float:
        """Lower end of its 95% interval."""
        return float(np.quantile(self.risk[1:] / self.floor[1:], 0.025))

    @property
    def excess(self) -> float:
        """Risk above the floor, as a share of the mean square of what the network predicts."""
        return float(self.risk[0] - self.floor[0]) / self.scale


def _calls(subject: Subject) -> Calls:
    levels = sum(reaches(subject.checkpoint.schedule, level) for level in LOW_NOISE)
    # Of slopes: two calls at each timestep, and one with a gradient.
    times = EXPECTED_TIMES + len(NEAR)
    return {BATCH: levels * times * len(subject.probe_images) / BATCH, IMAGES: 3.0 * TIMES}


@check(
    "loss-profile",
    about="the risk at every noise level against the best affine denoiser",
    reads=("scan",),
    calls=_calls,
)
def loss_profile(
    subject: Subject,
    *,
    fail: float = 1.10,
    sure: float = 1.02,
    excess_fail: float = 0.05,
    linear_warn: float = 0.97,
    trained: float = 0.75,
    gradient_warn: float = 100.0,
) -> Finding:
    """Risk over floor by noise level; gradient norms and slopes in time by timestep.

    Values: ``worst_ratio`` and ``worst_level``, the largest risk over floor among levels where the excess counts, and
    over all where it does nowhere; ``worst_excess``; ``telling_ratio``, the smallest ratio from log-SNR -1 to 2;
    ``gradient_ratio``, the largest gradient norm over timesteps over the median; ``slope_ratio``, the change of
    the output per nat at the first timesteps over the median (no verdict).

    A level fails where the ratio is above ``fail``, its 95% interval above ``sure``, and the excess above
    ``excess_fail`` of what the network predicts. The last is what the training loss weighs: with much noise healthy
    networks that predict epsilon lie above the floor by a thousandth of their target, and with little noise those that
    predict the image by a hundredth, at many times the floor. Levels that the schedule does not reach are left out.

    It is a warning where ``telling_ratio`` lies between ``trained`` and ``linear_warn``: such a network has learnt
    something beyond linear and little of it, as one early in its training, which learns the rare levels last.

    Costs, beyond the scan, 3 x 45 forward passes per image, and 16 x 16 with a gradient and 2 x 16 x 16 without.

    Args:
        subject: what is looked at.
        fail: risk over floor that fails.
        sure: what the lower end of its interval must lie above.
        excess_fail: excess below which nothing fails.
        linear_warn: ratio that warns if the network lies above it at all levels from -1 to 2.
        trained: telling ratio below which a network is far enough for a bad level to be a fault.
        gradient_warn: gradient norm over the median that warns.

    Source: the floor is the risk of the Wiener filter (Wang and Vastola 2024 find it in trained networks at high
    noise). ``excess_fail`` is fitted: of healthy trainings, levels above 1.1 times the floor reach an excess of
    0.012; planted faults have 0.17 and more. So is ``trained``: healthy trainings that were not cut short end below
    0.65, and one that was stopped at a tenth has 0.87 and bad levels.
    """
    scan, images = subject.scan, subject.images
    assert images is not None, "a check that scans has images"
    # Without held-out images the probe has the first ones; a floor that knew them would be too low.
    rest = images.x0 if subject.held_out is not None or len(images) < 4 * scan.n else images.x0[scan.n :]
    levels = levels_of(scan, subject.probe(), moments_of(rest))
    if not levels:
        return Finding("inconclusive", "the declared schedule reaches none of the noise levels that are probed")
    values, slopes = _slopes(subject)
    bad = [one for one in levels if one.ratio > fail and one.least_ratio > sure and one.excess > excess_fail]
    counted = [one for one in levels if one.excess > excess_fail] or levels
    worst = max(counted, key=lambda one: one.ratio)
    telling = [one for one in levels if TELLING[0] <= one.log_snr <= TELLING[1]]
    values |= {"worst_ratio": worst.ratio, "worst_level": worst.log_snr}
    values |= {"worst_excess": max(one.excess for one in levels)}
    if telling:
        values["telling_ratio"] = min(one.ratio for one in telling)
    rows: tuple[Row, ...] = tuple(
        {"log_snr": one.log_snr, "risk": float(one.risk[0]), "floor": float(one.floor[0]), "timestep": one.time}
        for one in levels
    )
    ruled_out = (f"prediction type and noise schedule (read as {scan.type}, at the best timestep of each level)",)
    if bad:
        text, early = _of_bad(bad, fail), trained <= values.get("telling_ratio", 0.0) <= linear_warn
        if early:
            text += f"; little better than linear elsewhere ({values['telling_ratio']:.2f} of that risk at best)"
        fix = "train longer; it looks early in its training" if early else _mend(bad, levels)
        finding = Finding("warn" if early else "fail", text, values, fix, ruled_out=ruled_out, rows=rows)
        return _explained(subject, finding)
    said = []
    if telling and all(one.ratio > linear_warn for one in telling):
        least = min(one.ratio for one in telling)
        said.append(
            (
                f"no better than linear: {least:.2f} of the best affine denoiser's risk and more at log-SNR "
                f"{TELLING[0]:g} to {TELLING[1]:g} (below {linear_warn:g} is healthy)",
                "train longer, or with a larger network",
            )
        )
    if slopes is not None and values["gradient_ratio"] > gradient_warn:
        at = times_of(subject)[int(slopes.argmax())]
        said.append(
            (
                f"at t={at} the gradient is {values['gradient_ratio']:.0f} times its median over timesteps (at most "
                f"{gradient_warn:g})",
                "weigh the loss by timestep (min-SNR), or clip the gradient",
            )
        )
    if said:
        texts, fixes = zip(*said, strict=True)
        finding = Finding("warn", "; ".join(texts), values, "; ".join(fixes), ruled_out=ruled_out, rows=rows)
        return _explained(subject, finding) if "no better" in texts[0] else finding
    return Finding(
        "pass",
        f"below the best affine denoiser's risk: {worst.ratio:.2f} of it at most, at log-SNR {worst.log_snr:g}"
        if worst.ratio <= 1
        else f"no level is worse than the best affine denoiser by more than {excess_fail:g} of what is predicted "
        f"({worst.ratio:.2f} times its risk, but {worst.excess:.2g}, at log-SNR {worst.log_snr:g})",
        values,
        rows=rows,
    )


def levels_of(scan: Scan, probe: Probe, moments: Moments) -> list[Level]:
    """Every level that the schedule reaches, from little noise to much."""
    low = [level for level in LOW_NOISE if scan.covered(level)]
    readings = [*(probe.read(level, _times(scan, level)) for level in low), *scan.readings]
    return [_level(scan, one, probe, moments) for one in readings if scan.covered(one.log_snr)]


def _times(scan: Scan, level: float) -> tuple[float, ...]:
    """The declared timestep and its neighbours, and those of the scan's reading with the least noise."""
    told, last = scan.declared_time(level), scan.schedule.timesteps - 1
    near = {min(max(told + step, 0), last) for step in NEAR}
    return tuple(sorted({*scan.readings[0].times, *map(float, near)}))


def _level(scan: Scan, reading: Reading, probe: Probe, moments: Moments) -> Level:
    risks = scan.risk(reading, scan.type)
    best = int(risks[:, 0].argmin())
    _, q = HYPOTHESES[scan.type].coefficients(reading.signal, reading.noise)
    # p f + q x predicts the noise: what the network predicts has the mean square of noise - q x, over p^2.
    target = float((reading.ee - 2 * q * reading.xe + q**2 * reading.xx).mean())
    floor = scan.draws @ affine_risk(moments, probe, reading.log_snr)
    return Level(reading.log_snr, reading.times[best], risks[best], floor, target)


def _of_bad(bad: Sequence[Level], fail: float) -> str:
    worst = max(bad, key=lambda one: one.excess)
    where = ", ".join(f"{one.log_snr:g}" for one in bad)
    return (
        f"worse than the best affine denoiser at log-SNR {where}: {worst.ratio:.2f} times its risk at "
        f"{worst.log_snr:g} (at most {fail:g})"
    )


def _mend(bad: Sequence[Level], levels: Sequence[Level]) -> str:
    fine = [one for one in levels if one.ratio < 1]
    if fine and min(one.log_snr for one in bad) > max(one.log_snr for one in fine):
        least = min(one.log_snr for one in bad)
        return f"the timesteps of log-SNR {least:g} and above were hardly trained: draw t from 0 on, and weigh them"
    return "train longer, with a larger network, or with a loss that weighs these noise levels more"


def _explained(subject: Subject, finding: Finding) -> Finding:
    """The finding, taken back to a warning where another check knows the cause."""
    for name in CAUSES:
        if name in CHECKS and subject.found(name).status == "fail":
            return replace(
                finding,
                status="warn",
                summary=f"{finding.summary}, which {name} explains",
                fix=f"see {name}",
            )
    cleared = tuple(f"{name} passes" for name in CAUSES if name in CHECKS and subject.found(name).status == "pass")
    return replace(finding, ruled_out=(*finding.ruled_out, *cleared))


def _slopes(subject: Subject) -> tuple[dict[str, float], Array | None]:
    """Gradient norms and slopes in time, as ratios to their medians; the norms None without a copy to call."""
    slopes, norms = slopes_in_time(subject), gradient_norms(subject)
    values = {}
    if np.median(slopes) > 0:
        values["slope_ratio"] = float(slopes[0] / np.median(slopes))
    if norms is None or not np.isfinite(norms).all() or np.median(norms) == 0:
        return values, None
    return {**values, "gradient_ratio": float(norms.max() / np.median(norms))}, norms
