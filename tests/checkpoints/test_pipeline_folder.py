"""A pipeline's folder, loaded by the public way, draws what the pipeline's own call draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from tiny_pipelines import SD_SCHEDULE, make

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.text import with_prompts
from diffeval.data.prompts import Prompt
from diffeval.diffusion.conditions import balanced_labels
from diffeval.diffusion.noise import initial_noise
from diffeval.plan import Settings, plan_images

PROMPTS = (Prompt("0", "a red cat", negative="blurry"), Prompt("1", "two dogs under a tree, and so on and on and on"))
SHAPE = (4, 8, 8)


@pytest.fixture(scope="module", params=["sd", "sd-v", "sdxl", "dit", "ldm"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Checkpoint]:
    folder = tmp_path_factory.mktemp(request.param) / "pipeline"
    pipeline = make(request.param, folder)
    checkpoint = load(folder)
    return request.param, pipeline, with_prompts(checkpoint, PROMPTS) if checkpoint.text else checkpoint


def _ours(checkpoint: Checkpoint, w: float | None, steps: int, n: int = 2) -> np.ndarray:
    """Pixels from 0 to 1 before they are rounded."""
    plan = plan_images(checkpoint, Settings(n=n, steps=steps, w=w, device="cpu"))
    generator: Any = plan.generator
    x = generator.decode(generator.latents(range(n)))
    found: np.ndarray = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return found


def _theirs(kind: str, pipeline: Any, w: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The pipeline's own call on the same noise."""
    noise = initial_noise(0, range(2), SHAPE if kind != "ldm" else (3, 8, 8))
    common = {"num_inference_steps": steps, "output_type": "np"}
    if kind in ("dit", "ldm"):
        monkeypatch.setattr(f"{type(pipeline).__module__}.randn_tensor", lambda *one, **more: noise.clone())
        labels = {"class_labels": balanced_labels(0, 2, 1000).tolist(), "guidance_scale": w}
        found: np.ndarray = pipeline(**(labels if kind == "dit" else {"batch_size": 2}), **common).images
        return found
    # One by one where negative prompts differ in being there at all.
    images = []
    for row, one in enumerate(PROMPTS):
        negative = {"negative_prompt": one.negative} if one.negative else {}
        images.append(
            pipeline(one.text, latents=noise[row : row + 1], guidance_scale=w, **negative, **common).images[0]
        )
    return np.stack(images)


@pytest.mark.parametrize("w", [1.0, 5.0])
def test_images_are_those_of_the_pipelines_own_call(
    pair: tuple[str, Any, Checkpoint], w: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, pipeline, checkpoint = pair
    expected = _theirs(kind, pipeline, w, 4, monkeypatch)
    found = _ours(checkpoint, None if kind == "ldm" else w, 4)
    assert found.shape == expected.shape == (2, 16, 16, 3)
    assert float(expected.std()) > 0.01, "images with something in them"
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_guidance_scale_is_the_pipelines_own_where_none_is_given(pair: tuple[str, Any, Checkpoint]) -> None:
    kind, _, checkpoint = pair
    generator: Any = plan_images(checkpoint, Settings(n=2, steps=4, device="cpu")).generator
    assert generator.w == {"sd": 7.5, "sd-v": 7.5, "sdxl": 5.0, "dit": 4.0, "ldm": None}[kind]
    assert generator.image_shape == (3, 16, 16)


def test_latents_and_back_are_the_autoencoders(pair: tuple[str, Any, Checkpoint]) -> None:
    kind, pipeline, checkpoint = pair
    vae = pipeline.vqvae if kind == "ldm" else pipeline.vae
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = checkpoint.latents
    assert latents is not None
    encoded = vae.encode(pixels)
    z = encoded.latents if kind == "ldm" else encoded.latent_dist.mode()
    torch.testing.assert_close(latents.encode(pixels), z * vae.config.scaling_factor)
    torch.testing.assert_close(latents.decode(z * vae.config.scaling_factor), vae.decode(z).sample, atol=1e-5, rtol=0)


def test_settings_that_stable_diffusion_overrides_are_overridden_and_said(tmp_path: Path) -> None:
    pipeline = make("sd", tmp_path / "old")
    DDIMScheduler(**SD_SCHEDULE, clip_sample=True, steps_offset=0).save_pretrained(tmp_path / "old" / "scheduler")
    checkpoint = load(tmp_path / "old")
    assert "the scheduler's steps_offset 0 as 1, clip_sample True as False, as StableDiffusionPipeline takes it" in (
        checkpoint.assumptions
    )
    with pytest.warns(FutureWarning):
        theirs = type(pipeline).from_pretrained(tmp_path / "old")
    theirs.set_progress_bar_config(disable=True)
    noise = initial_noise(0, range(1), SHAPE)
    expected = theirs(PROMPTS[1].text, latents=noise, num_inference_steps=4, output_type="np").images
    found = _ours(with_prompts(checkpoint, PROMPTS[1:]), None, 4, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
