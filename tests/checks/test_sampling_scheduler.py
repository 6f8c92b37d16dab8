"""Configurations that people sample with, each wrong in one way, against the training's schedule."""

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.scheduler_config import SamplingScheduler, read_sampling_scheduler
from diffeval.checks.check import Subject, look
from diffeval.checks.pipeline import SamplerFault
from diffeval.checks.sampling_scheduler import curve_gap, sampling_faults
from diffeval.data.source import ImageSource
from diffeval.diffusion.schedule import NoiseSchedule, named_schedule
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_sampling

COSINE = named_schedule("squaredcos_cap_v2")


def saved(name: str, folder: Path, *, sampled_by: str | None = None, **config: Any) -> SamplingScheduler:
    """As ``save_pretrained`` writes it, and as a pipeline with another class reads it."""
    getattr(diffusers, name)(**config).save_pretrained(folder)
    found = read_sampling_scheduler(folder)
    return SamplingScheduler(sampled_by or found.name, found.config, found.file)


def faults(one: SamplingScheduler, schedule: NoiseSchedule = COSINE, steps: int = 20) -> tuple[SamplerFault, ...]:
    return sampling_faults(one, schedule, "epsilon", steps)


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler"])
def test_the_trainings_own_schedule_is_no_fault(name: str, tmp_path: Path) -> None:
    assert faults(saved("DDPMScheduler", tmp_path, sampled_by=name, beta_schedule="squaredcos_cap_v2")) == ()


def test_another_noise_schedule_fails_with_its_distance(tmp_path: Path) -> None:
    (only,) = faults(saved("DDIMScheduler", tmp_path, beta_schedule="linear"))
    assert only.status == "fail"
    assert "another noise schedule" in only.summary
    # By hand: root mean square of the curves' difference over timesteps 50 to 949.
    apart = np.asarray(named_schedule("linear").log_snr - COSINE.log_snr)[50:950]
    assert only.values["declared_rms"] == pytest.approx(float(np.sqrt(np.mean(apart**2))), rel=1e-3)


def test_another_number_of_timesteps_is_named(tmp_path: Path) -> None:
    (only,) = faults(saved("DDIMScheduler", tmp_path, beta_schedule="squaredcos_cap_v2", num_train_timesteps=50))
    assert only.status == "fail"
    assert "50 timesteps for 1000" in only.summary


def test_the_same_betas_under_another_name_are_no_fault(tmp_path: Path) -> None:
    betas = list(named_schedule("scaled_linear").betas)
    assert faults(saved("DDIMScheduler", tmp_path, trained_betas=betas), named_schedule("scaled_linear")) == ()


def test_linear_between_the_ends_of_scaled_linear_fails(tmp_path: Path) -> None:
    """The nearest two that are confused; 0.73 nats by the literature's conventions."""
    one = saved("DDIMScheduler", tmp_path, beta_schedule="linear", beta_start=0.00085, beta_end=0.012)
    other = saved("DDIMScheduler", tmp_path, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    schedule = NoiseSchedule("scaled_linear", tuple(other.build().betas.tolist()))
    assert faults(other, schedule) == ()
    (only,) = faults(one, schedule)
    assert only.values["declared_rms"] == pytest.approx(0.73, abs=0.01)


def test_a_class_that_drops_zero_terminal_snr_fails_and_names_the_key(tmp_path: Path) -> None:
    zero = named_schedule("scaled_linear", zero_snr=True)
    config = {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True}
    found = sampling_faults(saved("DDIMScheduler", tmp_path, sampled_by="PNDMScheduler", **config), zero, "sample", 20)
    assert [one.status for one in found[:2]] == ["fail", "warn"]
    assert "another noise schedule" in found[0].summary or "ends its noise schedule" in found[0].summary
    assert "rescale_betas_zero_snr=True" in found[-1].summary
    assert sampling_faults(saved("DDIMScheduler", tmp_path, **config), zero, "sample", 20) == ()


def test_a_schedule_that_the_class_does_not_know_fails(tmp_path: Path) -> None:
    one = saved("DDPMScheduler", tmp_path, sampled_by="DDIMScheduler", beta_schedule="sigmoid")
    (only,) = faults(one, named_schedule("sigmoid"))
    assert only.status == "fail"
    assert "cannot be built" in only.summary


def test_a_stride_that_is_not_the_timesteps_own_fails(tmp_path: Path) -> None:
    one = saved("DDIMScheduler", tmp_path, beta_schedule="linear", timestep_spacing="linspace", clip_sample=False)
    (only,) = faults(one, named_schedule("linear"), steps=13)
    assert only.status == "fail"
    assert "nats off the schedule's" in only.summary


def test_a_steep_end_warns_dpm_solvers(tmp_path: Path) -> None:
    config = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000}
    (only,) = faults(saved("DPMSolverMultistepScheduler", tmp_path, **config))
    assert only.status == "warn"
    assert "lambda_min_clipped" in only.fix
    assert faults(saved("DPMSolverMultistepScheduler", tmp_path, lambda_min_clipped=-5.1, **config)) == ()


