"""What a network makes of the same noisy images told different classes."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from diffeval.checkpoints.adapt import Adapter
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.arms import arm, redraws
from diffeval.checks.check import Subject
from diffeval.diffusion.guidance import Denoiser
from diffeval.metrics.metric import Array

# Classes up to which every one of them is tried with every image.
FEW = 16
# How many rows of a table of classes, beyond the declared ones, may be a null class that was not declared.
SPARE = 4


@dataclass(frozen=True, slots=True)
class Told:
    """Risks of the same images and noise at one level by what class the network was told, each [n].

    Attributes:
        log_snr: lambda.
        true: its own.
        wrong: another; where classes are few, the mean over all others.
        null: the null class; None without one.
        mixed: of the mean of the predictions under all classes; None where classes are many.
        rows: each class in turn, the null class last, [K or K + 1, n]; None where classes are many.
    """

    log_snr: float
    true: Array
    wrong: Array
    null: Array | None
    mixed: Array | None
    rows: Array | None

    @property
    def deaf(self) -> bool:
        """Whether the class makes no difference at all."""
        if self.rows is None:
            return np.array_equal(self.wrong, self.true)
        classes = self.rows if self.null is None else self.rows[:-1]
        return bool((classes == classes[0]).all())


def passes(checkpoint: Checkpoint) -> int:
    """Forward passes for each image and level."""
    count = len(checkpoint.classes)
    return 2 * count + 1 if count <= FEW else 3


def tell(subject: Subject, level: float) -> Told:
    """Risks at one level, told every class there is; with many classes, the true one, another, and the null class."""
    checkpoint, labels = subject.checkpoint, subject.probe_images.labels
    assert labels is not None, "classes are told apart by labels"
    count, null = len(checkpoint.classes), checkpoint.null_class

    def under(classes: torch.Tensor) -> Array:
        return _risk(subject, level, classes)

    if count > FEW:
        away = np.random.Generator(np.random.Philox(key=2)).integers(1, count, len(labels))
        untold = None if null is None else under(torch.full_like(labels, null))
        return Told(level, under(labels), under((labels + torch.from_numpy(away)) % count), untold, None, None)
    numbers = [*range(count), *(() if null is None else (null,))]
    rows = np.array([under(torch.full_like(labels, number)) for number in numbers])
    true = rows[labels.numpy(), np.arange(len(labels))]
    wrong = (rows[:count].sum(axis=0) - true) / max(count - 1, 1)
    mixed = arm(subject.probe(_mean_of_classes(checkpoint.denoiser, count)), subject.scan, level)
    return Told(level, true, wrong, None if null is None else rows[-1], mixed, rows)


def _risk(subject: Subject, level: float, classes: torch.Tensor, denoiser: Denoiser | None = None) -> Array:
    images = dataclasses.replace(subject.probe_images, labels=classes)
    return arm(subject.probe(denoiser, images), subject.scan, level)


def _mean_of_classes(denoiser: Denoiser, count: int) -> Denoiser:
    """Predicts the mean of the predictions under all classes."""

    def predict(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        assert condition is not None, "a network with classes is told one"
        total = torch.zeros_like(x)
        for number in range(count):
            total = total + denoiser(x, t, torch.full_like(condition, number))
        return total / count

    return predict


@dataclass(frozen=True, slots=True)
class Numbering:
    """Under which class the images of each class are predicted best.

    Attributes:
        best: number of the class, or of the null class, by class; None for classes without images.
        nats: how much better they are predicted so than under their own class, and than under one class for all, by
            draw; each image under what others of its class chose.
        null: the one that is nobody's best, and costs least of what a wrong class costs; None without.
        null_u: that share.
    """

    best: tuple[int | None, ...]
    nats: Array
    null: int | None
    null_u: float


def in_nats(differences: Sequence[Array], found: Sequence[Told], size: int) -> Array:
    """Differences of risks at every level, [L][1 + DRAWS], as relative entropy.

    Half the number of elements ``size`` times the integral over lambda: the risk of the noise is that of x_0 times the
    signal-to-noise ratio, and d lambda is d SNR over SNR. Source: Verdu 2010, on mismatched estimation.
    """
    if len(differences) == 1:
        alone: Array = size / 2 * differences[0]
        return alone
    levels = np.array([one.log_snr for one in found])
    total: Array = size / 2 * np.trapezoid(np.array(differences), -levels, axis=0)
    return total


def numbering(found: Sequence[Told], labels: torch.Tensor, size: int) -> Numbering | None:
    """Looks for classes that are numbered otherwise; None where classes are too many to be tried."""
    rows = np.array([one.rows for one in found if one.rows is not None])
    if not len(rows):
        return None
    known, columns = labels.numpy(), np.arange(len(labels))
    share = (rows / rows.mean(axis=1, keepdims=True)).mean(axis=0)
    best = _best(share, known)
    others = (known[:, None] == known[None]) & ~np.eye(len(known), dtype=bool)
    chosen = (share @ others).argmin(axis=0)
    # One class under which all images do better, which a network that was hardly trained may have, is no numbering.
    one_for_all = np.full(len(known), int(share.mean(axis=1).argmin()))
    # Images that are alone of their class have nobody to choose for them, and count for nothing.
    draws = redraws(len(known)) * others.any(axis=0)
    told = np.minimum(*(draws @ rows[:, which, columns].T for which in (known, one_for_all)))
    nats = in_nats(list((told - draws @ rows[:, chosen, columns].T).T), found, size)
    least = rows[:, _renumbered(known, best), columns].mean(axis=1)
    left = [number for number in range(len(share)) if number not in best]
    costs = {number: _share_of_wrong(rows[:, number].mean(axis=1), least, rows.mean(axis=(1, 2))) for number in left}
    null = min(left, key=lambda number: costs[number], default=None)
    return Numbering(best, nats, null, np.nan if null is None else costs[null])


def _share_of_wrong(risk: Array, least: Array, wrong: Array) -> float:
    """What a condition costs of what a wrong class costs, median over levels."""
    return float(np.median((risk - least) / np.maximum(wrong - least, 1e-12)))


def _best(share: Array, labels: npt.NDArray[np.int64]) -> tuple[int | None, ...]:
    """The number of least risk, by class of the images."""
    classes = [share[:, labels == label] for label in range(len(share))]
    return tuple(int(one.mean(axis=1).argmin()) if one.size else None for one in classes)


def _renumbered(labels: npt.NDArray[np.int64], best: Sequence[int | None]) -> npt.NDArray[np.int64]:
    """The best number of every label's class; its own where that is not known."""
    chosen = [label if (number := best[label]) is None else number for label in labels.tolist()]
    return np.array(chosen, dtype=np.int64)


