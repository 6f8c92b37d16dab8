"""Samplers that solve their equation pass, by a solution that is known; those that miss it are told apart."""

import dataclasses
import re
from collections.abc import Callable

import diffusers
import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Finding, Subject, look
from diffeval.checks.step_convergence import Solved, _judge
from diffeval.diffusion import samplers
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import from_betas, named_schedule
from diffeval.plan import Settings, plan_sampling
from diffeval.runs.records import CheckResult

S = 0.25  # of the Gaussian model, see conftest
# The largest multiple of 80 timesteps of the linear schedule with a signal power of 0.01 and more.
CUT = 640


def _look(checkpoint: Checkpoint, n: int = 16, **settings: object) -> tuple[CheckResult, Finding]:
    plan = plan_sampling(checkpoint, Settings(n=n, device="cpu", **settings))  # type: ignore[arg-type]
    return look("step-convergence", Subject(checkpoint, plan.generator, n))  # type: ignore[arg-type]


def _gains() -> tuple[dict[int, float], float]:
    """DDIM's x_0 / x_T on the Gaussian model by number of steps, worked out scalar by scalar; and the exact one."""
    alpha_bar = named_schedule("linear").alpha_bar.astype(np.float64)[:CUT]

    def gain(steps: int) -> float:
        stride, x = CUT // steps, 1.0
        for t in range(CUT - 1, -1, -stride):
            a = alpha_bar[t]
            after = alpha_bar[t - stride] if t >= stride else 1.0
            eps = np.sqrt(1 - a) * x / (a * S**2 + 1 - a)
            clean = (x - np.sqrt(1 - a) * eps) / np.sqrt(a)
            x = np.sqrt(after) * clean + np.sqrt(1 - after) * eps
        return float(x)

    a = alpha_bar[-1]
    return {steps: gain(steps) for steps in (5, 10, 20, 40, 80)}, float(S / np.sqrt(a * S**2 + 1 - a))


def test_errors_of_a_solved_model_are_those_worked_out_by_hand(gaussian: Callable[..., Checkpoint]) -> None:
    result, finding = _look(gaussian())
    gains, exact = _gains()
    noise = initial_noise(0, range(16), (1, 8, 8)).flatten(1).double()
    # e(N) is the difference of two gains times the root mean square of a seed's noise; the median seed's is shown.
    typical = float(np.median(noise.square().mean(dim=1).sqrt().numpy()))
    for row in finding.rows:
        few = int(str(row["steps"]))
        assert row["e_ddim"] == pytest.approx(typical * abs(gains[few] - gains[2 * few]), rel=1e-3)
    assert [row["steps"] for row in finding.rows] == [5, 10, 20, 40]
    assert result.status == "pass", result.summary
    # First order: a doubling halves the error in the end, and leaves as much of it as it took away.
    found = [float(str(row["e_ddim"])) for row in finding.rows]
    assert found[3] / found[2] == pytest.approx(0.5, abs=0.04)
    assert found[3] / found[2] < found[2] / found[1] < found[1] / found[0]
    assert result.values["order"] == pytest.approx(np.log2(found[1] / found[3]) / 2, abs=1e-6)
    assert result.values["e_ddim"] == pytest.approx(typical * abs(gains[80] - exact), rel=0.1)


def test_the_end_is_the_exact_one(gaussian: Callable[..., Checkpoint]) -> None:
    """The other sampler, of second order, ends where the equation does: as far from DDIM as the exact solution."""
    result, _ = _look(gaussian())
    gains, exact = _gains()
    assert result.values["apart"] == pytest.approx(abs(gains[80] - exact), rel=0.15)


@pytest.mark.parametrize(("name", "order"), [("dpm++", 2), ("euler", 1), ("heun", 2), ("unipc", 2)])
def test_other_samplers_solve_it_too_with_their_own_order(
    gaussian: Callable[..., Checkpoint], name: str, order: int
) -> None:
    result, _ = _look(gaussian(), sampler=name)
    assert result.status == "pass", result.summary
    assert 0.75 * order < result.values["order"] < 1.1 * order


def test_euler_is_ddim_by_another_name_once_both_start_alike(gaussian: Callable[..., Checkpoint]) -> None:
    """Left to itself, Euler starts with 0.8% less noise where a schedule ends with signal left."""
    (_, euler), (_, ddim) = _look(gaussian(), sampler="euler"), _look(gaussian())
    for one, other in zip(euler.rows, ddim.rows, strict=True):
        assert one["e_euler"] == pytest.approx(other["e_ddim"], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "karras"),
    [
        ("ddim", None), ("ddpm", None), ("dpm++", None), ("euler", None), ("heun", None), ("pndm", None),
        ("unipc", None), ("euler", True), ("heun", True),
    ],
)  # fmt: skip
def test_healthy_samplers_pass(digits: Checkpoint, name: str, karras: bool | None) -> None:
    result, finding = _look(digits, sampler=name, karras=karras, n=4)
    assert result.status == "pass", result.summary
    assert result.values["order"] > 0.7
    assert result.values["apart"] < 0.5 * result.values["apart_limit"]
    errors = [float(str(value)) for row in finding.rows for key, value in row.items() if key != "steps"]
    assert errors == sorted(errors, reverse=True)
    if name == "ddpm":
        assert "DDPMScheduler draws noise at its steps, ddim stands in for it" in result.summary