def test_curves_are_compared_at_the_same_timesteps() -> None:
    line = np.linspace(8.0, -8.0, 100)
    assert curve_gap(line, line + 0.5) == (pytest.approx(0.5), pytest.approx(0.5))
    assert curve_gap(line, np.append(line[:-1], -40.0)) == (0.0, pytest.approx(2.0))


def test_the_checks_say_it_without_images(digits: Checkpoint, tmp_path: Path) -> None:
    generator = plan_sampling(digits, Settings(n=4)).generator
    wrong = saved("DDIMScheduler", tmp_path, beta_schedule="linear", prediction_type="v_prediction")
    subject = Subject(digits, generator, 4, sampled_by=wrong)  # type: ignore[arg-type]  # a checkpoint is sampled
    assert look("noise-schedule", subject)[0].status == "fail"
    of_type = look("prediction-type", subject)[0]
    assert of_type.status == "fail"
    assert "take the output for v_prediction" in of_type.summary
    healthy = Subject(digits, generator, 4)  # type: ignore[arg-type]
    assert look("noise-schedule", healthy)[0].status == "not-applicable"


def test_a_warning_of_the_sampler_stands_beside_what_the_weights_say(
    digits: Checkpoint, digit_images: ImageSource, tmp_path: Path
) -> None:
    config = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000}
    steep = saved("DPMSolverMultistepScheduler", tmp_path, **config)
    generator = plan_sampling(digits, Settings(n=8)).generator
    subject = Subject(digits, generator, 8, digit_images, sampled_by=steep)  # type: ignore[arg-type]  # is sampled
    found = look("noise-schedule", subject)[0]
    assert found.status == "warn"
    assert "its order breaks down" in found.summary
    assert "the weights follow the declared schedule" in found.summary
    assert "lambda_min_clipped" in found.fix


def test_a_scheduler_that_needs_another_library_is_not_accused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(self: SamplingScheduler, **changes: Any) -> Any:
        raise ImportError("needs the torchsde library")

    one = saved("DDIMScheduler", tmp_path, beta_schedule="linear")
    monkeypatch.setattr(SamplingScheduler, "build", lacking)
    (only,) = faults(one)
    assert only.status == "warn"
    assert "torchsde" in only.summary


def test_a_scheduler_of_flows_is_named(tmp_path: Path) -> None:
    (only,) = faults(saved("FlowMatchEulerDiscreteScheduler", tmp_path))
    assert only.status == "fail"
    assert "samples flows" in only.summary


def test_what_is_no_scheduler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match=r"no scheduler_config\.json"):
        read_sampling_scheduler(tmp_path)
    (tmp_path / "scheduler_config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(DiffevalError, match="does not know as a scheduler"):
        read_sampling_scheduler(tmp_path)
