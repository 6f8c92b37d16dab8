"""Tables and the figure of the study ``fid_estimators.py``, from its finished cells."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import FOLDER, save
from scipy.stats import t as student

Array = np.ndarray
# Estimators by the name of their column, as the tables call them.
ESTIMATORS = {
    "ours": "fid_debiased",
    "plain": "plain",
    "infinity": "FID-infinity",
    "spectral": "spectral",
    "half-sample": "half-sample",
    "ours first order": "leave-one-out, first order",
    "groups 5": "5 groups",
    "groups 10": "10 groups",
    "groups 20": "20 groups",
    "groups 5 twice": "5 groups, second order",
    "groups 10 twice": "10 groups, second order",
    "groups 20 twice": "20 groups, second order",
}
CELL = ("d", "side", "law", "strength", "multiple")


@dataclass(frozen=True)
class Found:
    """A finished cell."""

    cell: dict[str, object]
    truth: float
    seconds: dict[str, float]
    columns: dict[str, Array]

    def errors(self, name: str) -> Array | None:
        column = "ours plain" if name == "plain" else name
        return self.columns[column] - self.truth if column in self.columns else None


Interval = Callable[[dict[str, Array]], tuple[Array, Array]]


def _quantile(degrees: Array | float) -> Array:
    quantile: Array = student.ppf(0.975, degrees)
    return quantile


# Half-widths of 95% intervals: the value they are around, and their half-width.
INTERVALS: dict[str, tuple[str, Interval]] = {
    "fid_debiased": ("ours", lambda c: (c["ours"], c["ours half"])),
    "all of the pairs' correction": ("ours", lambda c: (c["ours"], _quantile(c["ours degrees"]) * c["ours error"])),
    "none of it": (
        "ours",
        lambda c: (c["ours"], _quantile(c["ours degrees"]) * np.sqrt(c["ours variance"])),
    ),
    "influence terms": ("influence", lambda c: (c["ours"], 1.96 * c["influence"])),
    "cross-fitted influence terms": ("crossfit", lambda c: (c["ours"], 1.96 * c["crossfit"])),
    "10 groups": ("groups 10 error", lambda c: (c["groups 10"], _quantile(9) * c["groups 10 error"])),
    "nested, 10 groups": (
        "groups 10 twice error",
        lambda c: (c["groups 10"][: len(c["groups 10 twice"])], _quantile(9) * c["groups 10 twice error"]),
    ),
}


def read(folder: Path) -> list[Found]:
    documents = [json.loads(gzip.decompress(path.read_bytes())) for path in sorted(folder.glob("*.json.gz"))]
    return [
        Found(
            {key: document[key] for key in CELL},
            document["truth"],
            document["seconds"],
            {name: np.array(values) for name, values in document["columns"].items()},
        )
        for document in documents
    ]


def coverage(found: Found, name: str) -> float | None:
    needs, interval = INTERVALS[name]
    if needs not in found.columns:
        return None
    value, half = interval(found.columns)
    return float((np.abs(value - found.truth) <= half).mean())


def cell_rows(all_found: Sequence[Found]) -> Iterator[dict[str, object]]:
    """One row per cell: the truth, what each estimator reads on average, and the interval's coverage."""
    for found in sorted(all_found, key=lambda one: tuple(str(one.cell[key]).rjust(9) for key in CELL)):
        row: dict[str, object] = {**found.cell, "repeats": len(found.columns["ours"]), "truth": found.truth}
        for name, label in ESTIMATORS.items():
            errors = found.errors(name)
            if errors is not None and name in ("plain", "infinity", "groups 10", "ours first order", "ours"):
                row[f"{label}: bias"] = float(errors.mean())
                row[f"{label}: RMSE"] = float(np.sqrt((errors**2).mean()))
        row["std error / spread"] = float(
            np.sqrt((found.columns["ours error"] ** 2).mean()) / found.columns["ours"].std(ddof=1)
        )
        for name in ("fid_debiased", "10 groups"):
            covered = coverage(found, name)
            if covered is not None and found.cell["d"] != 2048:
                row[f"{name}: coverage"] = covered
        yield row


