"""``ema``: whether the averaged weights, which are the ones that are used, are as good as those they are made of."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from diffeval.checks.arms import interval, redraws, valued, without_network
from diffeval.checks.check import Calls, Finding, Row, Subject, check
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import BATCH, Reading, time_grid
from diffeval.diffusion.guidance import Denoiser
from diffeval.metrics.metric import Array

LEVELS = (2.0, 0.0, -2.0)
# Timesteps told at each: evenly spaced ones, and evenly spaced in the declared lambda.
TIMES = (9, 12)
# Risk over one that needs no network, from which on weights have learnt nothing.
NOTHING = 0.98


def _calls(subject: Subject) -> Calls:
    if subject.checkpoint.raw is None or subject.checkpoint.adapter is None:
        return {}
    return {BATCH: 2 * sum(TIMES) * len(LEVELS) * len(subject.probe_images) / BATCH}


@check("ema", about="averaged weights are as good as those they average", reads=("images",), calls=_calls)
def ema(subject: Subject, *, warn: float = 1.05, fail: float = 1.2) -> Finding:
    """Risk under the averaged weights over that under the raw ones, on the same images and noise.

    Values: ``ratio``, R_ema / R_raw with its 95% interval over images, geometric mean over log-SNR 2, 0 and -2, each
    set of weights at its best timestep, both read as the prediction type that suits the raw ones; ``distance``, |ema -
    raw| / |raw| over all parameters; ``travel``, how far the scales and shifts of norms are from 1 and 0, where they
    began, over how far the raw ones are (left out without norms): 0 for an average that was never updated.

    Fails above ``fail``, if the interval lies above ``warn``, and where running statistics of BatchNorm are still
    those of a new layer beside raw ones that are not.

    Args:
        subject: what is looked at.
        warn: ratio that is worth a warning.
        fail: ratio that is a failure.

    Cost: 21 forward passes for each image, level (3 levels) and set of weights.
    """
    checkpoint = subject.checkpoint
    if checkpoint.raw is None or checkpoint.adapter is None:
        return Finding("not-applicable", "the checkpoint holds one set of weights")
    raw = checkpoint.with_raw_weights()
    raw.network.to(subject.generator.device)
    count = len(subject.probe_images)
    subject.reporter.stage("ema", 2 * sum(TIMES) * len(LEVELS) * count, "forward passes")
    used, other = _read(subject, checkpoint.denoiser), _read(subject, raw.denoiser)
    values = {"distance": _distance(checkpoint.network, raw.network)}
    travel = _travel(checkpoint.network, raw.network)
    if travel is not None:
        values["travel"] = travel
    fresh = [name for name in _fresh_norms(checkpoint.network) if name not in _fresh_norms(raw.network)]
    if fresh:
        return Finding(
            "fail",
            f"{len(fresh)} BatchNorm layers of the averaged weights have the running statistics of a new layer "
            f"({fresh[0]}), the raw weights have not",
            values,
            "copy buffers into the average, too: they are not averaged with the parameters",
        )
    draws = redraws(count).T
    kind = min(
        (name for name, one in HYPOTHESES.items() if one.declared), key=lambda name: _score(other, name, draws)[0]
    )
    floor = np.mean([np.log(without_network(subject.probe(), one, draws.T)[0]) for one in other])
    if _score(other, kind, draws)[0] > np.log(NOTHING) + floor:
        return Finding("inconclusive", "the raw weights have learnt nothing that an average could keep", values)
    ratio = np.exp(_score(used, kind, draws) - _score(other, kind, draws))
    values |= valued("ratio", ratio)
    rows: tuple[Row, ...] = tuple(
        {"log_snr": one.log_snr, "ema": _least(one, kind, draws)[0], "raw": _least(two, kind, draws)[0]}
        for one, two in zip(used, other, strict=True)
    )
    return _judge(ratio, values, rows, (warn, fail))


def _judge(ratio: Array, values: dict[str, float], rows: tuple[Row, ...], limits: tuple[float, float]) -> Finding:
    """By how much worse the average is, and why, as far as the weights tell."""
    (warn, fail), (low, high) = limits, interval(ratio)
    text = f"averaged weights have {ratio[0]:.2f} times the risk of raw ones (95% interval {low:.2f} to {high:.2f}"
    if values["distance"] == 0.0:
        fix = "save the average beside the raw weights, not the raw ones twice; to check these as they are, give --raw"
        return Finding("warn", "averaged and raw weights are the same, number by number", values, fix, rows=rows)
    if ratio[0] < warn or low <= 1.0:
        return Finding("pass", f"{text}, limits {warn:g} and {fail:g})", values, rows=rows)
    failed = bool(ratio[0] >= fail and low > warn)
    travel = values.get("travel")
    if travel is not None and travel < 1e-6:
        why, fix = (
            "; their norms are where training began: the average was never updated",
            "update it after every step",
        )
    elif travel is not None and travel < 0.5:
        why = f"; their norms have gone {100 * travel:.0f}% of the way of the raw ones: the average is too slow"
        fix = "begin it with a warm-up, or with a decay whose power of the number of steps is far below 0.02"
    else:
        why = ""
        fix = "see that the average is updated after every step, in float32, from the weights that are trained"
    return Finding(
        "fail" if failed else "warn",
        f"{text}, limit {fail if failed else warn:g}){why}",
        values,
        f"{fix}; until then use the raw weights (--raw)",
        rows=rows,
    )


def _read(subject: Subject, denoiser: Denoiser) -> list[Reading]:
    probe, times = subject.probe(denoiser), time_grid(subject.checkpoint.schedule.log_snr, *TIMES)
    return [probe.read(level, times) for level in LEVELS]


def _least(reading: Reading, kind: str, draws: Array) -> Array:
    """Risk at the best timestep, by draw."""
    risk = reading.risk(*HYPOTHESES[kind].coefficients(reading.signal, reading.noise)) @ draws
    least: Array = risk[int(risk[:, 0].argmin())]
    return least


def _score(readings: list[Reading], kind: str, draws: Array) -> Array:
    """Mean over levels of the log risk, by draw."""
    found: Array = np.mean([np.log(_least(one, kind, draws)) for one in readings], axis=0)
    return found


def _distance(used: torch.nn.Module, raw: torch.nn.Module) -> float:
    """|used - raw| / |raw| over all parameters."""
    mine, theirs = (
        torch.cat([one.detach().double().flatten() for one in network.parameters()]) for network in (used, raw)
    )
    return float((mine - theirs).norm() / theirs.norm())


def _travel(used: torch.nn.Module, raw: torch.nn.Module) -> float | None:
    """Distance of norms from their first values, 1 and 0, over that of the raw ones; None without norms that moved."""
    mine, theirs = (np.sqrt(sum(_moved(network))) for network in (used, raw))
    return float(mine / theirs) if theirs > 0 else None


def _moved(network: torch.nn.Module) -> Iterator[float]:
    """Squared distances of the scales and shifts of norms from 1 and 0."""
    for module in network.modules():
        if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm, _BatchNorm)) and module.weight is not None:
            yield float((module.weight.detach().double() - 1.0).square().sum())
            if module.bias is not None:
                yield float(module.bias.detach().double().square().sum())


def _fresh_norms(network: torch.nn.Module) -> list[str]:
    """Names of BatchNorm layers whose running statistics never moved."""
    return [
        name
        for name, one in network.named_modules()
        if isinstance(one, _BatchNorm)
        and one.running_mean is not None
        and one.running_var is not None
        and not bool(one.running_mean.any())
        and bool((one.running_var == 1).all())
    ]
