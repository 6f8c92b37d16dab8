"""``trajectory``: what the sampler holds and what the network predicts on the way from noise to image, to look at.

Where sampling follows the process that the network was trained on, x_t has the second moment that a noised real image
has at t, the predicted clean image gains detail as noise goes, and the last step ends on that prediction.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr

from diffeval.checks.check import CAUSES, Calls, Finding, Pictures, Row, Subject, check
from diffeval.checks.moments import RealMoments, detail_of, moment_ratio, real_moments, spread_of
from diffeval.diffusion.prediction import predicted_clean
from diffeval.diffusion.samplers import build_scheduler
from diffeval.diffusion.sampling import ROUNDINGS, Generator
from diffeval.metrics.metric import Array
from diffeval.runs.records import CheckStatus

# Where the pictures are taken, as shares of T.
MOMENTS = (1.0, 0.75, 0.5, 0.25, 0.0)
SHOWN = 8
# Steps that a correlation needs.
MIN_STEPS = 3
# Signal power from which on a predicted clean image is worth a number; below, its error is multiplied over tenfold.
CLEAR = 1e-2
# Standard errors on either side of an interval of 95%.
Z = 1.96


@dataclass(frozen=True, slots=True)
class Stop:
    """One step of the sampler, as pictures show it.

    Attributes:
        t: the timestep that the network was told.
        seen: the first x_t as the network saw them, float64 [k, C, H, W].
        clean: the clean images that it predicts.
    """

    t: float
    seen: Array
    clean: Array


@dataclass(frozen=True, slots=True)
class Followed:
    """A trajectory, as far as numbers need it.

    Attributes:
        rows: by step, the last one for the image itself.
        stops: those that are shown.
        end: the images, float64 [n, C, H, W].
        residual: root mean square distance of the images from the last prediction.
        moves: how far each step goes, root mean square, as the network sees x.
        broken: the first timestep at which something was not finite; None without.
    """

    rows: tuple[Row, ...]
    stops: tuple[Stop, ...]
    end: Array
    residual: float
    moves: tuple[float, ...]
    broken: float | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a number stops being well; the first of a pair warns, the second fails."""

    moment: tuple[float, float] = (0.10, 0.25)
    residual: tuple[float, float] = (0.03, 0.10)
    jump: float = 5.0
    detail: float = 0.5


# Images that are followed.
SEEDS = 64


def _calls(subject: Subject) -> Calls:
    return {subject.generator.branches * min(SEEDS, subject.n): float(subject.generator.calls)}


@check(
    "trajectory",
    about="x_t and the predicted clean image from T to 0, with their moments, to look at",
    symptom_of=CAUSES,
    calls=_calls,
)
def trajectory(
    subject: Subject,
    *,
    seeds: int = SEEDS,
    moment_warn: float = 0.10,
    moment_fail: float = 0.25,
    residual_warn: float = 0.03,
    residual_fail: float = 0.10,
    jump_fail: float = 5.0,
    detail_warn: float = 0.5,
) -> Finding:
    """Follows the sampler as it is used, with the same seeds at every checkpoint.

    Values: ``moment_ratio``, the mean of x_t^2 over what the forward process has there, at the step where it is
    furthest from 1, or at the first if it is off there already (without real images it is left out);
    ``start_spread``, the variance of the predicted clean images of one class over seeds, as a share of real images',
    at the first step with a signal power of 0.01 or more; ``moment_ratio_plain``, without guidance, where that is what
    a failure comes from; ``detail_growth``, Spearman's correlation of their
    high-frequency energy with the step from there on; ``last_jump``, how far the last step moves x, over the largest
    step before; ``residual``, how far the image ends from the last prediction, in units of x.

    Args:
        subject: what is looked at.
        seeds: images that are followed.
        moment_warn: distance of the moment ratio from 1 at which to warn.
        moment_fail: at which to fail, where its 95% interval lies beyond the warning, too.
        residual_warn: residual noise at which to warn, in units of x; 0.03 is four grey levels.
        residual_fail: at which to fail.
        jump_fail: a last step so many times as far as the largest before it is none that a sampler takes.
        detail_warn: growth of detail below which to warn.

    Source: the variance of x_t under sampling: Ning et al. 2024 (exposure bias), section 3.
    """
    generator, real = subject.generator, subject.images
    seeds = min(seeds, subject.n)
    followed = _follow(subject, seeds, real_moments(real))
    pictures = _pictures(generator, followed)
    if followed.broken is not None:
        where = f"at t={followed.broken:g}"
        return Finding("fail", f"x_t holds NaN or infinity {where}", fix="see --only untrained", pictures=pictures)
    limits = Limits((moment_warn, moment_fail), (residual_warn, residual_fail), jump_fail, detail_warn)
    values = _values(followed, moment_warn, guided=generator.branches > 1)
    found = _judge(values, float(followed.rows[0]["t"] or 0), limits)
    if found.status == "fail" and generator.branches > 1:
        found, values = _without_guidance(subject, seeds, found, values, limits)
    if real is None and found.status == "pass":
        found = dataclasses.replace(
            found, status="inconclusive", summary=f"{found.summary}; nothing to hold the moments against: give --ref"
        )
    return dataclasses.replace(found, values=values, rows=followed.rows, pictures=pictures)


