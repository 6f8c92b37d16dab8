"""Folders of pipelines as they are found: whole, broken, in half precision, with a safety checker."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from drawn_pipelines import PROMPTS, SHAPE, copied, ours, write_index
from safetensors.torch import load_file, save_file
from tiny_pipelines import SD_SCHEDULE, make
from transformers import CLIPConfig, CLIPImageProcessor

from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.pipeline_sampling import declared_shape
from diffeval.checkpoints.pipelines import KINDS
from diffeval.checkpoints.scheduler_config import read_json
from diffeval.checkpoints.text import with_prompts
from diffeval.diffusion.noise import initial_noise
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_images


def test_what_only_latents_can_honour_is_refused_of_pixels() -> None:
    with pytest.raises(DiffevalError, match=r"--vae-tiling is of pipelines that work on latents, and digits works"):
        load("digits", LoadOptions(vae_tiling=True))
    with pytest.raises(DiffevalError, match=r"--safety-checker is of pipelines that work on latents"):
        load("digits", LoadOptions(safety_checker=False))


def test_no_room_to_decode_one_image_names_the_flag(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = load(saved)
    assert checkpoint.latents is not None

    def full(*one: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(checkpoint.latents.vae, "decode", full)
    with pytest.raises(DiffevalError, match=r"cpu has no room to decode one image of 16 x 16; give --vae-tiling"):
        checkpoint.decode(torch.zeros(1, 4, 8, 8))
    with pytest.raises(torch.OutOfMemoryError):  # of several: whoever asked can ask for fewer
        checkpoint.decode(torch.zeros(2, 4, 8, 8))


def test_sizes_that_flux_cannot_draw_are_refused(tmp_path: Path) -> None:
    make("flux-schnell", tmp_path / "flux")
    with pytest.raises(DiffevalError, match=r"--shape 4,7,8: FluxPipeline takes latents in squares of 2"):
        load(tmp_path / "flux", LoadOptions(shape=(4, 7, 8)))
    small, smaller = (load(tmp_path / "flux", LoadOptions(shape=(4, side, side))) for side in (8, 4))
    assert small.sha256 != smaller.sha256, "other sizes are another checkpoint's"
    assert small.overrides == ("--shape 4,8,8",)


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
    found = ours(with_prompts(checkpoint, PROMPTS[1:]), None, 4, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def rewrite(path: Path, **values: Any) -> None:
    """Replaces what a JSON file says."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: shutil.rmtree(one / "vae"), "has no vae/, which its model_index.json names"),
        (lambda one: shutil.rmtree(one / "tokenizer"), "has no tokenizer/, which its"),
        (lambda one: shutil.rmtree(one / "scheduler"), "has no scheduler/scheduler_config.json"),
        (
            lambda one: (one / "tokenizer" / "tokenizer.json").unlink(),
            "holds no vocabulary (tokenizer.json, or vocab.json with",
        ),
        (lambda one: (one / "unet" / "config.json").unlink(), "unet has no config.json; fetch it whole"),
        (lambda one: (one / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "vae has no weights; fetch it"),
        (
            lambda one: (one / "text_encoder" / "model.safetensors").write_bytes(b"\0" * 99),
            "text_encoder/model.safetensors",
        ),
        (lambda one: write_index(one, unet=["diffusers", "UNet2DModel"]), "names diffusers's UNet2DModel for unet"),
        (lambda one: write_index(one, vae=["os", "system"]), "names os's system for vae, which is not loaded"),
        (lambda one: write_index(one, vae=["pipeline", "AutoencoderKL"]), "names pipeline's AutoencoderKL for vae"),
        (
            lambda one: write_index(one, text_encoder=[None, None]),
            "names no text_encoder; a StableDiffusionPipeline needs",
        ),
        (lambda one: write_index(one, spy=["spy", "Spy"]), "names spy, which a StableDiffusionPipeline has not"),
        (lambda one: write_index(one, scheduler=["diffusers", "AutoencoderKL"]), "names AutoencoderKL for scheduler"),
        # diffusers would take it for a name on the hub, and ask there.
        (lambda one: (one / "vae" / "config.json").write_text('"org/name"'), "vae/config.json holds no JSON object"),
        (
            lambda one: rewrite(one / "unet" / "config.json", _diffusers_version="-5e-35"),
            "diffusers makes no StableDiffusionPipeline of these parts: InvalidVersion",
        ),
        (
            lambda one: rewrite(one / "text_encoder" / "config.json", intermediate_size=None),
            "cannot load the CLIPTextModel in",
        ),
        (
            lambda one: rewrite(one / "tokenizer" / "tokenizer_config.json", model_max_length=[24]),
            "its tokenizer says model_max_length [24], needs a number of tokens",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_one_line(saved: Path, tmp_path: Path, change: Any, said: str) -> None:
    folder = copied(saved, tmp_path / "broken")
    change(folder)
    with pytest.raises(DiffevalError) as caught:
        load(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_beside_the_weights_is_never_run(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "hostile")
    spy = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    for name in ("pipeline.py", "unet/modeling.py", "text_encoder/modeling_clip.py", "tokenizer/tokenization.py"):
        (folder / name).write_text(spy)
    config = folder / "text_encoder" / "config.json"
    held = json.loads(config.read_text())
    config.write_text(json.dumps(held | {"auto_map": {"AutoModel": "modeling_clip.CLIPTextModel"}}))
    load(folder)
    assert not (tmp_path / "ran").exists()


def test_half_precision_variants_are_read_where_there_is_nothing_else(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "half")
    for path in [*folder.glob("*/*.safetensors")]:
        state = {name: value.half() if value.is_floating_point() else value for name, value in load_file(path).items()}
        path.unlink()
        save_file(state, path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")), {"format": "pt"})
    checkpoint = load(folder)
    assert next(checkpoint.network.parameters()).dtype == torch.float32
    assert checkpoint.sha256 != load(saved).sha256
    found, expected = (ours(with_prompts(one, PROMPTS), None, 3) for one in (checkpoint, load(saved)))
    assert 0 < np.abs(found - expected).max() < 0.05


def _with_checker(folder: Path, *, strict: bool) -> None:
    """Diffusers' safety checker, small, that finds everything unsafe or nothing."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 16, "patch_size": 8, "projection_dim": 8}
    with torch.random.fork_rng():
        checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, text_config=sizes, projection_dim=8))
    checker.concept_embeds_weights.data.fill_(-10.0 if strict else 10.0)
    checker.special_care_embeds_weights.data.fill_(10.0)
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessor(size=16, crop_size=16).save_pretrained(folder / "feature_extractor")
    write_index(
        folder, safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )  # fmt: skip


@pytest.mark.parametrize("strict", [True, False])
def test_a_safety_checker_blanks_what_the_pipeline_blanks_and_is_off_by_flag_alone(
    saved: Path, tmp_path: Path, strict: bool
) -> None:
    folder = copied(saved, tmp_path / "checked")
    _with_checker(folder, strict=strict)
    checked, off = load(folder), load(folder, LoadOptions(safety_checker=False))
    assert any("the safety checker is on" in one for one in checked.assumptions)
    assert any("the safety checker is off" in one for one in off.assumptions)
    assert checked.sha256 != off.sha256
    theirs = StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    noise = initial_noise(0, range(1), SHAPE)
    expected = theirs(PROMPTS[1].text, latents=noise, num_inference_steps=3, output_type="np")
    assert expected.nsfw_content_detected == [strict]
    found, free = (ours(with_prompts(one, PROMPTS[1:]), None, 3, 1) for one in (checked, off))
    np.testing.assert_allclose(found, expected.images, atol=1e-4)
    assert (found.max() == 0) == strict
    assert free.max() > 0


def test_a_safety_checker_that_is_named_and_missing_is_refused_or_done_without(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path / "checked")
    _with_checker(folder, strict=True)
    shutil.rmtree(folder / "safety_checker")
    with pytest.raises(DiffevalError, match=r"has no safety_checker/, .* give --no-safety-checker to do without"):
        load(folder)
    off = load(folder, LoadOptions(safety_checker=False))
    # Images are those of a folder that never named one.
    found, expected = (ours(with_prompts(one, PROMPTS), None, 2) for one in (off, load(saved)))
    np.testing.assert_array_equal(found, expected)
    write_index(folder, safety_checker=["os", "system"])
    with pytest.raises(DiffevalError, match=r"names \['os', 'system'\] for safety_checker"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "changes", "steps", "said"),
    [
        ("sd3", {"stochastic_sampling": True}, 4, "with stochastic_sampling draws noise that could not belong"),
        ("sd3", {"num_train_timesteps": 500}, 4, "has num_train_timesteps 500, needs 1000"),
        ("lcm", {}, 60, "LCMScheduler does not take 60 steps"),
    ],
)
def test_what_cannot_be_sampled_as_it_is_declared_is_one_line(
    tmp_path: Path, kind: str, changes: dict[str, Any], steps: int, said: str
) -> None:
    folder = tmp_path / "pipeline"
    make(kind, folder)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(DiffevalError, match=said) as caught:
        ours(with_prompts(load(folder), PROMPTS), 5.0, steps)
    assert "\n" not in str(caught.value)


def test_a_network_that_was_offloaded_can_be_brought_back(saved: Path) -> None:
    checkpoint = with_prompts(load(saved), PROMPTS)
    settings = Settings(n=2, steps=3, device="cpu")
    parted: Any = plan_images(checkpoint, dataclasses.replace(settings, offload=True)).generator
    expected = parted.images(range(2))
    whole: Any = plan_images(checkpoint, settings).generator
    np.testing.assert_array_equal(whole.images(range(2)), expected)


def test_flux_says_that_no_file_names_a_size(tmp_path: Path) -> None:
    make("flux-schnell", tmp_path / "flux")
    flux = read_json(tmp_path / "flux" / "transformer" / "config.json")
    assert flux["in_channels"] == 16
    assert declared_shape(SimpleNamespace(config=SimpleNamespace(**flux)), KINDS["FluxPipeline"]) == (4, 128, 128)
    assert not load(tmp_path / "flux", LoadOptions(shape=SHAPE)).assumptions


def test_a_text_encoder_that_fails_is_one_line(saved: Path, tmp_path: Path) -> None:
    """More tokens than it has positions for."""
    folder = copied(saved, tmp_path / "long")
    rewrite(folder / "tokenizer" / "tokenizer_config.json", model_max_length=99)
    with pytest.raises(DiffevalError, match=r"checkpoint: its text encoder fails on a prompt: ValueError: "):
        load(folder)
