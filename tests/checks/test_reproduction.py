"""What another pipeline does otherwise is named from its images, and one that does as it says is not accused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.text import with_prompts
from diffeval.checks.check import Subject, look
from diffeval.checks.made_images import read_made
from diffeval.data.prompts import Prompt
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_images

sys.path.append(str(Path(__file__).parents[1] / "checkpoints"))
from tiny_pipelines import make

W, STEPS, N = 4.0, 10, 6


@pytest.fixture(scope="module")
def digits() -> Checkpoint:
    return load("digits")


def _looked(checkpoint: Checkpoint, path: Path, **settings: Any) -> Any:
    generator = plan_images(checkpoint, Settings(n=2, device="cpu", **({"w": W, "steps": STEPS} | settings))).generator
    assert isinstance(generator, Generator)
    return look("reproduction", Subject(checkpoint, generator, 2, made=read_made(path)))[0]


def _ddim(checkpoint: Checkpoint, noise: torch.Tensor, labels: torch.Tensor, formula: Any) -> np.ndarray:
    """Somebody's own loop over diffusers' scheduler; formula(conditional, unconditional) is their guidance."""
    scheduler = DDIMScheduler(
        trained_betas=list(checkpoint.schedule.betas), prediction_type=checkpoint.prediction, clip_sample=True,
        timestep_spacing="trailing",
    )  # fmt: skip
    scheduler.set_timesteps(STEPS)
    x = noise
    null = torch.full_like(labels, checkpoint.null_class or 0)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            guided = formula(checkpoint.denoiser(x, t, labels), checkpoint.denoiser(x, t, null))
            x = scheduler.step(guided, t, x, use_clipped_model_output=True).prev_sample
    return ((x + 1) * 127.5).round().clamp(0, 255).byte().numpy()


FORMULAS = {
    "nothing": (lambda c, u: u + W * (c - u), None),
    "from 0": (
        lambda c, u: c + W * (c - u),
        "w near 5, as where it is counted from 0: eps_cond + w (eps_cond - eps_uncond)",
    ),
    "none": (lambda c, u: c, "no guidance"),
    "exchanged": (lambda c, u: c + W * (u - c), "branches of guidance exchanged"),
    "deaf": (lambda c, u: u, "prompt or class left out"),
}


@pytest.mark.parametrize("fault", FORMULAS)
def test_a_wrong_guidance_formula_is_named(digits: Checkpoint, tmp_path: Path, fault: str) -> None:
    formula, name = FORMULAS[fault]
    noise = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(N)
    np.savez(
        tmp_path / "made.npz",
        images=_ddim(digits, noise, labels, formula),
        noise=noise.numpy(),
        labels=labels.numpy(),
    )
    found = _looked(digits, tmp_path / "made.npz", sampler="ddim")
    assert found.status == ("pass" if name is None else "fail"), found.summary
    if name is not None:
        assert f"the images are made with {name}:" in found.summary
        assert found.values["decided"] == 1.0
    else:
        assert found.values["as_stated"] < 1.0


def test_another_sampler_is_named(digits: Checkpoint, tmp_path: Path) -> None:
    noise = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(N)
    images = _ddim(digits, noise, labels, FORMULAS["nothing"][0])
    np.savez(tmp_path / "made.npz", images=images, noise=noise.numpy(), labels=labels.numpy())
    found = _looked(digits, tmp_path / "made.npz", sampler="dpm++")
    assert found.status == "fail"
    assert "the images are made with sampler ddim:" in found.summary


def test_images_of_other_noise_accuse_nobody(digits: Checkpoint, tmp_path: Path) -> None:
    noise = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images = _ddim(digits, noise, torch.arange(N), FORMULAS["nothing"][0])
    np.savez(tmp_path / "made.npz", images=images, seeds=np.arange(N), labels=np.arange(N))
    found = _looked(digits, tmp_path / "made.npz", sampler="ddim")
    assert found.status == "inconclusive"
    assert "give the noise itself" in found.fix


def _made(digits: Checkpoint, path: Path, n: int = N, **changes: Any) -> np.ndarray:
    """Images as the settings say, or as ``formula`` does; what is changed of the file."""
    noise = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    formula = changes.pop("formula", FORMULAS["nothing"][0])
    images = _ddim(digits, noise, torch.arange(n), formula)
    np.savez(path, **({"images": images, "noise": noise.numpy(), "labels": np.arange(n)} | changes))
    return images


@pytest.mark.parametrize("n", [1, N])
def test_another_scale_is_named_also_from_a_single_image(digits: Checkpoint, tmp_path: Path, n: int) -> None:
    _made(digits, tmp_path / "made.npz", n, formula=lambda c, u: u + 6.0 * (c - u))
    found = _looked(digits, tmp_path / "made.npz", sampler="ddim")
    assert found.status == "fail"
    assert "made with w near 6: " in found.summary


def test_images_that_are_near_and_not_the_same_are_no_pass(digits: Checkpoint, tmp_path: Path) -> None:
    """As after strong compression: nearer to what the settings say than to anything, and not within the limit."""
    images = _made(digits, tmp_path / "made.npz")
    noise = np.random.Generator(np.random.Philox(0)).normal(0, 9, images.shape)
    _made(digits, tmp_path / "made.npz", images=(images + noise).clip(0, 255).astype(np.uint8))
    found = _looked(digits, tmp_path / "made.npz", sampler="ddim")
    assert found.status == "warn"
    assert "save images without loss" in found.fix
    assert found.values["as_stated"] > 4.0


def test_steps_that_other_samplers_cannot_take_leave_them_out(digits: Checkpoint, tmp_path: Path) -> None:
    """28 do not divide 1000: DDIM refuses them, and the verdict is there all the same."""
    _made(digits, tmp_path / "made.npz")
    found = _looked(digits, tmp_path / "made.npz", sampler="dpm++", steps=28)
    assert found.status in ("warn", "fail", "inconclusive")


def test_images_of_a_single_colour_tell_nothing(digits: Checkpoint, tmp_path: Path) -> None:
    _made(digits, tmp_path / "made.npz", images=np.zeros((N, 8, 8, 1), np.uint8))
    found = _looked(digits, tmp_path / "made.npz", sampler="ddim")
    assert (found.status, found.summary) == ("inconclusive", f"{N} of {N} images are of a single colour")


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"noise": np.full((N, 1, 8, 8), np.nan)}, "noise in .* holds NaN or infinity"),
        ({"labels": np.arange(N) - 1}, "holds the label -1, digits has 10 classes"),
        ({"labels": np.arange(N) + 77}, "holds the label 77, digits has 10 classes"),
        ({"labels": np.array(3)}, r"labels in .* is int64 \[\], needs one whole number for each of 6 images"),
        ({"labels": np.arange(N) * 0.5}, r"labels in .* is float64 \[6\], needs one whole number"),
        ({"negatives": np.array("blurry")}, r"negatives in .* is <U6 \[\], needs one text for each"),
    ],
)
def test_what_cannot_be_drawn_of_is_one_line(
    digits: Checkpoint, tmp_path: Path, held: dict[str, Any], said: str
) -> None:
    _made(digits, tmp_path / "made.npz", **held)
    with pytest.raises(DiffevalError, match=said):
        _looked(digits, tmp_path / "made.npz", sampler="ddim")


PROMPTS = ("a cat", "two dogs", "rain", "a red house")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Checkpoint]:
    folder = tmp_path_factory.mktemp("served") / "pipeline"
    made = make("sd", folder)
    return made, with_prompts(load(folder), (Prompt("0", ""),))


def _serve(pipeline: Any, *, negative: bool = True, **call: Any) -> np.ndarray:
    """What diffusers' own pipeline makes of these prompts, each with its seed."""
    images = []
    for seed, text in enumerate(PROMPTS):
        more = {"negative_prompt": "blurry, dark, and of low quality"} if negative else {}
        images.append(
            pipeline(
                text, generator=torch.Generator().manual_seed(seed), num_inference_steps=STEPS, output_type="np",
                **({"guidance_scale": W} | more | call),
            ).images[0]
        )  # fmt: skip
    return np.round(np.stack(images) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({}, None),
        ({"negative": False}, "the negative prompt left out"),
        ({"guidance_scale": W + 1}, "w near 5, as where it is counted from 0: eps_cond + w (eps_cond - eps_uncond)"),
    ],
    ids=["nothing", "negative", "scale"],
)
def test_what_a_text_pipeline_does_otherwise_is_named(
    pipeline: tuple[Any, Checkpoint], tmp_path: Path, call: dict[str, Any], name: str | None
) -> None:
    theirs, checkpoint = pipeline
    np.savez(
        tmp_path / "made.npz", images=_serve(theirs, **call), seeds=np.arange(len(PROMPTS)), prompts=np.array(PROMPTS),
        negatives=np.full(len(PROMPTS), "blurry, dark, and of low quality"),
    )  # fmt: skip
    found = _looked(checkpoint, tmp_path / "made.npz")
    if name is None:
        assert found.status == "pass", found.summary
        assert found.values["as_stated"] < 1.0
    else:
        assert f"made with {name}:" in found.summary


