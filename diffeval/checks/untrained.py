"""``untrained``: whether the network has learnt anything at all; everything else stands on that.

Held against what needs no network: the noise as a multiple of x and a constant for each channel.
"""

import numpy as np
import torch

from diffeval.checks.arms import without_network
from diffeval.checks.check import Finding, Row, Subject, check
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.probe import Reading
from diffeval.checks.scan import Scan
from diffeval.metrics.metric import Array

# Levels that are judged: with less noise or more, a network that knows nothing is hardly worse than one that does.
JUDGED = (3.0, 2.0, 1.0, 0.0, -1.0, -2.0)


@check(
    "untrained",
    about="the network predicts better than x and a constant do; others stand on that",
    reads=("scan",),
    symptom_of=("data-range", "ema"),
)
def untrained(subject: Subject, *, fail: float = 0.98) -> Finding:
    """Risk of the best reading of the output, at the best timestep, against the best q x + c.

    A network whose output no prediction type and no timestep makes better than that has random or foreign weights.

    Values: ``risk_ratio``, the smallest over levels of risk over that of q x + c; ``zero_layers``, weights that are
    all zero, as those of layers that start at zero and were never trained are.

    Args:
        subject: what is looked at.
        fail: risk ratio at which nothing has been learnt, at every level.

    Cost: none beyond the scan.
    """
    scan = subject.scan
    readings = [reading for reading in scan.readings if reading.log_snr in JUDGED]
    broken = [reading.log_snr for reading in scan.readings if not np.isfinite(reading.ff).all()]
    if broken:
        where = ", ".join(f"{level:g}" for level in broken)
        return Finding(
            "fail",
            f"the network's output is NaN or infinite at log-SNR {where}",
            fix="look for damaged or overflowing weights; in half precision, train or load in float32",
        )
    probe = subject.probe()
    floors = {reading.log_snr: without_network(probe, reading, scan.draws) for reading in readings}
    ratios = {reading.log_snr: _best(scan, reading) / floors[reading.log_snr] for reading in readings}
    least = min(ratios, key=lambda level: float(ratios[level][0]))
    ratio, low = float(ratios[least][0]), float(np.quantile(ratios[least][1:], 0.025))
    zeros = _zero_weights(subject.checkpoint.network)
    values = {"risk_ratio": ratio, "risk_ratio_low": low, "zero_layers": float(len(zeros))}
    rows: tuple[Row, ...] = tuple({"log_snr": level, "risk_ratio": float(one[0])} for level, one in ratios.items())
    if ratio >= fail:
        return Finding(
            "fail",
            f"no reading of the output beats x and a constant: {ratio:.3f} of their risk at best (log-SNR {least:g}, "
            f"limit {fail:g})",
            values,
            "these are random weights, weights of another network, or wrongly matched ones: look at how they are "
            "loaded, and at --key and --model",
            rows=rows,
        )
    if zeros:
        named = ", ".join(zeros[:3]) + (f" and {len(zeros) - 3} more" if len(zeros) > 3 else "")
        return Finding(
            "warn",
            f"{len(zeros)} layers are all zero ({named}); the rest predicts at {ratio:.2g} of the risk of x and a "
            f"constant",
            values,
            "layers that start at zero and stayed there were not trained, or not saved",
            rows=rows,
        )
    return Finding(
        "pass",
        f"the risk is {ratio:.2g} of that of x and a constant (log-SNR {least:g}, limit {fail:g})",
        values,
        rows=rows,
    )


def _best(scan: Scan, reading: Reading) -> Array:
    """Smallest risk over types and timesteps, by draw."""
    best: Array = np.min([scan.risk(reading, name).min(axis=0) for name in HYPOTHESES], axis=0)
    return best


def _zero_weights(network: torch.nn.Module) -> list[str]:
    """Names of weight matrices without an entry that is not zero."""
    return [
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and parameter.numel() and not bool(parameter.any())
    ]