def undeclared_null(subject: Subject, found: Sequence[Told]) -> tuple[int, float] | None:
    """The row of the network's table of classes, beyond the declared ones, that behaves most like a null class.

    Returns:
        Its number in the table, and what it costs of what a wrong class costs; None without such rows.
    """
    checkpoint, labels = subject.checkpoint, subject.probe_images.labels
    adapter = checkpoint.adapter
    if not isinstance(adapter, Adapter) or labels is None or not found:
        return None
    declared = max(adapter.conditions) + 1
    tables = [one.num_embeddings for one in checkpoint.network.modules() if isinstance(one, torch.nn.Embedding)]
    size = min((one for one in tables if one >= declared), default=0)
    spare = [row for row in range(size) if row not in adapter.conditions]
    if not spare or size > declared + SPARE:
        return None
    denoiser = dataclasses.replace(adapter, conditions=(*adapter.conditions, *spare))(checkpoint.network)
    true, wrong = (
        np.array([one.mean() for one in ones]) for ones in ([t.true for t in found], [t.wrong for t in found])
    )
    costs = []
    for place in range(len(spare)):
        classes = torch.full_like(labels, len(adapter.conditions) + place)
        risk = np.array([_risk(subject, one.log_snr, classes, denoiser).mean() for one in found])
        costs.append(_share_of_wrong(risk, true, wrong))
    least = int(np.argmin(costs))
    return spare[least], costs[least]
