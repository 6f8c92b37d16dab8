"""Limits of the health checks, fitted anew to the planted faults, each training judged by limits that never saw it.

    python benchmarks/fault_limits.py

Reads results/fault_matrix_cases.json. For each statistic that a check judges by, a limit is put midway between the
worst healthy training and the mildest fault, in logarithms where the statistic is a ratio. It is fitted as often as
there are trainings, each time without one of them and all that was planted into it, and that one is judged by it.
The table has the shipped limit beside it, and what the two together say of the research that limits began with.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fault_matrix import CASES, interval
from record import FOLDER, save

Values = Mapping[str, float]
Cases = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Statistic:
    """What a check judges by.

    Attributes:
        check: its name.
        name: of the statistic.
        of: its value; None where it was not measured.
        limit: as shipped.
        research: as the literature, or an analytic oracle, had it; empty where it had none.
        ratio: whether distances are those of logarithms.
        low: whether small values are bad.
        faults: that must show in it; all of the check's where it is empty.
        without: healthy trainings that it says nothing of, as they are declared otherwise.
    """

    check: str
    name: str
    of: Callable[[Values], float | None]
    limit: float
    research: str
    ratio: bool = True
    low: bool = False
    faults: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def value(name: str) -> Callable[[Values], float | None]:
    """A value by its name."""
    return lambda values: values.get(name)


def _both(values: Values) -> float | None:
    """The schedule's excess and distance, each over its limit: the smaller decides, as both must be beyond."""
    if "excess" not in values:
        return None
    return min(values["excess"] / 0.05, values["rms"] / 0.5)


def _apart(values: Values) -> float | None:
    return values["apart"] / values["apart_limit"] if "apart" in values else None


def _excess(values: Values) -> float | None:
    """None of a network that is early in its training, as the check tells by itself: it is warned, not failed."""
    if "worst_excess" not in values or 0.75 <= values.get("telling_ratio", 0.0) <= 0.97:
        return None
    return values["worst_excess"]


STATISTICS = (
    Statistic("untrained", "risk over x and a constant", value("risk_ratio"), 0.98, "1, over x alone"),
    Statistic("prediction-type", "risk as declared over the best type", value("declared_ratio"), 1.2, "1.2"),
    Statistic("noise-schedule", "excess / 0.05, distance / 0.5: the smaller", _both, 1.0, "excess 0.15, distance 0.5"),
    Statistic(
        "timestep-embedding", "reliance", value("reliance"), 0.01, "0.01", ratio=False, low=True,
        without=("cnn-timeless",),
    ),
    Statistic("data-range", "risk as declared over the best other range", value("ratio"), 1.1, "1.1"),
    Statistic(
        "guidance-branch", "null class beyond the mean of classes", value("null_excess"), 0.02,
        "U 0.8 (another statistic)", ratio=False, faults=("null-untrained", "null-row-random"),
    ),
    Statistic(
        "guidance-branch", "nats by which a class is told", value("condition_nats"), 0.5, "1% of the risk", low=True,
        faults=("condition-ignored",),
    ),
    Statistic("loss-profile", "excess over the floor", _excess, 0.05, "1.1 of the floor", ratio=False),
    Statistic("ema", "risk of averaged over raw weights", value("ratio"), 1.2, "1.2"),
    Statistic("batch-norm", "risk, running over batch", value("risk_ratio"), 1.2, "1.2", faults=("hasty-batchnorm",)),
    Statistic("memorization", "gap", value("gap"), 0.25, "0.10", ratio=False),
    Statistic("step-convergence", "distance of two samplers over its limit", _apart, 1.0, "3 errors apart"),
    Statistic("receptive-field", "exact field over the image's side", value("field"), 4.0, "half the side", low=True),
)  # fmt: skip


def judged(one: Statistic, done: Cases) -> tuple[dict[str, float], dict[str, tuple[str, float]]]:
    """Worst score of every healthy training, and every planted fault's training and score; larger is worse."""
    healthy: dict[str, float] = {}
    faulty: dict[str, tuple[str, float]] = {}
    for name, case in done.items():
        found = case["found"].get(one.check)
        score = None if found is None else one.of(found["values"])
        if score is None:
            continue
        score = _scaled(one, score)
        if case["cluster"] in one.without:
            continue
        if not case["fault"]:
            healthy[case["cluster"]] = max(healthy.get(case["cluster"], -np.inf), score)
        elif case["check"] == one.check and (not one.faults or case["fault"] in one.faults):
            faulty[name] = (case["cluster"], score)
    return healthy, faulty


def _scaled(one: Statistic, score: float) -> float:
    """In the units in which limits are put midway, and so that larger is worse."""
    scaled = float(np.log(max(score, 1e-6))) if one.ratio else score
    return -scaled if one.low else scaled


def _unscaled(one: Statistic, scaled: float) -> float:
    plain = -scaled if one.low else scaled
    return float(np.exp(plain)) if one.ratio else plain


def fitted(healthy: Sequence[float], faulty: Sequence[float]) -> float:
    """Midway between the two kinds; where they overlap, where the fewest are wrong."""
    if max(healthy) < min(faulty):
        return (max(healthy) + min(faulty)) / 2
    values = np.unique([*healthy, *faulty])
    limits = (values[1:] + values[:-1]) / 2
    wrong = [np.mean(np.array(healthy) >= at) + np.mean(np.array(faulty) < at) for at in limits]
    return float(limits[int(np.argmin(wrong))])


def row(one: Statistic, done: Cases) -> Mapping[str, object] | None:
    """A line of the table; None without faults of two trainings or more."""
    healthy, faulty = judged(one, done)
    clusters = sorted({*healthy, *(cluster for cluster, _ in faulty.values())})
    if len({cluster for cluster, _ in faulty.values()}) < 2 or len(healthy) < 2:
        return None
    limits, caught, alarms = [], 0, 0
    for left_out in clusters:
        limit = fitted(
            [score for cluster, score in healthy.items() if cluster != left_out],
            [score for cluster, score in faulty.values() if cluster != left_out],
        )
        limits.append(limit)
        caught += sum(score >= limit for cluster, score in faulty.values() if cluster == left_out)
        alarms += left_out in healthy and healthy[left_out] >= limit
    shipped = _scaled(one, one.limit)
    ends = sorted(_unscaled(one, limit) for limit in (min(limits), max(limits)))
    return {
        "check": one.check, "statistic": one.name, "worst healthy": _unscaled(one, max(healthy.values())),
        "mildest fault": _unscaled(one, min(score for _, score in faulty.values())),
        "fitted limit": f"{ends[0]:.3g} .. {ends[1]:.3g}", "shipped": one.limit, "research": one.research,
        "faults": len(faulty), "caught by fitted": caught, "detection 95%": interval(caught, len(faulty)),
        "caught by shipped": sum(score >= shipped for _, score in faulty.values()),
        "healthy trainings": len(healthy), "alarms by fitted": alarms,
        "false alarm 95%": interval(alarms, len(healthy)),
        "alarms by shipped": sum(score >= shipped for score in healthy.values()),
    }  # fmt: skip


def main() -> None:
    done = json.loads(Path(CASES).read_text())
    rows = [found for one in STATISTICS if (found := row(one, done)) is not None]
    save("fault_limits", rows, ("diffeval", "torch"))
    print(f"written to {FOLDER}")


if __name__ == "__main__":
    main()