def _without_guidance(
    subject: Subject, seeds: int, found: Finding, values: dict[str, float], limits: Limits
) -> tuple[Finding, dict[str, float]]:
    """A failure that is gone at w = 1 is the guidance scale's doing: a warning, since many models are used so."""
    generator = dataclasses.replace(subject.generator, w=1.0)
    followed = _follow(subject, seeds, real_moments(subject.images), generator)
    if followed.broken is not None:
        return found, values
    plain = _values(followed, limits.moment[0], guided=False)
    if _judge(plain, float(followed.rows[0]["t"] or 0), limits).status == "fail":
        return found, values
    values = {**values, "moment_ratio_plain": plain["moment_ratio"]} if "moment_ratio" in plain else values
    told = f"{found.summary}; without guidance it does not: it is the doing of w={subject.generator.w:g}"
    fix = "look at sweep-cfg for a lower w; --interval or --rescale keep a high one from exaggerating"
    return dataclasses.replace(found, status="warn", summary=told, fix=fix), values


def _follow(subject: Subject, seeds: int, real: RealMoments | None, generator: Generator | None = None) -> Followed:
    """Walks with the sampler; what is large is let go at once."""
    generator = generator or subject.generator
    scheduler = build_scheduler(generator.sampler, generator.schedule, generator.prediction, generator.steps)
    times = [float(t) for t in scheduler.timesteps]
    last = generator.schedule.timesteps - 1
    wanted = [min(range(len(times)), key=lambda at: abs(times[at] - share * last)) for share in MOMENTS]
    alpha_bar = np.interp(times, np.arange(last + 1), generator.schedule.alpha_bar.astype(np.float64))
    labels = generator.labels(range(seeds))
    rows, stops, moves, broken = [], {}, [], None
    before = clean = np.empty(0)
    subject.reporter.stage("trajectory", len(times), "steps")
    for at, step in enumerate(generator.walk(range(seeds))):
        seen, after = _array(step.seen), _array(step.after)
        level = max(float(alpha_bar[at]), 1e-12)
        clean = _array(predicted_clean(generator.prediction, level, step.seen, step.output))
        if at in wanted:
            stops[at] = Stop(step.t, seen[:SHOWN], clean[:SHOWN])
        if broken is None and not (np.isfinite(seen).all() and np.isfinite(after).all()):
            broken = step.t
        rows.append(_row(step.t, level, seen, clean, labels, real))
        if at:
            moves.append(_distance(seen, before))
        before = seen
        subject.reporter.advance(1)
    moves.append(_distance(after, before))
    rows.append(_row(None, 1.0, after, after, labels, real))
    if generator.sampler.config.get("clip_sample"):
        clean = clean.clip(-1.0, 1.0)
    shown = tuple(stops[at] for at in dict.fromkeys(wanted))
    return Followed(tuple(rows), shown, after, _distance(after, clean), tuple(moves), broken)


def _row(
    t: float | None,
    alpha_bar: float,
    x: Array,
    clean: Array,
    labels: npt.NDArray[np.int64] | None,
    real: RealMoments | None,
) -> Row:
    """What is said of one step; without a number where there is none."""
    clear = alpha_bar >= CLEAR and bool(np.isfinite(clean).all())
    row: dict[str, float | None] = {"t": t, "alpha_bar": alpha_bar}
    if real is not None:
        row["moment_ratio"], row["std_error"] = moment_ratio(x, alpha_bar, real)
        spread = spread_of(clean, labels) if clear else None
        row["spread"] = None if spread is None or real.spread is None else spread / real.spread
    return {**row, "detail": detail_of(clean) if clear else None}


def _distance(one: Array, other: Array) -> float:
    return float(np.sqrt(((one - other) ** 2).mean()))


def _array(x: torch.Tensor) -> Array:
    array: Array = x.double().cpu().numpy()
    return array


def _values(followed: Followed, moment_warn: float, *, guided: bool) -> dict[str, float]:
    """What is said of the whole."""
    values = {"residual": followed.residual}
    if len(followed.moves) > 2:
        values["last_jump"] = followed.moves[-1] / max(*followed.moves[:-1], 1e-12)
    clear = [row for row in followed.rows if row["detail"] is not None]
    # Guidance exaggerates early predictions: less detail later on is its doing, and no fault.
    details = [row["detail"] for row in clear]
    if len(clear) > MIN_STEPS and not guided and len(set(details)) > 1:
        values["detail_growth"] = float(spearmanr(range(len(clear)), details)[0])
    if "moment_ratio" in followed.rows[0]:
        first = followed.rows[0]
        # What is off from the start is off ever after, and it is the start that is to be mended.
        amiss = _sure(float(first["moment_ratio"] or 0), float(first["std_error"] or 0)) > moment_warn
        worst = first if amiss else max(followed.rows, key=lambda row: abs(float(row["moment_ratio"] or 0) - 1))
        values["moment_ratio"] = float(worst["moment_ratio"] or 0)
        values["moment_std_error"] = float(worst["std_error"] or 0)
        values["moment_t"] = float(worst["t"] or 0)
        if clear[0]["spread"] is not None:
            values["start_spread"] = float(clear[0]["spread"])
    return values


