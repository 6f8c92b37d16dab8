"""``terminal-snr``: whether sampling starts where no image is left, as the noise that it starts from has none.

The network learnt that at timestep t an image stands at strength alpha in x_t. A sampler that starts there from pure
noise tells it that every image is a mean grey one: its images come out too alike in brightness, and all too near to
grey. How much follows from the data, without a network (see ``brightness``).

Where that predicts harm, images are sampled twice from the same noise: as the sampler does, and with real images under
that noise, which is what the network was trained to see there. The difference is the doing of the start alone;
brightness of drawn images against real ones would hold whatever else is wrong, too (0.05 to 0.15 deviations in healthy
networks of the digits).
"""

from dataclasses import dataclass

import numpy as np

from diffeval.checks.brightness import Leak, Measured, brightness, leak_of, measure
from diffeval.checks.check import Finding, Subject, check
from diffeval.diffusion.samplers import LEAST_SIGNAL, build_scheduler, is_stochastic
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import NoiseSchedule
from diffeval.runs.records import CheckStatus

Z = 1.96
# Beyond this sigma an EDM grid leaves nothing of an image, whatever its data.
LARGE_SIGMA = 30.0

Said = tuple[CheckStatus, str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a number stops being well; the first of a pair warns, the second fails."""

    leak: tuple[float, float]
    shift: tuple[float, float]
    alpha_bar: tuple[float, float]
    unused: float


@check(
    "terminal-snr", about="no image is left where sampling starts: residual signal, and what it costs in brightness"
)
def terminal_snr(
    subject: Subject,
    *,
    seeds: int = 128,
    leak_warn: float = 0.33,
    leak_fail: float = 1.0,
    shift_warn: float = 0.5,
    shift_fail: float = 1.0,
    alpha_bar_warn: float = 0.005,
    alpha_bar_fail: float = 0.02,
    unused_warn: float = 0.05,
    least_shown: float = 0.2,
) -> Finding:
    """Signal left at the last timestep and at the first one that the sampler visits, and what follows from it.

    Values: ``alpha_bar_end`` and ``alpha_bar_start``, the signal power at these; with real images ``leak``, ``shift``
    (in deviations of real brightness within a class) and ``variance_ratio`` as predicted, and where they are not
    well ``measured_shift`` and ``measured_variance_ratio`` of drawn images. With real images these decide; without,
    ``alpha_bar_start`` does. What drawn images do not show takes a fail back to a warning.

    No network is called where the prediction is well; otherwise twice ``seeds`` times the number of steps, up to
    25,600; a sampler of more than 400 steps is too expensive, and the law stands alone.

    Args:
        subject: what is looked at.
        seeds: images to draw, at most four times the subject's.
        leak_warn: L that warns: a tenth of the brightness' variance is lost.
        leak_fail: L that fails: half of it is lost.
        shift_warn: shift that warns, in deviations.
        shift_fail: shift that fails.
        alpha_bar_warn: signal power that warns where there are no real images.
        alpha_bar_fail: signal power that fails there.
        unused_warn: share of the timesteps above the first visited one that warns.
        least_shown: effect that drawn images must show for a fail, in deviations or as a log ratio, with its 95%
            interval above half of it; 0.2 is what is called a small effect.

    Source: the limits of L and of alpha_bar follow from the law above, and are no fit; those of the shift are set in
    its terms. Lin et al. 2023 on what residual signal does; Salimans and Ho 2022 on epsilon without signal.
    """
    limits = Limits((leak_warn, leak_fail), (shift_warn, shift_fail), (alpha_bar_warn, alpha_bar_fail), unused_warn)
    generator = subject.generator
    schedule = subject.checkpoint.schedule
    first = first_timestep(generator)
    end, start = float(schedule.alpha_bar[-1]), alpha_bar_at(schedule, first)
    if schedule.name == "karras" and (1 - start) > start * LARGE_SIGMA**2:
        sigma = np.sqrt((1 - start) / start)
        return Finding(
            "not-applicable", f"the noise starts at sigma {sigma:.3g}, above {LARGE_SIGMA:g}: no image is left"
        )
    values = {"alpha_bar_end": end, "alpha_bar_start": start, "first_timestep": first}
    said = _lints(generator, first, limits)
    known = None if subject.images is None else brightness(subject.images)
    if known is None:
        said += _by_power(generator, start, limits)
    else:
        leak = leak_of(start, known, stochastic=is_stochastic(generator.sampler))
        values |= {"leak": leak.strength, "shift": leak.shift, "variance_ratio": leak.variance_ratio}
        by_law = _by_law(generator, leak, start, limits)
        if by_law:
            assert subject.images is not None, "brightness is theirs"
            measured = measure(subject, subject.images, start, known.deviation, seeds)
            values |= _values(measured)
            by_law = [_held_against(one, leak, measured, least_shown) for one in by_law]
        said += by_law
    return _judge(said, values, limits)


def first_timestep(generator: Generator) -> float:
    """The first timestep that the sampler visits; some samplers visit one between two."""
    scheduler = build_scheduler(generator.sampler, generator.schedule, generator.prediction, generator.steps)
    return float(scheduler.timesteps[0])


def alpha_bar_at(schedule: NoiseSchedule, timestep: float) -> float:
    """Signal power at a timestep, or between two."""
    if timestep >= schedule.timesteps - 1:
        return float(schedule.alpha_bar[-1])
    levels = np.interp(timestep, np.arange(schedule.timesteps), np.maximum(schedule.log_snr, -1e3))
    return float(1.0 / (1.0 + np.exp(-levels)))


def _lints(generator: Generator, first: float, limits: Limits) -> list[Said]:
    """What is wrong by configuration alone."""
    schedule, said = generator.schedule, list[Said]()
    last = schedule.timesteps - 1
    if schedule.zero_terminal_snr and generator.prediction == "epsilon":
        text = (
            "the last timestep has no signal (zero terminal SNR), where a predicted epsilon says nothing of the image"
        )
        said.append(("fail", text, "train with prediction_type='v_prediction', or without rescale_betas_zero_snr"))
    if schedule.zero_terminal_snr and first < last:
        text = f"the schedule has zero terminal SNR, but the sampler starts at t={first:g}, not at {last}"
        return [*said, ("fail", text, _start_later(generator))]
    unused = (last - first) / schedule.timesteps
    if unused > limits.unused:
        text = (
            f"the sampler starts at t={first:g} of {schedule.timesteps}: {unused:.0%} of the timesteps are unused "
            f"(at most {limits.unused:.0%})"
        )
        said.append(("warn", text, _start_later(generator)))
    return said


def _by_power(generator: Generator, start: float, limits: Limits) -> list[Said]:
    """From the signal power alone."""
    warn, fail = limits.alpha_bar
    if start <= warn:
        return []
    text = f"a signal power of {start:.2g} is left where sampling starts (at most {fail if start > fail else warn:g})"
    return [("fail" if start > fail else "warn", text, _mend(generator, limits))]


def _start_later(generator: Generator) -> str:
    """What makes a sampler start at the last timestep."""
    if generator.prediction == "epsilon" and float(generator.schedule.alpha_bar[-1]) < LEAST_SIGNAL:
        # There a sampler that does not clip x_0 is better off with an earlier start.
        return "take more steps, or --sampler ddim, which clips x_0"
    return "set timestep_spacing='trailing' in the sampler's configuration, or use --sampler ddim"


def _mend(generator: Generator, limits: Limits) -> str:
    if float(generator.schedule.alpha_bar[-1]) <= limits.alpha_bar[0]:
        return _start_later(generator)
    return (
        "sampling starts from noise without an image, so train to there: more timesteps or larger betas, "
        "beta_schedule='squaredcos_cap_v2', or v_prediction with rescale_betas_zero_snr"
    )


def _by_law(generator: Generator, leak: Leak, start: float, limits: Limits) -> list[Said]:
    """From what the law predicts."""
    said = list[Said]()
    left = f"with a signal power of {start:.2g} left where sampling starts"
    shift, (warn, fail) = abs(leak.shift), limits.shift
    if shift > warn:
        text = (
            f"{left}, images must come out {shift:.2f} deviations too {'bright' if leak.shift > 0 else 'dark'} "
            f"(at most {fail if shift > fail else warn:g})"
        )
        said.append(("fail" if shift > fail else "warn", text, _mend(generator, limits)))
    warn, fail = limits.leak
    if leak.strength > warn:
        text = (
            f"{left}, their brightness keeps {leak.variance_ratio:.2f} times its variance (leak {leak.strength:.2f}, "
            f"at most {fail if leak.strength > fail else warn:g})"
        )
        said.append(("fail" if leak.strength > fail else "warn", text, _mend(generator, limits)))
    return said


def _held_against(said: Said, leak: Leak, measured: Measured | None, least: float) -> Said:
    """What the law says, with what images show; a fail stands only if they show it, or could not be drawn."""
    status, text, fix = said
    if measured is None:
        return status, f"{text}; no images could be drawn to hold it against", fix
    of_shift = "deviations too" in text
    predicted = leak.shift if of_shift else float(np.log(leak.variance_ratio))
    seen = measured.shift if of_shift else measured.log_ratio
    error = Z * (measured.shift_error if of_shift else measured.log_ratio_error)
    shown = f"{seen:+.2f} +- {error:.2f}" if of_shift else f"{np.exp(seen):.2f} times"
    said_of = f"{text}; {measured.n} images against the same from a right start show {shown}"
    size = seen * float(np.sign(predicted))
    if size > least and size - error > least / 2:
        return status, said_of, fix
    return "warn" if status == "fail" else status, f"{said_of} (a fail needs {least:g})", fix


def _values(measured: Measured | None) -> dict[str, float]:
    if measured is None:
        return {}
    return {
        "measured_shift": measured.shift,
        "measured_shift_std_error": measured.shift_error,
        "measured_variance_ratio": float(np.exp(measured.log_ratio)),
        "measured_log_ratio_std_error": measured.log_ratio_error,
    }


def _judge(said: list[Said], values: dict[str, float], limits: Limits) -> Finding:
    if said:
        worst = min((status for status, _, _ in said), key=("fail", "warn").index)
        fixes = dict.fromkeys(fix for _, _, fix in said)
        return Finding(worst, "; ".join(text for _, text, _ in said), values, fix="; ".join(fixes))
    left = f"a signal power of {values['alpha_bar_start']:.2g} is left at t={values['first_timestep']:g}"
    if "leak" not in values:
        return Finding("pass", f"{left}, where sampling starts (at most {limits.alpha_bar[0]:g})", values)
    return Finding(
        "pass",
        f"{left}, where sampling starts: it moves brightness by {abs(values['shift']):.2g} deviations (at most "
        f"{limits.shift[0]:g}), with a leak of {values['leak']:.2g} (at most {limits.leak[0]:g})",
        values,
    )
