"""``batch-norm``: normalisation by the statistics of a batch, where the network has any.

BatchNorm trains with the mean and variance of its batch and is used with running averages of them. In a denoiser a
batch mixes all noise levels, while a sampler's holds one; so averages that were made of few batches, of batches of one
noise level each, or that were not saved, or a network that is left in training mode, ruin images at a fine loss.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from diffeval.checks.check import Finding, Row, Subject, check
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import SEED, Probe
from diffeval.checks.scan import Scan
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.noise import initial_noise
from diffeval.metrics.metric import Array

BATCH = 8
# Images of each noise level in a batch of all noise levels.
OF_EACH = 8


@dataclass(frozen=True, slots=True)
class Gap:
    """Risks at the levels of a scan, [levels, n], by how the network normalises.

    Attributes:
        running: with running statistics.
        batch: with those of a batch, at the better timesteps and kind of batch.
        kind: of that batch, in words.
    """

    running: Array
    batch: Array
    kind: str


@check(
    "batch-norm",
    about="BatchNorm runs on averages, and these are those of what it normalises",
    # Images in another range have other statistics.
    symptom_of=("data-range",),
)
def batch_norm(
    subject: Subject, *, composition_fail: float = 1e-4, risk_fail: float = 1.2, share_fail: float = 1 / 3
) -> Finding:
    """Whether an image's prediction depends on its neighbours, and what the running statistics cost.

    Values: ``composition``, the relative change of a prediction when the other images of its batch are exchanged, in
    the mode in which the network was loaded; ``layers``; ``gap_mixed`` and ``gap_single``, the relative change between
    running statistics and those of a batch of all noise levels and of one; with real images ``risk_ratio``, the
    largest over levels of the risk with running statistics over that with a batch's (of the kind of batch, all levels
    or one, with the smaller risk), and ``bad_levels``, the share of levels where it lies above ``risk_fail`` with its
    95% interval above the mean of that and 1.

    Costs 176 forward passes, and 5 per level and image where there are real images, beyond the scan.

    Args:
        subject: what is looked at.
        composition_fail: relative change of a prediction that fails.
        risk_fail: risk ratio of a level that is bad.
        share_fail: share of bad levels that fails.
    """
    checkpoint = subject.checkpoint
    layers = norm_layers(checkpoint.network)
    if not layers:
        return Finding("not-applicable", "the network has no BatchNorm, nor InstanceNorm with running statistics")
    if checkpoint.adapter is None:
        return Finding(
            "inconclusive", f"the network has {len(layers)} BatchNorm layers, and no copy of it can be called"
        )
    composition = _composition(subject, checkpoint.adapter(copy.deepcopy(checkpoint.network)))
    values = {"composition": composition, "layers": float(len(layers))}
    # "not below", so that what is no number fails.
    if not composition <= composition_fail:
        return Finding(
            "fail",
            f"left in training mode or uses batch statistics: exchanging the other images of a batch changes a "
            f"prediction by {composition:.2g} of its size (at most {composition_fail:g})",
            values if np.isfinite(composition) else {"layers": values["layers"]},
            "call network.eval() before it is saved or returned, and keep track_running_stats=True",
            proven=True,
        )
    initial = [name for name, layer in layers.items() if _as_made(layer)]
    if initial:
        return Finding(
            "fail",
            f"{len(initial)} of {len(layers)} BatchNorm layers hold the running statistics that they were made with "
            f"(mean 0, variance 1), {initial[0]} the first",
            values | {"initial_layers": float(len(initial))},
            "save the buffers with the weights: an average of parameters alone leaves running_mean and running_var "
            "behind (average or copy the buffers, too)",
            proven=True,
        )
    running, batch = (checkpoint.adapter(_in_mode(checkpoint.network, training=mode)) for mode in (False, True))
    values |= _gaps(subject, running, batch)
    if subject.source is None:
        text = f"{len(layers)} BatchNorm layers use running statistics; give --ref to see whether they are right"
        return Finding("inconclusive", text, values)
    return _judge(subject.scan, _risks(subject, running, batch), values, risk_fail, share_fail)


def norm_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Layers that normalise by the statistics of a batch, or keep averages of them, by name."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, _BatchNorm) or (isinstance(layer, _NormBase) and layer.track_running_stats)
    }


def _as_made(layer: nn.Module) -> bool:
    """Whether the running statistics are those of a layer that has not seen a batch."""
    mean, variance = getattr(layer, "running_mean", None), getattr(layer, "running_var", None)
    if mean is None or variance is None:
        return False
    return not bool(mean.any()) and bool((variance == 1).all())


def _in_mode(network: nn.Module, *, training: bool) -> nn.Module:
    """A copy in eval mode, whose normalisation alone is in the given mode."""
    copied = copy.deepcopy(network).eval()
    for layer in norm_layers(copied).values():
        layer.train(training)
    return copied


def _composition(subject: Subject, denoiser: Denoiser) -> float:
    """Largest relative change of the first image's prediction when the other seven are others."""
    checkpoint, device = subject.checkpoint, subject.generator.device
    probe = Probe(denoiser, torch.zeros(0), None, device)
    x = initial_noise(SEED, range(2 * BATCH), checkpoint.shape)
    first, other = x[:BATCH], torch.cat([x[:1], x[BATCH : 2 * BATCH - 1]])
    condition = torch.zeros(BATCH, dtype=torch.int64) if checkpoint.classes else None
    found = []
    for t in np.linspace(0, checkpoint.schedule.timesteps - 1, 3).astype(int):
        told = torch.full((BATCH,), int(t))
        one, two = (probe.output(batch, told, condition)[0] for batch in (first, other))
        found.append(float((one - two).norm() / one.norm().clamp_min(1e-12)))
    return max(found, key=lambda change: np.inf if np.isnan(change) else change)