def estimator_rows(all_found: Sequence[Found]) -> Iterator[dict[str, object]]:
    """One row per estimator and n / d, over all laws and distances held one-sided: bias left, RMSE, seconds."""
    for d in sorted({found.cell["d"] for found in all_found}):  # type: ignore[type-var]
        for multiple in sorted({found.cell["multiple"] for found in all_found}):  # type: ignore[type-var]
            group = [
                found
                for found in all_found
                if found.cell["d"] == d and found.cell["multiple"] == multiple and found.cell["side"] == "one"
            ]
            for name, label in ESTIMATORS.items():
                left, ratio, seconds = [], [], []
                for found in group:
                    errors, plain = found.errors(name), found.errors("plain")
                    if errors is None or plain is None:
                        continue
                    plain = plain[: len(errors)]
                    left.append(abs(errors.mean()) / abs(plain.mean()))
                    ratio.append(float(np.sqrt((errors**2).mean() / (plain**2).mean())))
                    if name in found.seconds:
                        seconds.append(found.seconds[name])
                if left:
                    yield {
                        "d": d,
                        "n / d": multiple,
                        "estimator": label,
                        "cells": len(left),
                        "bias left, median": float(np.median(left)),
                        "worst": float(np.max(left)),
                        "RMSE / plain's, median": float(np.median(ratio)),
                        "worst ": float(np.max(ratio)),
                        "seconds": float(np.median(seconds)) if seconds else None,
                    }


def interval_rows(all_found: Sequence[Found]) -> Iterator[dict[str, object]]:
    """One row per kind of interval, side and n / d: how often it covers, over laws and distances."""
    small = [found for found in all_found if found.cell["d"] != 2048]
    for side in ("one", "two"):
        for name in INTERVALS:
            for multiple in sorted({found.cell["multiple"] for found in small}):  # type: ignore[type-var]
                covered = [
                    covered
                    for found in small
                    if found.cell["multiple"] == multiple and found.cell["side"] == side
                    for covered in [coverage(found, name)]
                    if covered is not None
                ]
                if covered:
                    yield {
                        "sides": side,
                        "interval": name,
                        "n / d": multiple,
                        "cells": len(covered),
                        "least": min(covered),
                        "median": float(np.median(covered)),
                        "most": max(covered),
                        "below 93%": sum(one < 0.93 for one in covered),
                        "above 97%": sum(one > 0.97 for one in covered),
                    }


def draw(all_found: Sequence[Found], law: str, strength: str, d: int) -> None:
    """Left: what each reads against n. Right: its root mean square error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    group = sorted(
        (
            found
            for found in all_found
            if found.cell == {**found.cell, "law": law, "strength": strength, "d": d, "side": "one"}
        ),
        key=lambda found: float(str(found.cell["multiple"])),
    )
    if not group:
        return
    shown = {
        "plain": ("#d55e00", "s", "plain"),
        "infinity": ("#cc79a7", "^", "FID∞ (15 sizes, least squares)"),
        "spectral": ("#999999", "x", "Gaussian correction"),
        "ours": ("#0072b2", "o", "fid_debiased"),
    }
    n = [float(str(found.cell["multiple"])) * d for found in group]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for name, (colour, marker, label) in shown.items():
        errors = [found.errors(name) for found in group]
        values = [one + found.truth for one, found in zip(errors, group, strict=True) if one is not None]
        means, spreads = [value.mean() for value in values], [value.std(ddof=1) for value in values]
        left.errorbar(n, means, spreads, color=colour, marker=marker, capsize=3, label=label)
        right.plot(n, [np.sqrt((one**2).mean()) for one in errors if one is not None], color=colour, marker=marker)
    left.axhline(group[0].truth, color="black", linewidth=1, linestyle=":", label="truth")
    for axes, title in ((left, "mean ± spread of repeated samples"), (right, "root mean square error")):
        axes.set_xscale("log")
        axes.set_xticks(n, [f"{value:.0f}" for value in n])
        axes.minorticks_off()
        axes.set_xlabel("images n")
        axes.set_title(f"{title}, d = {d}, {law} features", fontsize=10)
        axes.grid(alpha=0.25)
    right.set_yscale("log")
    left.legend(frameon=False)
    figure.savefig(FOLDER / "fid_estimators.png", dpi=110)


def write(folder: Path) -> None:
    """Writes all tables and the figure."""
    found = read(folder)
    libraries = ("numpy", "scipy")
    save("fid_estimators", list(estimator_rows(found)), libraries)
    save("fid_estimators_intervals", list(interval_rows(found)), libraries)
    save("fid_estimators_cells", list(cell_rows(found)), libraries)
    # The largest dimension of which every count is there.
    wide = [d for d in (256, 64) if sum(one.cell["d"] == d and one.cell["law"] == "heavy" for one in found) >= 15]
    draw(found, "heavy", "small", wide[0])
