"""Samplers walked with a predictor that knows the image: ours are exact, and planted faults show."""

import diffusers
import pytest

from diffeval.checks.pipeline import Limits, walk, walk_faults
from diffeval.diffusion.prediction import PREDICTION_TYPES, PredictionType
from diffeval.diffusion.samplers import SAMPLERS, Sampler, build_scheduler, named_sampler
from diffeval.diffusion.schedule import SCHEDULE_NAMES, named_schedule
from diffeval.errors import DiffevalError


@pytest.mark.parametrize("prediction", PREDICTION_TYPES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_our_samplers_hold_the_level_of_every_timestep(name: str, prediction: PredictionType) -> None:
    tried = 0
    for schedule in map(named_schedule, SCHEDULE_NAMES):
        try:
            sampler = named_sampler(name, schedule, prediction)
            build_scheduler(sampler, schedule, prediction, 20)
        except DiffevalError:
            continue
        tried += 1
        make = lambda: build_scheduler(sampler, schedule, prediction, 20)  # noqa: B023, E731
        assert walk_faults(make, sampler, schedule, prediction, Limits()) == ()
    assert tried or (name, prediction) == ("pndm", "sample")


def test_what_is_left_and_held_is_exact() -> None:
    """DDIM without its last alpha_bar of 1 ends at the first timestep's noise: sqrt(1 - alpha_bar_0), of beta 1e-4."""
    schedule = named_schedule("linear")
    sampler = Sampler("declared", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False})
    walked = walk(lambda: build_scheduler(sampler, schedule, "epsilon", 10), schedule, "epsilon", {}, 8.0)
    assert walked.left == pytest.approx(0.01, rel=0.03)
    assert max(map(abs, walked.gaps.values())) < 0.02


def test_timesteps_that_are_not_those_of_the_noise_fail() -> None:
    """DDIM strides by T // steps, whatever its timesteps are."""
    schedule = named_schedule("linear")

    def make() -> object:
        scheduler = diffusers.DDIMScheduler(
            trained_betas=list(schedule.betas), clip_sample=False, timestep_spacing="linspace"
        )
        scheduler.set_timesteps(13)
        return scheduler

    found = walk_faults(make, Sampler("declared", "DDIMScheduler"), schedule, "epsilon", Limits())
    assert [one.status for one in found] == ["fail"]
    assert "nats off the schedule's" in found[0].summary


class _Stops(diffusers.EulerDiscreteScheduler):
    """Leaves out its last three steps."""

    def step(self, model_output, timestep, sample, **options):  # type: ignore[no-untyped-def]
        if self.step_index is not None and self.step_index >= len(self.timesteps) - 3:
            return (sample,)
        return super().step(model_output, timestep, sample, **options)


class _Unscaled(diffusers.EulerDiscreteScheduler):
    """Does not scale what the network is shown."""

    def scale_model_input(self, sample, timestep):  # type: ignore[no-untyped-def]
        super().scale_model_input(sample, timestep)
        return sample


@pytest.mark.parametrize(("kind", "said"), [(_Stops, "ends with noise"), (_Unscaled, "times as strong")])
def test_schedulers_that_are_broken_fail(kind: type, said: str) -> None:
    schedule = named_schedule("linear")

    def make() -> object:
        scheduler = kind(trained_betas=list(schedule.betas))
        scheduler.set_timesteps(10)
        return scheduler

    found = walk_faults(make, Sampler("declared", "EulerDiscreteScheduler"), schedule, "epsilon", Limits())
    assert any(one.status == "fail" and said in one.summary for one in found)
