"""The checks that read type, schedule and timestep from the weights: the digits model as it is, and sabotaged."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Subject, look
from diffeval.checks.real_images import model_images
from diffeval.checks.time_path import participation_ratio, read_embedding
from diffeval.data.source import ImageSource
from diffeval.diffusion.samplers import Sampler
from diffeval.diffusion.schedule import named_schedule
from diffeval.plan import Settings, plan_sampling
from diffeval.runs.records import CheckResult

NAMES = ("untrained", "timestep-embedding", "prediction-type", "noise-schedule")
N = 16


@pytest.fixture(scope="module")
def looked(digit_images: ImageSource) -> Callable[[Checkpoint], dict[str, CheckResult]]:
    def look_at(checkpoint: Checkpoint) -> dict[str, CheckResult]:
        subject = Subject(checkpoint, plan_sampling(checkpoint, Settings(n=N)).generator, N, digit_images)  # type: ignore
        return {name: look(name, subject)[0] for name in NAMES}

    return look_at


def _patched(digits: Checkpoint, change: Callable[[torch.nn.Module], object]) -> Checkpoint:
    network = copy.deepcopy(digits.network)
    with torch.no_grad():
        change(network)
    assert digits.adapter is not None
    return dataclasses.replace(digits, network=network, denoiser=digits.adapter(network))


def _told(digits: Checkpoint, time: Callable[[torch.Tensor], torch.Tensor]) -> Checkpoint:
    return dataclasses.replace(
        digits, denoiser=lambda x, t, condition: digits.denoiser(x, time(torch.as_tensor(t)), condition)
    )


def _statuses(found: dict[str, CheckResult]) -> dict[str, str]:
    return {name: one.status for name, one in found.items()}


def test_the_digits_model_passes(digits: Checkpoint, looked) -> None:  # type: ignore[no-untyped-def]
    found = looked(digits)
    assert set(_statuses(found).values()) == {"pass"}
    assert found["noise-schedule"].values["rms"] < 0.1
    assert found["prediction-type"].values["margin"] > 2.0


def test_random_weights_end_it_there(digits: Checkpoint, looked) -> None:  # type: ignore[no-untyped-def]
    def shuffle(network: torch.nn.Module) -> None:
        random = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                order = torch.randperm(parameter.numel(), generator=random)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))

    found = looked(_patched(digits, shuffle))
    assert found["untrained"].status == "fail"
    assert "random weights" in found["untrained"].fix
    assert {found[name].status for name in NAMES[1:]} == {"inconclusive"}


def test_weights_that_are_not_numbers(digits: Checkpoint, looked) -> None:  # type: ignore[no-untyped-def]
    found = looked(_patched(digits, lambda network: network.conv_out.weight.fill_(float("nan"))))  # type: ignore
    assert found["untrained"].status == "fail"
    assert "NaN" in found["untrained"].summary


def test_a_dead_timestep_embedding(digits: Checkpoint, looked) -> None:  # type: ignore[no-untyped-def]
    def silence(network: torch.nn.Module) -> None:
        for parameter in network.time_embedding.linear_2.parameters():  # type: ignore[union-attr]
            parameter.zero_()

    found = looked(_patched(digits, silence))
    assert found["timestep-embedding"].status == "fail"
    assert "time_embedding.linear_2" in found["timestep-embedding"].fix
    # What cannot be read without a timestep is not said to be wrong.
    assert found["noise-schedule"].status == "inconclusive"
    assert found["prediction-type"].status in ("pass", "inconclusive")


def test_a_network_that_is_declared_to_take_no_time_is_not_accused(digits: Checkpoint, looked) -> None:  # type: ignore
    assert digits.adapter is not None
    agnostic = dataclasses.replace(digits.adapter, time="none")  # type: ignore[type-var]
    planted = _told(dataclasses.replace(digits, adapter=agnostic), lambda t: torch.zeros_like(t) + 500)
    assert looked(planted)["timestep-embedding"].status == "pass"


@pytest.mark.parametrize(
    ("name", "timesteps", "said"),
    [("linear", 1000, "squaredcos_cap_v2, 1000"), ("squaredcos_cap_v2", 50, "squaredcos_cap_v2, 1000")],
)
def test_another_schedule_is_declared(digits: Checkpoint, looked, name: str, timesteps: int, said: str) -> None:  # type: ignore
    planted = dataclasses.replace(digits, schedule=named_schedule(name, timesteps), sampler=None, steps=None)
    found = looked(planted)
    schedule = found.pop("noise-schedule")
    assert schedule.status == "fail"
    assert said in schedule.summary
    assert "--schedule squaredcos_cap_v2 --timesteps 1000" in schedule.fix
    assert "prediction type" in schedule.ruled_out[0]
    assert set(_statuses(found).values()) == {"pass"}


@pytest.mark.parametrize("declared", ["sample", "v_prediction"])
def test_another_prediction_type_is_declared(digits: Checkpoint, looked, declared: str) -> None:  # type: ignore
    found = looked(dataclasses.replace(digits, prediction=declared))
    kind = found.pop("prediction-type")
    assert kind.status == "fail"
    assert "the weights predict epsilon" in kind.summary
    assert "--prediction epsilon" in kind.fix
    assert set(_statuses(found).values()) == {"pass"}


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (lambda t: 999 - t, "reversed"),
        (lambda t: t.float() / 1000, "t / 1000"),
        (lambda t: t // 2, "squaredcos_cap_v2, 2000 timesteps"),
    ],
)
def test_a_mistaken_index_is_named(digits: Checkpoint, looked, time, said: str) -> None:  # type: ignore[no-untyped-def]
    schedule = looked(_told(digits, time))["noise-schedule"]
    assert schedule.status == "fail"
    assert said in schedule.summary


def test_the_sampler_is_looked_at_too(digits: Checkpoint, looked, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore
    import diffusers

    class Shifted(diffusers.DDIMScheduler):  # type: ignore[misc]
        """Noises images as if a hundred timesteps had passed."""

        def add_noise(self, original_samples, noise, timesteps):  # type: ignore[no-untyped-def]
            return super().add_noise(original_samples, noise, (timesteps + 100).clamp(max=999))

    monkeypatch.setattr(diffusers, "ShiftedScheduler", Shifted, raising=False)
    sampler = Sampler("declared", "ShiftedScheduler", {"clip_sample": False}, {"eta": 0.0})
    planted = dataclasses.replace(digits, sampler=sampler, steps=20)
    schedule = looked(planted)["noise-schedule"]
    assert schedule.status == "fail"
    assert "ShiftedScheduler" in schedule.summary


def test_participation_ratio_of_a_line_and_a_ball() -> None:
    line = torch.arange(10.0)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
    assert participation_ratio(line.double().numpy()) == pytest.approx(1.0)
    ball = torch.cat([torch.eye(4), -torch.eye(4)]).double().numpy()
    assert participation_ratio(ball) == pytest.approx(4.0)
    assert participation_ratio(torch.ones(5, 3).double().numpy()) == 0.0


def test_half_of_the_timesteps_share_an_embedding_in_bfloat16(digits: Checkpoint, digit_images: ImageSource) -> None:
    """Integers above 256 need more than the 8 bits of its significand: 256 + 128 + 64 + 59 remain of 1,000."""
    planted = _told(digits, lambda t: t.bfloat16().float())
    embedding = read_embedding(planted, model_images(digit_images, planted), torch.device("cpu"))
    assert embedding is not None
    expected = len({float(torch.tensor(float(t)).bfloat16()) for t in range(1000)})
    assert embedding.distinct == pytest.approx(expected / 1000, abs=1e-9)
    assert embedding.where == "time_embedding.linear_2"
