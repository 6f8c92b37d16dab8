"""``noise-schedule``: whether the network is told the timesteps it was trained with, along its own schedule."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diffeval.checks.check import Finding, Row, Subject, check
from diffeval.checks.implied import Fit, Implied, candidates, fits, implied
from diffeval.checks.pipeline import pipeline_faults
from diffeval.checks.sampling_scheduler import sampling_faults
from diffeval.checks.scan import Scan

# Levels at which a schedule is judged. With less noise images are hardly disturbed, with more hardly visible; clean
# images are what sample and v predictions are worst at, relative to their noise, in more noise.
JUDGED = (3.0, 2.0, 1.0, 0.0, -1.0, -2.0)
OF_CLEAN = (3.0, 2.0, 1.0, 0.0)
LEAST_LEVELS = 3
# Points of the declared curve that are drawn, and how far it reaches.
POINTS, DRAWN = 64, 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Excess risk and distance of the schedules in nats, at which to warn and to fail."""

    excess: tuple[float, float]
    rms: tuple[float, float]
    reliance: float
    alike: float


def lint(subject: Subject) -> Finding | None:
    """The samplers, without the network: the one that images are drawn with here, and the one of the checkpoint."""
    generator = subject.generator
    faults = list(pipeline_faults(generator))
    if subject.sampled_by is not None:
        faults += sampling_faults(subject.sampled_by, generator.schedule, generator.prediction, generator.steps)
    worst = next((one for one in faults if one.status == "fail"), None) or next(iter(faults), None)
    if worst is None:
        return None
    told = [one for one in faults if one.status == worst.status]
    values = {name: value for one in told for name, value in one.values.items()}
    fix = "; ".join(dict.fromkeys(one.fix for one in told))
    return Finding(worst.status, "; ".join(one.summary for one in told), values, fix, proven=worst.status == "fail")


@check(
    "noise-schedule",
    about="the timesteps that the network is told are those it was trained with, and the sampler keeps to them",
    reads=("scan", "scheduler"),
    symptom_of=("data-range", "batch-norm", "memorization"),
    lint=lint,
)
def noise_schedule(
    subject: Subject,
    *,
    excess_warn: float = 0.02,
    excess_fail: float = 0.05,
    rms_warn: float = 0.3,
    rms_fail: float = 0.5,
    reliance: float = 0.05,
    alike: float = 0.3,
) -> Finding:
    """Holds the samplers against the declared schedule, then reads the schedule from the weights, and names it.

    The sampler of this run is walked without the network (see ``pipeline``), and so is the scheduler that lies beside
    the weights or is named by the user, whose noise schedule is built and compared as a curve (see
    ``sampling_scheduler``). Then the network:

    At each noise level the network's best timestep is where its own schedule has that level. Values: ``excess``, by
    how much telling it the declared timestep raises the risk (median over levels), with its 95% interval; ``rms``, how
    far apart the levels are (root mean square, nats); ``reliance``, by how much a wrong timestep raises the risk at
    all, the least over levels. Fails where both are beyond their limit: imperfect networks that predict x_0 or v place
    their best timestep loosely, where it costs nothing.

    Args:
        subject: what is looked at.
        excess_warn: excess risk at which to warn.
        excess_fail: excess risk at which to fail.
        rms_warn: distance at which to warn, in nats.
        rms_fail: distance at which to fail, in nats.
        reliance: below it, the network does not heed t, and nothing can be read.
        alike: distance up to which a named schedule is said to be the one.

    Cost: none beyond the scan.
    """
    limits = Limits((excess_warn, excess_fail), (rms_warn, rms_fail), reliance, alike)
    scan = subject.scan
    said = lint(subject)
    if said is not None and said.status == "fail":
        return said
    whole = implied(scan)
    found = whole.part(JUDGED if scan.type == "epsilon" else OF_CLEAN)
    if len(found.levels) < LEAST_LEVELS:
        return Finding(
            "inconclusive",
            f"the declared schedule covers {len(found.levels)} of the judged noise levels, {LEAST_LEVELS} are needed",
        )
    ranked = fits(found, candidates(scan.schedule))
    declared = next(one for one in ranked if one.curve.like == "declared")
    low, high = np.quantile(np.median(found.excess[:, 1:], axis=0), [0.025, 0.975])
    values = {
        "excess": float(np.median(found.excess[:, 0])),
        "excess_low": float(low),
        "excess_high": float(high),
        "rms": declared.rms,
        "reliance": float(found.reliance.min()),
        "best_rms": ranked[0].rms,
    }
    finding = _judge(found, declared, ranked, values, limits)
    if finding.status in ("fail", "warn"):
        finding = replace(finding, ruled_out=_ruled_out(scan, values))
    if said is not None:
        both = (finding, said) if finding.status == "fail" else (said, finding)
        finding = replace(
            finding,
            status="fail" if finding.status == "fail" else "warn",
            summary="; ".join(one.summary for one in both),
            fix="; ".join(one.fix for one in both if one.fix),
        )
    return replace(
        finding, values=values, rows=_rows(whole, scan), tables={"risk": _map(scan), "declared": _curve(scan)}
    )


