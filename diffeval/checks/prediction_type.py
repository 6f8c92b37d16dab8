"""``prediction-type``: whether the network predicts what is declared."""

import inspect

import diffusers
import numpy as np

from diffeval.checks.check import Finding, Row, Subject, check
from diffeval.checks.hypotheses import HYPOTHESES
from diffeval.checks.scan import TYPE_LEVELS, Scan


def lint(subject: Subject) -> Finding | None:
    """What the scheduler that images are sampled with takes the output for."""
    sampled_by, declared = subject.sampled_by, subject.checkpoint.prediction
    if sampled_by is None:
        return None
    usual = inspect.signature(getattr(diffusers, sampled_by.name)).parameters.get("prediction_type")
    told = sampled_by.config.get("prediction_type", None if usual is None else usual.default)
    if told in (None, declared):
        return None
    return Finding(
        "fail",
        f"{sampled_by.file.name} has {sampled_by.name} take the output for {told}, the network is declared to predict "
        f"{declared}",
        fix=f"set prediction_type={declared!r} in the sampler's configuration",
        proven=True,
    )


@check(
    "prediction-type",
    about="the weights predict what is declared: epsilon, sample or v",
    reads=("scan", "scheduler"),
    lint=lint,
)
def prediction_type(subject: Subject, *, margin: float = 1.2, sure: float = 0.95) -> Finding:
    """Compares the noise that the output stands for under each prediction type, the timestep profiled out.

    Values: ``margin``, risk of the second-best type over the best's (geometric mean over log-SNR -1 to 2);
    ``declared_ratio``, risk of the declared type over the best's; ``share``, of redraws of the images in which the
    best type is the best. A wrong noise schedule does not disturb it, for every type chooses its own timesteps.

    Args:
        subject: what is looked at.
        margin: by which types are told apart.
        sure: share of redraws that a failure needs.

    Cost: none beyond the scan. Source: the best noise prediction is a conditional mean, of which every type is a fixed
    affine function of (output, x); conversions as in Salimans and Ho 2022, appendix D.
    """
    said = lint(subject)
    if said is not None:
        return said
    scan = subject.scan
    best, second = scan.types[:2]
    scores = scan.log_risk_of_types
    wins = np.argmin([scores[name] for name in scan.types], axis=0) == 0
    declared = HYPOTHESES[scan.declared]
    values = {
        "margin": float(np.exp(scores[second][0] - scores[best][0])),
        "declared_ratio": float(np.exp(scores[declared.name][0] - scores[best][0])),
        "share": float(wins[1:].mean()),
    }
    rows = _rows(scan)
    if values["margin"] < margin or values["share"] < sure:
        return Finding(
            "inconclusive",
            f"{best} and {second} explain the output about as well: margin {values['margin']:.2f}, {margin:g} is "
            f"needed",
            values,
            rows=rows,
        )
    if best == declared.name:
        return Finding(
            "pass",
            f"the weights predict {best}, as declared: margin {values['margin']:.1f} over {second}",
            values,
            rows=rows,
        )
    found = HYPOTHESES[best]
    fix = (
        f"declare prediction_type={found.declared!r} (--prediction {found.declared})"
        if found.declared
        else found.remedy
    )
    return Finding(
        "fail",
        f"the weights predict {best}, {declared.name} is declared: read so, the error of noise is "
        f"{values['declared_ratio']:.1f} times as large (margin {values['margin']:.1f} over {second}, {margin:g} is "
        f"enough)",
        values,
        fix,
        rows=rows,
    )


def _rows(scan: Scan) -> tuple[Row, ...]:
    """Smallest risk over timesteps by level and declarable type."""
    names = [name for name, one in HYPOTHESES.items() if one.declared]
    return tuple(
        {"log_snr": one.log_snr, **{name: float(scan.risk(one, name)[:, 0].min()) for name in names}}
        for one in scan.readings
        if one.log_snr in TYPE_LEVELS
    )