def _sure(ratio: float, error: float) -> float:
    """How far from 1 a ratio is at least, by its 95% interval; negative where that holds 1."""
    return abs(ratio - 1) - Z * error


def _judge(values: dict[str, float], first: float, limits: Limits) -> Finding:
    """The worst of what the numbers say; all of it where several are bad."""
    said: list[tuple[CheckStatus, str, str]] = []
    if "moment_ratio" in values:
        ratio, error, t = values["moment_ratio"], values["moment_std_error"], values["moment_t"]
        off, sure = abs(ratio - 1), _sure(ratio, error)
        warn, fail = limits.moment
        if off > warn and sure > warn / 2:
            status: CheckStatus = "fail" if off > fail and sure > warn else "warn"
            fix = (
                "x_T has the wrong scale: look at the sampler's init_noise_sigma and noise levels"
                if t == first
                else "sampling leaves the process that the network was trained on: compare noise schedule, prediction "
                "type and guidance scale; a network trained too little does the same"
            )
            limit = f"limits {1 - fail:g} to {1 + fail:g}" if status == "fail" else f"{1 - warn:g} to {1 + warn:g}"
            said.append((status, f"x_t at t={t:g} has {ratio:.2f} times the second moment it should ({limit})", fix))
        elif off > warn:
            text = (
                f"x_t at t={t:g} has {ratio:.2f} +- {Z * error:.2f} times the second moment it should: too uncertain"
            )
            said.append(("inconclusive", text, "raise --n; where single seeds run away, look at the pictures"))
    residual, (some, much) = values["residual"], limits.residual
    if residual > some:
        said.append(
            (
                "fail" if residual > much else "warn",
                f"images end {residual:.2g} from the last prediction (limits {some:g} and {much:g}): noise is left",
                "the last step does not go to noise level 0: look at final_sigmas_type and the last timestep",
            )
        )
    if values.get("last_jump", 0.0) > limits.jump:
        said.append(
            (
                "fail",
                f"the last step goes {values['last_jump']:.1f} times as far as any before (limit {limits.jump:g})",
                "the noise level before the last step is too high: look at sigma_min",
            )
        )
    if values.get("detail_growth", 1.0) < limits.detail:
        said.append(
            (
                "warn",
                f"predicted images do not gain detail on the way: correlation {values['detail_growth']:.2f} (at least "
                f"{limits.detail:g})",
                "look at the pictures: the network may be distilled, or no denoiser",
            )
        )
    if not said:
        begun = ""
        if "moment_ratio" in values:
            begun = (
                f"x_t has {values['moment_ratio']:.3f} times the second moment of the forward process where it is "
                f"furthest off ({1 - limits.moment[0]:g} to {1 + limits.moment[0]:g}); "
            )
        return Finding("pass", f"{begun}images end {residual:.2g} from the last prediction (at most {some:g})")
    worst = min((status for status, _, _ in said), key=("fail", "warn", "inconclusive").index)
    return Finding(worst, "; ".join(text for _, text, _ in said), fix="; ".join(fix for _, _, fix in said))


def _pictures(generator: Generator, followed: Followed) -> Pictures:
    """x_t and the predicted clean image of the first seeds at every stop; the image itself at the end."""
    columns, names = [], []
    for stop in followed.stops:
        columns += [_pixels(generator, stop.seen), _pixels(generator, stop.clean)]
        names += [f"x at t={stop.t:g}", f"predicted at t={stop.t:g}"]
    columns.append(_pixels(generator, followed.end[:SHOWN]))
    count = len(columns[0])
    labels = generator.labels(range(count))
    classes = [""] * count if labels is None else [f", class {label}" for label in labels]
    rows = [f"seed {generator.seed}, image {row}{classes[row]}" for row in range(count)]
    return Pictures(
        np.stack(columns, axis=1),
        tuple(rows),
        (*names, "image"),
        "One seed in a row. From left to right, at each stop: x_t as the network sees it, and the clean image that it "
        "predicts there; at last the image. Predictions begin as blurred means and gain detail as noise goes. Where "
        "next to no signal is left, an epsilon prediction's is its error, thousandfold.",
    )


def _pixels(generator: Generator, x: Array) -> np.ndarray:
    decoded = generator.decode(torch.from_numpy(np.nan_to_num(x)).float().to(generator.device)).cpu()
    levels: np.ndarray = ROUNDINGS["nearest"](decoded).clamp(0, 255).to(torch.uint8).numpy()
    return levels