def _judge(found: Implied, declared: Fit, ranked: Sequence[Fit], values: dict[str, float], limits: Limits) -> Finding:
    if values["reliance"] < limits.reliance:
        return Finding(
            "inconclusive",
            f"the network hardly heeds the timestep (a wrong one raises its risk by {values['reliance']:.1%}, "
            f"{limits.reliance:.0%} is needed): its schedule cannot be read",
        )
    excess, rms = values["excess"], values["rms"]
    costs = f"{excess:.1%} more risk (95% interval {values['excess_low']:.1%} .. {values['excess_high']:.1%})"
    bad = [
        excess >= cost and rms >= apart and values["excess_low"] >= cost / 3
        for cost, apart in zip(limits.excess, limits.rms, strict=True)
    ]
    nearest = ranked[0]
    if not bad[0] and rms >= limits.rms[0] and nearest.rms <= min(limits.alike, rms / 2):
        return Finding(
            "inconclusive",
            f"the weights are nearer to {nearest.curve.name} ({nearest.rms:.2f} nats off) than to the declared "
            f"schedule ({rms:.2f}), but telling its timesteps costs no more than {costs}: they cannot be told apart",
        )
    if not bad[0]:
        return Finding(
            "pass",
            f"the weights follow the declared schedule: {rms:.2f} nats apart (limit {limits.rms[0]:g}), telling the "
            f"declared timesteps costs {costs}, limit {limits.excess[0]:.0%}",
        )
    named = ranked[0] if ranked[0].rms <= limits.alike else None
    status = "fail" if bad[1] else "warn"
    begun = _likeness(named, found, limits)
    return Finding(
        status,  # type: ignore[arg-type]
        f"{begun}; the declared schedule is {rms:.2f} nats off (limit {limits.rms[bad[1]]:g}), and telling the "
        f"network its timesteps costs {costs}, limit {limits.excess[bad[1]]:.0%}",
        fix=_fix(named, found),
    )


def _likeness(named: Fit | None, found: Implied, limits: Limits) -> str:
    if _stuck(found):
        return f"the network is best at timestep {found.times[0, 0]:g} at almost every noise level"
    if named is None:
        return f"the weights follow none of the known schedules within {limits.alike:g} nats"
    return f"the weights behave like {named.curve.name} ({named.rms:.2f} nats off)"


def _stuck(found: Implied) -> bool:
    return sum(found.edge) > len(found.edge) / 2 and float(np.ptp(found.times[:, 0])) <= 2.0


def _fix(named: Fit | None, found: Implied) -> str:
    if _stuck(found):
        return "the network takes time on another scale: try --time t/T, log-snr or sigma"
    if named is None:
        return "declare the schedule it was trained with (--schedule takes an array of alpha-bar, too)"
    if named.curve.like:
        return f"declare it: {named.curve.like}"
    return f"{named.curve.mistake}: declare --time t/T, step, or a function of t that undoes it"


def _ruled_out(scan: Scan, values: dict[str, float]) -> tuple[str, ...]:
    scores = scan.log_risk_of_types
    margin = float(np.exp(scores[scan.types[1]][0] - scores[scan.type][0]))
    said = [f"timestep embedding (a wrong timestep raises the risk by {values['reliance']:.0%})"]
    if scan.type == scan.declared:
        said.insert(0, f"prediction type ({scan.type}, margin {margin:.1f})")
    return tuple(said)


def _rows(found: Implied, scan: Scan) -> tuple[Row, ...]:
    curve = np.asarray(scan.schedule.log_snr)
    return tuple(
        {
            "log_snr": level,
            "best_timestep": float(found.times[row, 0]),
            "declared_timestep": scan.declared_time(level),
            "declared_log_snr_there": float(np.interp(found.times[row, 0], np.arange(len(curve)), curve)),
            "excess": float(found.excess[row, 0]),
            "reliance": float(found.reliance[row]),
        }
        for row, level in enumerate(found.levels)
    )


def _curve(scan: Scan) -> tuple[Row, ...]:
    """The declared schedule, at some of its timesteps."""
    curve = np.clip(np.asarray(scan.schedule.log_snr), -DRAWN, DRAWN)
    times = np.unique(np.linspace(0, len(curve) - 1, POINTS).round().astype(int))
    return tuple({"timestep": int(t), "log_snr": float(curve[t])} for t in times)


def _map(scan: Scan) -> tuple[Row, ...]:
    """Risk over levels and timesteps, over the least at each level."""
    rows: list[Row] = []
    for reading in scan.readings:
        risk = scan.risk(reading, scan.type)[:, 0]
        rows += [
            {"log_snr": reading.log_snr, "timestep": time, "risk": float(one), "over_least": float(one / risk.min())}
            for time, one in zip(reading.times, risk, strict=True)
        ]
    return tuple(rows)
