"""The denoising gap: how much better a network removes noise from its training images than from others like them."""

from dataclasses import dataclass

import numpy as np

from diffeval.checks.arms import arm, best_time, interval, redraws, valued
from diffeval.checks.check import EXPECTED_TIMES, Row, Subject
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.real_images import ModelImages
from diffeval.metrics.metric import Array

LEVELS = (4.0, 2.0, 0.0, -2.0)
# Training images by which timesteps are chosen.
FEW = 64


@dataclass(frozen=True, slots=True)
class Gap:
    """What the risks say.

    Attributes:
        values: the numbers.
        speaks: whether the network knows its training images.
        raised: whether the gap is worth a warning.
        text: the numbers in a sentence.
        rows: risks by level.
    """

    values: dict[str, float]
    speaks: bool
    raised: bool
    text: str
    rows: tuple[Row, ...]


def denoising_gap(subject: Subject, trained: ModelImages, held_out: ModelImages, warn: float, fail: float) -> Gap:
    """1 - R_train / R_heldout, at the timestep that suits training images best, mean over noise levels.

    Args:
        subject: what is looked at; its scan must be of use.
        trained: images that the network was trained on.
        held_out: others.
        warn: gap that is worth a warning, where its interval lies above 0.
        fail: gap that says that images are known, where its interval lies above ``warn``.
    """
    levels = [level for level in LEVELS if subject.scan.covered(level)] or list(LEVELS)
    passes = len(trained) + len(held_out) + FEW * EXPECTED_TIMES // 2
    subject.reporter.stage("denoising gap", len(levels) * passes, "forward passes")
    times = [_time(subject, trained, level) for level in levels]
    seen, unseen = (
        np.array([arm(subject.probe(images=ones), subject.scan, *at) for at in zip(levels, times, strict=True)])
        for ones in (trained, held_out)
    )
    return _read(levels, seen, unseen, f"{trained.spec} and {held_out.spec}", (warn, fail))


def _time(subject: Subject, trained: ModelImages, level: float) -> float:
    """The best timestep for training images: to a network that knows them, others look noisier than they are."""
    scan, probe = subject.scan, subject.probe(images=trained.first(FEW))
    times = sorted({*scan.at(level).times[::2], best_time(scan, level)})
    reading = probe.read(level, times)
    risk = reading.risk(*HYPOTHESES[scan.type].coefficients(reading.signal, reading.noise)).mean(axis=1)
    return times[int(risk.argmin())]


def _read(levels: list[float], seen: Array, unseen: Array, said: str, limits: tuple[float, float]) -> Gap:
    """From the risks of training and held-out images, [L, n] and [L, m]."""
    warn, fail = limits
    gaps = 1.0 - (seen @ redraws(seen.shape[1]).T) / (unseen @ redraws(unseen.shape[1], key=2).T)
    gap = gaps.mean(axis=0)
    usual = unseen.mean(axis=1, keepdims=True)
    auc = _auc((seen / usual).mean(axis=0), (unseen / usual).mean(axis=0))
    rows: tuple[Row, ...] = tuple(
        {"log_snr": level, "train": float(one.mean()), "held_out": float(other.mean()), "gap": float(drawn[0])}
        for level, one, other, drawn in zip(levels, seen, unseen, gaps, strict=True)
    )
    low, high = interval(gap)
    text = (
        f"training images have {100 * gap[0]:.1f}% less risk than held-out ones (95% interval {100 * low:.1f} to "
        f"{100 * high:.1f}%, limits {100 * warn:g} and {100 * fail:g}%; AUC {auc:.2f}; {said})"
    )
    speaks = bool(gap[0] > fail and low > warn)
    return Gap({**valued("gap", gap), "auc": auc}, speaks, bool(gap[0] > warn and low > 0), text, rows)


def _auc(seen: Array, unseen: Array) -> float:
    """Probability that one of the first is smaller than one of the second."""
    ranks = np.searchsorted(np.sort(unseen), seen, side="left"), np.searchsorted(np.sort(unseen), seen, side="right")
    return float(1.0 - np.mean(ranks[0] + ranks[1]) / (2 * len(unseen)))