def _gaps(subject: Subject, running: Denoiser, batch: Denoiser) -> dict[str, float]:
    """Relative difference of the two modes on noise, told all timesteps at once and a single one."""
    checkpoint = subject.checkpoint
    x = initial_noise(SEED, range(4 * BATCH), checkpoint.shape)
    condition = torch.arange(len(x)) % len(checkpoint.classes) if checkpoint.classes else None
    last = checkpoint.schedule.timesteps - 1
    mixed = torch.linspace(0, last, len(x)).long()
    probes = [Probe(one, torch.zeros(0), None, subject.generator.device) for one in (running, batch)]
    found = {}
    for name, told in (("gap_mixed", mixed), ("gap_single", torch.full((len(x),), last // 2))):
        one, two = (probe.output(x, told, condition) for probe in probes)
        found[name] = float((one - two).norm() / one.norm().clamp_min(1e-12))
    return found


def _risks(subject: Subject, running: Denoiser, batch: Denoiser) -> Gap:
    """Risks at every level, for the type that the weights behave like.

    Running statistics have the timestep that is best with them. Those of a batch have that one or the declared one:
    wrong statistics may make another timestep the best, at which nothing can be said of the network without them.
    """
    scan = subject.scan
    best = [reading.times[int(scan.risk(reading, scan.type)[:, 0].argmin())] for reading in scan.readings]
    declared = [float(scan.declared_time(level)) for level in scan.levels]
    averaged, trained = (subject.probe(denoiser=one) for one in (running, batch))
    rows = range(len(best))
    one_level = [[(row, index) for index in range(scan.n)] for row in rows]
    all_levels = [
        [(row, index) for row in rows for index in range(start, min(start + OF_EACH, scan.n))]
        for start in range(0, scan.n, OF_EACH)
    ]
    kinds = {"all noise levels": all_levels, "one noise level": one_level}
    found = dict[str, Array]()
    for name, batches in kinds.items():
        candidates = [_risk(scan, trained, times, batches) for times in (best, declared)]
        found[name] = min(candidates, key=_overall)
    kind = min(found, key=lambda name: _overall(found[name]))
    return Gap(_risk(scan, averaged, best, one_level), found[kind], kind)


def _overall(risks: Array) -> float:
    """Mean log of the mean risks of levels."""
    return float(np.log(risks.mean(axis=1)).mean())


def _risk(scan: Scan, probe: Probe, times: Sequence[float], batches: Sequence[Sequence[tuple[int, int]]]) -> Array:
    """Risk of the noise prediction, [levels, n], with the network called on these batches of (level, image)."""
    noise = initial_noise(SEED, range(scan.n), tuple(probe.x0.shape[1:]))
    noised = [probe.noised(level, noise) for level in scan.levels]
    risks = np.empty((len(times), scan.n))
    for batch in batches:
        rows, images = (torch.tensor(one) for one in zip(*batch, strict=True))
        x = torch.stack([noised[row][index] for row, index in batch])
        condition = None if probe.condition is None else probe.condition[images]
        output = probe.output(x, as_told([times[row] for row, _ in batch]), condition)
        factors = [
            HYPOTHESES[scan.type].coefficients(scan.readings[row].signal, scan.readings[row].noise) for row, _ in batch
        ]
        p, q = (torch.tensor(one).view(-1, 1, 1, 1) for one in zip(*factors, strict=True))
        errors = (p * output.double() + q * x.double() - noise[images].double()).square().flatten(1).mean(dim=1)
        risks[rows.numpy(), images.numpy()] = errors.numpy()
    return risks


def as_told(times: Sequence[float]) -> torch.Tensor:
    """Timesteps as a network takes them: int64 where all are whole, which tables of embeddings need."""
    whole = all(float(t).is_integer() for t in times)
    return torch.tensor(list(times), dtype=torch.int64 if whole else torch.float32)


def _judge(scan: Scan, gap: Gap, values: dict[str, float], risk_fail: float, share_fail: float) -> Finding:
    ratios = (gap.running @ scan.draws.T) / (gap.batch @ scan.draws.T)
    low = np.quantile(ratios[:, 1:], 0.025, axis=1)
    bad = (ratios[:, 0] > risk_fail) & (low > (1 + risk_fail) / 2)
    worst = int(ratios[:, 0].argmax())
    values = values | {"risk_ratio": float(ratios[worst, 0]), "bad_levels": float(bad.mean())}
    rows: tuple[Row, ...] = tuple(
        {"log_snr": level, "running": float(one), "batch": float(two)}
        for level, one, two in zip(scan.levels, gap.running.mean(axis=1), gap.batch.mean(axis=1), strict=True)
    )
    said = (
        f"with running statistics the risk is {ratios[worst, 0]:.2f} times that with those of a batch of "
        f"{gap.kind} at log-SNR {scan.levels[worst]:g}"
    )
    limit = f"{bad.sum()} of {len(bad)} levels lie above {risk_fail:g}"
    if bad.sum() >= share_fail * len(bad):
        return Finding(
            "fail",
            f"{said}, and {limit}: the running statistics are not those of what the network normalises",
            values,
            "make the running statistics anew, from a pass over training batches of mixed timesteps with "
            "momentum=None, or use GroupNorm",
            rows=rows,
        )
    layers = f"{values['layers']:.0f} BatchNorm layers run on averages that suit them: "
    return Finding("pass", f"{layers}{said} at most, and {limit}", values, rows=rows)
