"""``step-convergence``: whether more steps lead to the same image, as they must where a sampler solves its equation.

With x_T held fixed and no noise added on the way, a sampler follows an ordinary differential equation. What its image
at N steps is off, e(N) = |x^N - x^2N| / sqrt(d), falls as N^-p, p being its order. A sampler that strides along
another grid than it computes with, or stops at another noise level than zero, does not converge, or converges to
another image than a sampler of another kind.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from diffeval.checks.check import CAUSES, Calls, Finding, Row, Subject, check
from diffeval.diffusion.flow import SCHEDULER as FLOW
from diffeval.diffusion.samplers import SAMPLERS, Sampler, is_stochastic, named_sampler
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import NoiseSchedule, from_betas
from diffeval.errors import DiffevalError
from diffeval.metrics.metric import Array

# Each number of steps twice the one before.
COUNTS = (5, 10, 20, 40, 80)
# Doublings over which e(N) must fall; one error less than the counts that show them.
DOUBLINGS = 3
# Signal power alpha_bar at which sampling starts here. With less, the errors of a prediction are multiplied more than
# tenfold on their way to x_0, and what the numbers show is that, not the sampler.
START = 1e-2
# Share of one sampler's error that another must have left for the network to be the cause of both.
ALIKE = 0.5
# Options of schedulers that change x_0 on the way: what is left then is another equation.
ALTERING = ("clip_sample", "thresholding", "use_clipped_model_output")


@dataclass(frozen=True, slots=True)
class Solved:
    """One sampler at growing numbers of steps.

    Attributes:
        name: of the sampler.
        images: x_0 of the same seeds by number of steps, float64 [n, d].
    """

    name: str
    images: Mapping[int, Array]

    def errors(self) -> dict[int, Array]:
        """e(N) of every image, [n], by N."""
        return {few: _apart(self.images[few], self.images[more]) for few, more in pairwise(sorted(self.images))}

    @property
    def most(self) -> int:
        """The largest number of steps."""
        return max(self.images)


# Images of each sampler and number of steps.
SEEDS = 16


def _calls(subject: Subject) -> Calls:
    counts = _ladder(subject.generator.schedule)[0]
    enough = len(counts) > DOUBLINGS
    together = subject.generator.branches * min(SEEDS, subject.n)
    return {together: float(sum(counts) + sum(counts[-2:]))} if enough else {}


@check(
    "step-convergence",
    about="more steps lead to the same image, and another sampler to the same one",
    symptom_of=CAUSES,
    calls=_calls,
)
def step_convergence(
    subject: Subject, *, seeds: int = SEEDS, least_order: float = 0.3, most_apart: float = 3.0, floor: float = 1e-3
) -> Finding:
    """Errors against the number of steps, their order, and how far two samplers of different kinds end apart.

    Values: ``e_<sampler>``, what is left of the error at the second-largest number of steps, in units of x; ``order``;
    ``apart``. All are medians over seeds. Fails where the errors do not fall, or the two samplers end apart by more
    than ``most_apart`` times what is left of their errors.

    Args:
        subject: what is looked at.
        seeds: images per sampler and number of steps.
        least_order: of a sampler that converges; 1 is the order of DDIM and Euler.
        most_apart: the largest distance between two samplers, in units of the larger error that is left.
        floor: an error that is nothing, in units of x: an eighth of a grey level of 256.

    Source: the orders are those of DDIM (Song, Meng and Ermon 2021) and DPM-Solver++ (Lu et al. 2022).
    """
    generator = subject.generator
    seeds = min(seeds, subject.n)
    counts, schedule = _ladder(generator.schedule)
    if len(counts) < DOUBLINGS + 1:
        return Finding(
            "inconclusive",
            f"the schedule has {_usable(generator.schedule)} timesteps with a signal power above {START:g}; "
            f"{COUNTS[DOUBLINGS]} steps and more are needed",
        )
    mine = deterministic(generator, schedule)
    other = named_sampler("ddim" if _multistep(mine) else "dpm++", schedule, generator.prediction, bounded=False)
    subject.reporter.stage("step-convergence", sum(counts) + sum(counts[-2:]), "steps")
    try:
        first = _solve(subject, mine, schedule, counts, seeds)
        second = _solve(subject, other, schedule, counts[-2:], seeds)
    except DiffevalError as error:
        return Finding("inconclusive", f"the sampler could not be followed: {error}")
    finding = _judge(first, second, least_order, most_apart, floor)
    if mine.scheduler == generator.sampler.scheduler:
        return finding
    why = "steps along flows alone" if generator.sampler.scheduler == FLOW else "draws noise at its steps"
    stand_in = f"{generator.sampler.scheduler} {why}, {first.name} stands in for it: "
    return dataclasses.replace(finding, summary=stand_in + finding.summary)


def _ladder(schedule: NoiseSchedule) -> tuple[tuple[int, ...], NoiseSchedule]:
    """The numbers of steps, and the schedule up to where sampling starts, which all of them divide."""
    usable = _usable(schedule)
    counts = tuple(count for count in COUNTS if count <= usable)
    if not counts:
        return (), from_betas(schedule.betas[: max(2, usable)])
    return counts, from_betas(schedule.betas[: usable // counts[-1] * counts[-1]])


def _usable(schedule: NoiseSchedule) -> int:
    return int((schedule.alpha_bar >= START).sum())


def deterministic(generator: Generator, schedule: NoiseSchedule) -> Sampler:
    """The sampler without what makes its images random or clips them; DDIM where nothing of it would be left."""
    sampler = generator.sampler
    # A flow that ends where its signal does is no flow of diffusers' any more.
    if sampler.scheduler == FLOW or (is_stochastic(sampler) and sampler.scheduler != "DDIMScheduler"):
        return named_sampler("ddim", schedule, generator.prediction, bounded=False)
    config = {key: value for key, value in sampler.config.items() if key not in ALTERING}
    if "clip_sample" in sampler.config or sampler.scheduler == "DDIMScheduler":
        config["clip_sample"] = False
    options = {key: value for key, value in sampler.step_options.items() if key not in ALTERING}
    if "eta" in options:
        options["eta"] = 0.0
    if sampler.name in SAMPLERS:  # ours are fitted to the schedule, which now ends elsewhere
        config["timestep_spacing"] = "trailing"
    return dataclasses.replace(sampler, config=config, step_options=options)


def _multistep(sampler: Sampler) -> bool:
    return sampler.scheduler.startswith(("DPMSolver", "UniPC", "DEIS"))


def _solve(subject: Subject, sampler: Sampler, schedule: NoiseSchedule, counts: tuple[int, ...], seeds: int) -> Solved:
    found = {}
    for count in counts:
        at = dataclasses.replace(subject.generator, sampler=sampler, schedule=schedule, steps=count)
        found[count] = at.latents(range(seeds), same_start=True).flatten(1).double().cpu().numpy()
        subject.reporter.advance(count)
    return Solved(sampler.scheduler if sampler.name == "declared" else sampler.name, found)


def _apart(one: Array, other: Array) -> Array:
    distance: Array = np.sqrt(((one - other) ** 2).mean(axis=1))
    return distance


def _judge(first: Solved, second: Solved, least_order: float, most_apart: float, floor: float) -> Finding:
    if not all(np.isfinite(images).all() for solved in (first, second) for images in solved.images.values()):
        return Finding("fail", "sampling ends in NaN or infinity", fix="look at the checkpoint with --only untrained")
    errors = {count: float(np.median(one)) for count, one in first.errors().items()}
    order = _order(errors)
    left_second = float(np.median(next(iter(second.errors().values()))))
    last = max(errors)
    apart = float(np.median(_apart(first.images[first.most], second.images[second.most])))
    allowed = max(most_apart * max(errors[last], left_second), floor)
    values = {
        f"e_{first.name}": errors[last],
        f"e_{second.name}": left_second,
        "order": order,
        "apart": apart,
        "apart_limit": allowed,
    }
    rows: tuple[Row, ...] = tuple({"steps": count, f"e_{first.name}": error} for count, error in errors.items())
    slow = order < least_order and errors[last] > floor
    # A network that predicts clean images is unsure of them near noise level 0, and moves every sampler alike.
    if slow and apart <= errors[last] and left_second >= ALIKE * errors[last]:
        return Finding(
            "pass",
            f"doubling {last} steps moves images by {errors[last]:.2g} (order {order:.2f}) with {first.name} and by "
            f"{left_second:.2g} with {second.name}, which end {apart:.2g} apart: the network is unsure near noise "
            f"level 0, its samplers are not at fault",
            values,
            rows=rows,
        )
    if slow:
        return Finding(
            "fail",
            f"{first.name} does not converge: doubling {last} steps still moves images by {errors[last]:.2g} (order "
            f"{order:.2f} over the last doublings, at least {least_order:g} is needed)",
            values,
            "its timesteps, or the noise level at which it stops, are not those it computes with: look at "
            "timestep_spacing, steps_offset and final sigma in its configuration",
            rows=rows,
        )
    if apart > allowed:
        return Finding(
            "fail",
            f"{first.name} and {second.name} converge to different images: {apart:.2g} apart at {first.most} steps, "
            f"at most {allowed:.2g} ({most_apart:g} times what is left of their errors) is explained",
            values,
            "one of them stops at another noise level or follows another schedule: look at final_sigmas_type, "
            "sigma_min and sigma_max, set_alpha_to_one and steps_offset in its configuration",
            rows=rows,
        )
    how = f"with order {order:.2f} (at least {least_order:g})" if errors[last] > floor else "to nothing"
    return Finding(
        "pass",
        f"{first.name} converges {how}: doubling {last} steps moves images by {errors[last]:.2g}; {second.name} ends "
        f"{apart:.2g} apart (at most {allowed:.2g})",
        values,
        rows=rows,
    )


def _order(errors: Mapping[int, float]) -> float:
    """The p of e(N) ~ N^-p, from the last doublings."""
    counts = sorted(errors)[-DOUBLINGS:]
    logs = np.log([max(errors[count], 1e-12) for count in counts])
    return float(-np.polyfit(np.log(counts), logs, 1)[0])