def test_no_more_seeds_are_spent_than_allowed(gaussian: Callable[..., Checkpoint]) -> None:
    checkpoint, sizes = gaussian(), set()

    def counting(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        sizes.add(len(x))
        return gaussian().denoiser(x, t, condition)

    _look(dataclasses.replace(checkpoint, denoiser=counting), n=3)
    assert sizes == {3}


class Strided(diffusers.DDIMScheduler):
    """Its steps reach 1.25 times less far than its timesteps lie apart."""

    def step(self, *args: object, **options: object) -> object:
        kept = self.num_inference_steps
        self.num_inference_steps = int(kept * 1.25)
        try:
            return super().step(*args, **options)
        finally:
            self.num_inference_steps = kept


def _declaring(checkpoint: Checkpoint, sampler: Sampler, steps: int = 20) -> Checkpoint:
    return dataclasses.replace(checkpoint, sampler=sampler, steps=steps)


def test_a_stride_that_is_too_short_does_not_converge(digits: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers, "Strided", Strided, raising=False)
    monkeypatch.setattr(samplers, "_DETERMINISTIC", {*samplers._DETERMINISTIC, "Strided"})
    planted = Sampler("declared", "Strided", {"timestep_spacing": "trailing"}, {"eta": 0.0})
    result, _ = _look(_declaring(digits, planted))
    assert result.status == "fail"
    assert result.summary.startswith("Strided does not converge: doubling 40 steps still moves images by")
    assert "timestep_spacing" in result.fix


def test_noise_levels_that_stop_too_early_end_elsewhere(digits: Checkpoint) -> None:
    config = {"use_karras_sigmas": True, "sigma_min": 0.3, "timestep_spacing": "trailing"}
    result, _ = _look(_declaring(digits, Sampler("declared", "EulerDiscreteScheduler", config)))
    assert result.status == "fail"
    assert "EulerDiscreteScheduler and dpm++ converge to different images" in result.summary
    assert "sigma_min" in result.fix
    assert result.values["apart"] > 3 * result.values["apart_limit"]


@pytest.mark.parametrize("timesteps", [2, 4, 30])
def test_too_few_timesteps_show_nothing(gaussian: Callable[..., Checkpoint], timesteps: int) -> None:
    schedule = from_betas(np.full(timesteps, 0.05))
    result, finding = _look(gaussian(schedule, steps=2))
    assert result.status == "inconclusive"
    assert f"{timesteps} timesteps with a signal power above 0.01; 40 steps and more are needed" in result.summary
    assert not finding.rows


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_a_network_that_ends_in_nan_is_told(gaussian: Callable[..., Checkpoint], sampler: str) -> None:
    checkpoint = dataclasses.replace(gaussian(), denoiser=lambda x, t, condition: torch.full_like(x, torch.nan))
    result, _ = _look(checkpoint, sampler=sampler)
    assert (result.status, result.summary) == ("fail", "sampling ends in NaN or infinity")
    assert not result.values


def test_a_model_that_is_solved_at_once_has_no_order_to_speak_of(gaussian: Callable[..., Checkpoint]) -> None:
    """An x_0 that does not depend on x: the error is nothing at any number of steps."""
    flat = dataclasses.replace(gaussian(), denoiser=lambda x, t, condition: torch.zeros_like(x), prediction="sample")
    result, _ = _look(flat)
    assert result.status == "pass"
    assert re.match(r"ddim converges to nothing: doubling 40 steps moves images by 0;", result.summary)


def _walk(name: str, moves: list[float], end: float) -> Solved:
    """One pixel of two seeds that moves so far at each doubling, and ends there."""
    positions = [end]
    for move in reversed(moves):
        positions.append(positions[-1] - move)
    counts = [5 * 2**power for power in range(len(positions))]
    return Solved(name, {count: np.full((2, 1), at) for count, at in zip(counts, reversed(positions), strict=True)})


def test_samplers_that_move_alike_are_not_at_fault() -> None:
    """Neither converges, and both end at the same place: that is the network's doing."""
    moving = [0.03, 0.03, 0.03, 0.03]
    alike = _judge(_walk("ddim", moving, 1.0), _walk("dpm++", moving[-1:], 1.01), 0.3, 3.0, 1e-3)
    assert alike.status == "pass"
    assert "the network is unsure" in alike.summary
    # The other one converges: then the first should, too.
    alone = _judge(_walk("ddim", moving, 1.0), _walk("dpm++", [0.001], 1.01), 0.3, 3.0, 1e-3)
    assert alone.status == "fail"
    # They end further apart than a doubling moves them.
    apart = _judge(_walk("ddim", moving, 1.0), _walk("dpm++", moving[-1:], 1.05), 0.3, 3.0, 1e-3)
    assert apart.status == "fail"
