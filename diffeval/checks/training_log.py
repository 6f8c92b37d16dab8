"""``training-log``: spikes, divergence and NaN in the log of a training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from diffeval.checks.check import Finding, Row, Subject, check
from diffeval.metrics.metric import Array
from diffeval.runs.records import CheckStatus

# Rows of a running median, and the fewest that show anything.
WINDOW, LEAST = 201, 40
# The deviation of a normal distribution over its median absolute deviation; the error of a median over that of a mean.
TO_DEVIATION, OF_MEDIAN = 1.4826, 1.2533
# Standard errors of the lower bound on a rise; it is above the best of many windows, so more than two.
ERRORS = 3.0
SHOWN = 200
# Windows at once; a change of the log that is none.
CHUNK, ROUNDING = 10_000, 1e-6

Said = tuple[CheckStatus, str, str]


@check("training-log", about="spikes, divergence and NaN in the losses of the training", reads=("log",))
def training_log(
    subject: Subject, *, spike_warn: float = 8.0, rise_warn: float = 1.05, rise_fail: float = 1.2
) -> Finding:
    """Losses and gradient norms against their running medians of 201 rows, in logs.

    Values: ``loss_spike`` and ``gradient_spike``, the largest distance above the running median, in deviations (of
    the logs, by the median absolute deviation around it: raw gradient norms of healthy trainings reach 9.4, their logs
    7.1); ``rise``, the median of the last window over that of the best; ``rise_least``, its lower bound by three
    standard errors, which decides; ``rows``.

    Fails where a loss or a gradient norm is not finite, or the loss ends ``rise_fail`` times above its best and more.

    Args:
        subject: whose log is read.
        spike_warn: deviations that warn.
        rise_warn: rise that warns.
        rise_fail: rise that fails.

    Cost: none; no network is called.
    """
    # An AMP training logs the infinite gradient norms of the steps that it skips; a loss is another matter.
    losses, norms = (_column(subject.log, name) for name in ("loss", "gradient_norm"))
    steps, loss = losses
    broken = np.flatnonzero(~np.isfinite(loss))
    if len(broken):
        return Finding(
            "fail",
            f"the loss is NaN or infinite at {len(broken)} of {len(loss)} rows, first at step {steps[broken[0]]:.0f}",
            {"rows": float(len(loss)), "broken_rows": float(len(broken))},
            "lower the learning rate, clip the gradient, or train in bfloat16 or float32 in place of float16",
        )
    if len(loss) < LEAST:
        return Finding("inconclusive", f"the log has {len(loss)} rows with a loss; {LEAST} and more show something")
    values = {"rows": float(len(loss))}
    said = _of_spikes("loss", steps, loss, spike_warn, values)
    said += _of_gradients(norms, spike_warn, values)
    rise, least = _rise(loss)
    values |= {"rise": rise, "rise_least": least}
    if least > rise_warn:
        status: CheckStatus = "fail" if least > rise_fail else "warn"
        limit = rise_fail if status == "fail" else rise_warn
        text = f"the loss diverged: it ends at {rise:.2f} times its best running median (at most {limit:g})"
        fix = "take an earlier checkpoint, and continue from it with a lower learning rate or a clipped gradient"
        said.insert(0, (status, text, fix))
    rows = _rows(steps, loss)
    if said:
        worst = min((status for status, _, _ in said), key=("fail", "warn").index)
        fixes = "; ".join(dict.fromkeys(fix for _, _, fix in said))
        return Finding(worst, "; ".join(text for _, text, _ in said), values, fixes, rows=rows)
    return Finding(
        "pass",
        f"no spike above {values['loss_spike']:.1f} deviations (at most {spike_warn:g}), and the loss ends at "
        f"{rise:.2f} times its best running median (at most {rise_warn:g})",
        values,
        rows=rows,
    )


def _column(log: Sequence[Mapping[str, Any]], name: str) -> tuple[Array, Array]:
    """Steps and values of the rows that have one."""
    pairs = [(float(row["step"]), float(row[name])) for row in log if row.get(name) is not None]
    steps, column = np.array(pairs).reshape(-1, 2).T
    return steps, column


def _of_gradients(norms: tuple[Array, Array], limit: float, values: dict[str, float]) -> list[Said]:
    """Spikes of the finite gradient norms, and how many are not."""
    steps, norm = norms
    finite = np.isfinite(norm)
    said = _of_spikes("gradient", steps[finite], norm[finite], limit, values) if finite.sum() >= LEAST else []
    if finite.all():
        return said
    first = steps[~finite][0]
    text = f"the gradient norm is NaN or infinite at {(~finite).sum()} of {len(norm)} rows, first at step {first:.0f}"
    fix = "skip such steps (a gradient scaler does), or train in bfloat16 or float32 in place of float16"
    return [*said, ("warn", text, fix)]


def _of_spikes(name: str, steps: Array, values: Array, limit: float, into: dict[str, float]) -> list[Said]:
    z = _spikes(values)
    into[f"{name}_spike"] = float(z.max())
    if z.max() <= limit:
        return []
    count, first = int((z > limit).sum()), steps[int((z > limit).argmax())]
    text = f"{count} {name} spikes of up to {z.max():.1f} deviations (at most {limit:g}), first at step {first:.0f}"
    return [("warn", text, "clip the gradient, lower the learning rate, or look at the images of that step")]


def _spikes(values: Array) -> Array:
    """Distance above the running median, in running deviations."""
    x = _logs(values)
    size = _size(len(x))
    padded = np.pad(x, size // 2, mode="reflect")
    z = np.empty(len(x))
    # Windows overlap, and are many times the column where they stand side by side.
    for start in range(0, len(x), CHUNK):
        windows = np.lib.stride_tricks.sliding_window_view(padded[start : start + CHUNK + size - 1], size)
        medians = np.median(windows, axis=1)
        spread = TO_DEVIATION * np.median(np.abs(windows - medians[:, None]), axis=1)
        off = x[start : start + CHUNK] - medians
        # A column that hardly ever changes has no deviation: then the least step that is not rounding is one.
        z[start : start + CHUNK] = off / np.maximum(spread, ROUNDING)
    return z


def _rise(loss: Array) -> tuple[float, float]:
    """The last window's median over the least of all windows', and the lower bound of that."""
    size = _size(len(loss))
    ends = list(range(len(loss), size - 1, -size))
    windows = [_logs(loss)[end - size : end] for end in ends] if loss.min() > 0 else []
    if not windows:
        return 1.0, 1.0
    medians = np.array([np.median(window) for window in windows])
    errors = np.array(
        [
            OF_MEDIAN * TO_DEVIATION * np.median(np.abs(window - median)) / np.sqrt(size)
            for window, median in zip(windows, medians, strict=True)
        ]
    )
    best = int(medians.argmin())
    rise, error = medians[0] - medians[best], np.hypot(errors[0], errors[best])
    return float(np.exp(rise)), float(np.exp(max(rise - ERRORS * error, 0.0)))


def _logs(values: Array) -> Array:
    """Logs, where all values have one: losses and norms vary by factors."""
    logs: Array = np.log(values) if values.min() > 0 else values
    return logs


def _size(count: int) -> int:
    """Rows of a window: an odd number, a quarter of all at most."""
    return min(WINDOW, count // 4 - 1 + count // 4 % 2)


def _rows(steps: Array, loss: Array) -> tuple[Row, ...]:
    """Loss and its running median, thinned."""
    median = median_filter(loss, _size(len(loss)), mode="nearest")
    shown = np.unique(np.linspace(0, len(loss) - 1, SHOWN).astype(int))
    return tuple({"step": float(steps[i]), "loss": float(loss[i]), "median": float(median[i])} for i in shown)
