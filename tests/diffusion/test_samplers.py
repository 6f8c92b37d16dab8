"""Samplers honour the schedule or say that they cannot; on a solved problem they all find the solution."""

import numpy as np
import pytest
import torch

from diffeval.diffusion.guidance import guided
from diffeval.diffusion.prediction import PREDICTION_TYPES, PredictionType
from diffeval.diffusion.samplers import SAMPLERS, build_scheduler, is_stochastic, named_sampler
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import SCHEDULE_NAMES, NoiseSchedule, named_schedule
from diffeval.errors import DiffevalError

MEAN, STD = 0.1, 0.25


def _oracle(schedule: NoiseSchedule, prediction: PredictionType):  # type: ignore[no-untyped-def]
    """The exact denoiser of data that is N(0.1, 0.25^2) in every pixel, for any prediction type."""
    alpha_bar = torch.tensor(schedule.alpha_bar)

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        a = alpha_bar[t.long()].reshape(-1, 1, 1, 1)
        x0 = MEAN + a.sqrt() * STD**2 / (a * STD**2 + 1 - a) * (x - a.sqrt() * MEAN)
        if prediction == "sample":
            return x0
        eps = (x - a.sqrt() * x0) / (1 - a).sqrt()
        return eps if prediction == "epsilon" else a.sqrt() * eps - (1 - a).sqrt() * x0

    return denoise


def _images(
    name: str, schedule: NoiseSchedule, prediction: PredictionType, steps: int, **options: float
) -> np.ndarray:  # type: ignore[type-arg]
    sampler = named_sampler(name, schedule, prediction, **options)  # type: ignore[arg-type]
    generator = Generator(
        denoiser=_oracle(schedule, prediction), shape=(1, 8, 8), schedule=schedule, prediction=prediction,
        sampler=sampler, steps=steps, w=None, classes=0, null_class=None, seed=0, device=torch.device("cpu"),
        dtype="fp32", decode=lambda x: x,
    )  # fmt: skip
    return generator.images(range(64)).astype(float) / 127.5 - 1


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule_name", SCHEDULE_NAMES)
def test_every_sampler_draws_the_known_distribution(name: str, schedule_name: str) -> None:
    schedule = named_schedule(schedule_name, 1000)
    images = _images(name, schedule, "epsilon", 200 if name == "ddpm" else 100)
    assert images.mean() == pytest.approx(MEAN, abs=0.02)
    assert images.std() == pytest.approx(STD, rel=0.1)


@pytest.mark.parametrize("prediction", PREDICTION_TYPES)
@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++", "euler", "unipc"])
def test_prediction_types(name: str, prediction: PredictionType) -> None:
    images = _images(name, named_schedule("squaredcos_cap_v2"), prediction, 200 if name == "ddpm" else 100)
    assert images.mean() == pytest.approx(MEAN, abs=0.02)
    assert images.std() == pytest.approx(STD, rel=0.1)


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++", "euler", "unipc"])
def test_zero_snr_is_honoured(name: str) -> None:
    schedule = named_schedule("scaled_linear", zero_snr=True)
    images = _images(name, schedule, "v_prediction", 200 if name == "ddpm" else 100)
    assert images.mean() == pytest.approx(MEAN, abs=0.02)


@pytest.mark.parametrize("name", ["heun", "pndm"])
def test_zero_snr_is_refused_where_it_would_be_lost(name: str) -> None:
    schedule = named_schedule("linear", zero_snr=True)
    sampler = named_sampler(name, schedule, "v_prediction")
    with pytest.raises(DiffevalError, match=rf"{name}.*cannot honour.*zero terminal SNR"):
        build_scheduler(sampler, schedule, "v_prediction", 20)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule_name", SCHEDULE_NAMES)
def test_the_built_schedule_is_the_checkpoints(name: str, schedule_name: str) -> None:
    schedule = named_schedule(schedule_name, 100)
    scheduler = build_scheduler(named_sampler(name, schedule, "epsilon"), schedule, "epsilon", 10)
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), schedule.alpha_bar, atol=1e-6)


def test_pndm_cannot_sample_x0_predictions() -> None:
    schedule = named_schedule("linear")
    with pytest.raises(DiffevalError, match="pndm cannot sample a model that predicts 'sample'"):
        build_scheduler(named_sampler("pndm", schedule, "sample"), schedule, "sample", 20)


@pytest.mark.parametrize("steps", [0, 1001, -5])
def test_impossible_steps(steps: int) -> None:
    schedule = named_schedule("linear")
    with pytest.raises(DiffevalError, match=f"{steps} steps, must be from 1 to the 1000"):
        build_scheduler(named_sampler("euler", schedule, "epsilon"), schedule, "epsilon", steps)


def test_ddim_refuses_steps_that_do_not_divide() -> None:
    schedule = named_schedule("linear")
    with pytest.raises(DiffevalError, match=r"13 does not divide the 1000.*use 8, 10, 20 steps"):
        build_scheduler(named_sampler("ddim", schedule, "epsilon"), schedule, "epsilon", 13)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dimm", {}, "did you mean 'ddim'"),
        ("euler", {"eta": 0.5}, "eta is an option of ddim"),
        ("ddim", {"eta": 1.5}, "from 0 to 1"),
        ("ddim", {"karras": True}, "use one of dpm\\+\\+, euler, heun, unipc"),
    ],
)
def test_wrong_options(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(DiffevalError, match=message):
        named_sampler(name, named_schedule("linear"), "epsilon", **options)  # type: ignore[arg-type]


def test_stochastic_samplers_are_known() -> None:
    schedule = named_schedule("linear")
    named = {name: named_sampler(name, schedule, "epsilon") for name in SAMPLERS}
    assert {name for name, sampler in named.items() if is_stochastic(sampler)} == {"ddpm"}
    assert is_stochastic(named_sampler("ddim", schedule, "epsilon", eta=0.3))


def test_karras_levels_change_the_timesteps() -> None:
    schedule = named_schedule("linear")
    plain, karras = (
        build_scheduler(
            named_sampler("dpm++", schedule, "epsilon", karras=on), schedule, "epsilon", 10
        ).timesteps.tolist()
        for on in (False, True)
    )
    assert plain != karras


def test_guidance_formula_and_its_single_branch_ends() -> None:
    calls = []

    def denoiser(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        calls.append(len(x))
        assert condition is not None
        return condition.reshape(-1, 1, 1, 1).expand_as(x).float()

    x, t = torch.zeros(2, 1, 1, 1), torch.tensor(1)
    condition, null = torch.tensor([3, 5]), torch.tensor([1, 1])
    values = {w: guided(denoiser, x, t, condition, null, w).flatten().tolist() for w in (0.0, 1.0, 2.5)}
    # 1 + 2.5 (3 - 1) = 6, 1 + 2.5 (5 - 1) = 11.
    assert values == {0.0: [1.0, 1.0], 1.0: [3.0, 5.0], 2.5: [6.0, 11.0]}
    assert calls == [2, 2, 4]


@pytest.mark.parametrize("name", ["dpm++", "unipc"])
def test_karras_levels_that_begin_with_a_timestep_twice_are_refused(name: str) -> None:
    schedule = named_schedule("squaredcos_cap_v2")
    with pytest.raises(DiffevalError, match=r"begins with timestep 999 twice.*--no-karras"):
        build_scheduler(named_sampler(name, schedule, "epsilon", karras=True), schedule, "epsilon", 20)
    # A linear schedule ends with enough signal.
    schedule = named_schedule("linear")
    build_scheduler(named_sampler(name, schedule, "epsilon", karras=True), schedule, "epsilon", 20)