def test_colours_in_reverse_are_named(pipeline: tuple[Any, Checkpoint], tmp_path: Path) -> None:
    theirs, checkpoint = pipeline
    images = _serve(theirs, negative=False)[..., ::-1]
    np.savez(tmp_path / "made.npz", images=images, seeds=np.arange(len(PROMPTS)), prompts=np.array(PROMPTS))
    found = _looked(checkpoint, tmp_path / "made.npz")
    assert found.status == "fail"
    assert "made with colour channels in reverse order" in found.summary


def test_without_a_file_it_does_not_apply(digits: Checkpoint) -> None:
    generator = plan_images(digits, Settings(n=2, device="cpu")).generator
    assert isinstance(generator, Generator)
    result, _ = look("reproduction", Subject(digits, generator, 2))
    assert (result.status, "give --made" in result.summary) == ("not-applicable", True)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"noise": np.zeros((2, 1, 8, 8))}, "has no images; it may hold images, noise, seeds"),
        ({"images": np.zeros((2, 8, 8, 1), np.uint8)}, "needs what the images began with: noise, or seeds"),
        ({"images": np.zeros((2, 8, 8, 1)), "seeds": np.arange(2)}, r"are float64 \[2, 8, 8, 1\], need uint8"),
        (
            {"images": np.zeros((2, 8, 8, 1), np.uint8), "seeds": np.arange(3)},
            r"seeds in .* is int64 \[3\], needs one whole number for each of 2 images",
        ),
        ({"images": np.zeros((2, 8, 8, 1), np.uint8), "seed": np.arange(2)}, "holds seed; it may hold"),
        (
            {"images": np.zeros((2, 8, 8, 1), np.uint8), "seeds": np.arange(2), "prompts": np.array([{}, {}])},
            "cannot read .*made.npz: Object arrays cannot be loaded",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path: Path, held: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "made.npz", **held)
    with pytest.raises(DiffevalError, match=said) as caught:
        read_made(tmp_path / "made.npz")
    assert "\n" not in str(caught.value)


def test_noise_and_images_of_another_shape_and_missing_conditions_are_refused(
    digits: Checkpoint, pipeline: tuple[Any, Checkpoint], tmp_path: Path
) -> None:
    path, images = tmp_path / "made.npz", np.zeros((2, 8, 8, 1), np.uint8)
    for held, said, checkpoint in (
        ({"noise": np.zeros((2, 1, 4, 4)), "labels": np.arange(2)}, r"noise in .* is \[1, 4, 4\]", digits),
        ({"seeds": np.arange(2)}, "holds no labels, and digits makes images by class", digits),
        ({"seeds": np.arange(2)}, "holds no prompts, and pipeline makes images of text", pipeline[1]),
    ):
        np.savez(path, images=images, **held)
        with pytest.raises(DiffevalError, match=said):
            _looked(checkpoint, path)
    np.savez(path, images=np.zeros((2, 9, 9, 1), np.uint8), seeds=np.arange(2), labels=np.arange(2))
    with pytest.raises(DiffevalError, match=r"are \[1, 9, 9\], digits makes \[1, 8, 8\]"):
        _looked(digits, path)
