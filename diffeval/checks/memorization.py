"""``memorization``: whether the network removes noise better from its training images than from others like them."""

import numpy as np

from diffeval.checks.arms import arm, best_time, interval, redraws, valued
from diffeval.checks.check import EXPECTED_TIMES, Finding, Row, Subject, check
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.real_images import ModelImages
from diffeval.metrics.metric import Array

LEVELS = (4.0, 2.0, 0.0, -2.0)
# Fewer images than this tell nothing of a mean.
LEAST = 32
# Training images by which timesteps are chosen.
FEW = 64


@check("memorization", about="training images are not predicted better than held-out ones", reads=("images", "scan"))
def memorization(subject: Subject, *, warn: float = 0.1, fail: float = 0.25, images: int = 512) -> Finding:
    """The gap between the risks of held-out and training images, at the timestep that suits training images best.

    Values, with 95% intervals over images: ``gap``, 1 - R_train / R_heldout, mean over log-SNR 4, 2, 0 and -2; 0 for a
    network that treats both alike, 1 for one that knows every training image; ``auc``, the probability that a
    training image has the smaller risk of the two (mean over levels of its risk over that of held-out images), 0.5
    for a network that treats both alike.

    Fails above ``fail``, if the interval lies above ``warn``. A gap says that the network has learnt what is peculiar
    to its training images; whether it draws them again is seen from samples. Some gap is usual on few images.

    Args:
        subject: what is looked at; its images must be those that the network was trained on.
        warn: gap that is worth a warning.
        fail: gap that is a failure. Fitted to short trainings: on 1,297 images gaps were 0.15 and less, on 100 of them
            0.53.
        images: of each kind, at most.

    Cost: about 20 forward passes for each of 64 images and each level (4 levels), and one for each of 1,024 images.
    """
    trained, held_out = subject.images, subject.held_out
    assert trained is not None, "it reads images"
    if held_out is None:
        return Finding(
            "not-applicable",
            f"needs images that the network was not trained on, and {trained.spec} has none; put images into folders "
            f"train and heldout and give --ref folder:DIR@train",
        )
    trained, held_out = trained.first(images), held_out.first(images)
    if min(len(trained), len(held_out)) < LEAST:
        return Finding(
            "inconclusive",
            f"{len(trained)} training and {len(held_out)} held-out images are too few; {LEAST} of each are needed",
        )
    levels = [level for level in LEVELS if subject.scan.covered(level)] or list(LEVELS)
    passes = len(trained) + len(held_out) + FEW * EXPECTED_TIMES // 2
    subject.reporter.stage("memorization", len(levels) * passes, "forward passes")
    times = [_time(subject, trained, level) for level in levels]
    seen, unseen = (
        np.array([arm(subject.probe(images=ones), subject.scan, *at) for at in zip(levels, times, strict=True)])
        for ones in (trained, held_out)
    )
    return _judge(levels, seen, unseen, f"{trained.spec} and {held_out.spec}", (warn, fail))


def _time(subject: Subject, trained: ModelImages, level: float) -> float:
    """The best timestep for training images: to a network that knows them, others look noisier than they are."""
    scan, probe = subject.scan, subject.probe(images=trained.first(FEW))
    times = sorted({*scan.at(level).times[::2], best_time(scan, level)})
    reading = probe.read(level, times)
    risk = reading.risk(*HYPOTHESES[scan.type].coefficients(reading.signal, reading.noise)).mean(axis=1)
    return times[int(risk.argmin())]


def _judge(levels: list[float], seen: Array, unseen: Array, said: str, limits: tuple[float, float]) -> Finding:
    """From the risks of training and held-out images, [L, n] and [L, m]."""
    warn, fail = limits
    gaps = 1.0 - (seen @ redraws(seen.shape[1]).T) / (unseen @ redraws(unseen.shape[1], key=2).T)
    gap = gaps.mean(axis=0)
    usual = unseen.mean(axis=1, keepdims=True)
    auc = _auc((seen / usual).mean(axis=0), (unseen / usual).mean(axis=0))
    values = {**valued("gap", gap), "auc": auc}
    rows: tuple[Row, ...] = tuple(
        {"log_snr": level, "train": float(one.mean()), "held_out": float(other.mean()), "gap": float(drawn[0])}
        for level, one, other, drawn in zip(levels, seen, unseen, gaps, strict=True)
    )
    low, high = interval(gap)
    text = (
        f"training images have {100 * gap[0]:.1f}% less risk than held-out ones (95% interval {100 * low:.1f} to "
        f"{100 * high:.1f}%, limits {100 * warn:g} and {100 * fail:g}%; AUC {auc:.2f}; {said})"
    )
    fix = "train on more images, for fewer steps, or a smaller network; see that held-out images are of the same kind"
    if gap[0] > fail and low > warn:
        return Finding("fail", f"the network knows its training images: {text}", values, fix, rows=rows)
    if gap[0] > warn and low > 0:
        return Finding("warn", text, values, fix, rows=rows)
    return Finding("pass", text, values, rows=rows)


def _auc(seen: Array, unseen: Array) -> float:
    """Probability that one of the first is smaller than one of the second."""
    ranks = np.searchsorted(np.sort(unseen), seen, side="left"), np.searchsorted(np.sort(unseen), seen, side="right")
    return float(1.0 - np.mean(ranks[0] + ranks[1]) / (2 * len(unseen)))
