"""A pipeline's folder, loaded by the public way, draws what the pipeline's own call draws."""

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
from safetensors.torch import load_file, save_file
from tiny_pipelines import SD_SCHEDULE, make
from transformers import CLIPConfig, CLIPImageProcessor

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.pipeline_sampling import declared_shape
from diffeval.checkpoints.pipelines import KINDS
from diffeval.checkpoints.scheduler_config import read_json
from diffeval.checkpoints.text import with_prompts
from diffeval.checks.pipeline import pipeline_faults
from diffeval.checks.sampling_scheduler import sampling_faults
from diffeval.data.prompts import Prompt
from diffeval.diffusion.conditions import balanced_labels
from diffeval.diffusion.noise import initial_noise, step_generators
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_images
from diffeval.prompting import Prompting, given_prompts

PROMPTS = (Prompt("0", "a red cat", negative="blurry"), Prompt("1", "two dogs under a tree, and so on and on and on"))
SHAPE = (4, 8, 8)
# Of each pipeline's own call.
GUIDANCE = {
    "sd": 7.5, "sd-v": 7.5, "sdxl": 5.0, "sd3": 7.0, "sd3-t5": 7.0, "dit": 4.0, "ldm": None, "sd-distilled": 7.5,
    "lcm": 8.5, "flux-dev": 3.5, "flux-schnell": 1.0,
}  # fmt: skip
# Those whose networks take w themselves.
DISTILLED = ("sd-distilled", "lcm", "flux-dev")


def _load(kind: str, folder: Path, side: int = 8) -> Checkpoint:
    """Flux names no size of its images."""
    native = side == 8 and not kind.startswith("flux")
    return load(folder, None if native else LoadOptions(shape=(SHAPE[0], side, side)))


@pytest.fixture(scope="module", params=list(GUIDANCE))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Checkpoint]:
    folder = tmp_path_factory.mktemp(request.param) / "pipeline"
    pipeline = make(request.param, folder)
    checkpoint = _load(request.param, folder)
    return request.param, pipeline, with_prompts(checkpoint, PROMPTS) if checkpoint.text else checkpoint


def _ours(checkpoint: Checkpoint, w: float | None, steps: int, n: int = 2) -> np.ndarray:
    """Pixels from 0 to 1 before they are rounded."""
    plan = plan_images(checkpoint, Settings(n=n, steps=steps, w=w, device="cpu"))
    generator: Any = plan.generator
    x = generator.decode(generator.latents(range(n)))
    found: np.ndarray = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return found


def _theirs(
    kind: str,
    pipeline: Any,
    w: float,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
    side: int = 8,
    prompts: tuple[Prompt, ...] = PROMPTS,
) -> np.ndarray:
    """The pipeline's own call on the same noise."""
    shape = (SHAPE[0], side, side)
    noise = initial_noise(0, range(2), shape if kind != "ldm" else (3, 8, 8))
    common = {"num_inference_steps": steps, "output_type": "np"}
    if kind in ("dit", "ldm"):
        monkeypatch.setattr(f"{type(pipeline).__module__}.randn_tensor", lambda *one, **more: noise.clone())
        labels = {"class_labels": balanced_labels(0, 2, 1000).tolist(), "guidance_scale": w}
        found: np.ndarray = pipeline(**(labels if kind == "dit" else {"batch_size": 2}), **common).images
        return found
    # One by one where negative prompts differ in being there at all.
    images = []
    sides = {"height": 2 * side, "width": 2 * side} if kind not in ("dit", "ldm") else {}
    for row, one in enumerate(prompts):
        negative: dict[str, Any] = {"negative_prompt": one.negative} if one.negative else {}
        latents = noise[row : row + 1]
        scale = {"guidance_scale": w}
        if kind.startswith("flux"):
            latents = pipeline._pack_latents(latents, 1, *shape)
        if kind == "flux-schnell":  # guidance as any model's is called true guidance there
            scale, negative = {"true_cfg_scale": w}, {"negative_prompt": one.negative}
        elif kind in DISTILLED:
            negative = {}
        if kind == "lcm":  # which draws noise at its steps
            common["generator"] = step_generators(0, range(2))[row]
        images.append(pipeline(one.text, latents=latents, **scale, **negative, **common, **sides).images[0])
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
    assert generator.w == GUIDANCE[kind]
    assert generator.image_shape == (3, 16, 16)


def test_offloaded_weights_draw_the_same_images(saved: Path) -> None:
    settings = Settings(n=2, steps=3, device="cpu")
    whole: Any = plan_images(with_prompts(load(saved), PROMPTS), settings).generator
    expected = whole.images(range(2))
    checkpoint = with_prompts(load(saved), PROMPTS)
    parted: Any = plan_images(checkpoint, dataclasses.replace(settings, offload=True)).generator
    assert all(one.device.type == "meta" for one in checkpoint.network.parameters()), "nothing is held between steps"
    np.testing.assert_array_equal(parted.images(range(2)), expected)


def test_tiles_are_nearly_the_same_images_of_another_checkpoint(saved: Path) -> None:
    big = LoadOptions(shape=(4, 40, 40))  # 80 x 80 pixels, in tiles of 32
    whole, tiled = load(saved, big), load(saved, dataclasses.replace(big, vae_tiling=True))
    assert tiled.sha256 != whole.sha256
    assert "images are decoded in overlapping tiles of 32 pixels" in " ".join(tiled.assumptions)
    x = torch.randn(1, 4, 40, 40, generator=torch.Generator().manual_seed(0))
    one, other = whole.decode(x), tiled.decode(x)
    apart = (one - other).square().mean().sqrt() / one.std()
    assert one.shape == other.shape == (1, 3, 80, 80)
    # Group norms see a tile alone, so that tiles of a small random decoder are not those of the whole to the bit.
    assert 0 < float(apart) < 0.5


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


def test_latents_and_back_are_the_autoencoders(pair: tuple[str, Any, Checkpoint]) -> None:
    kind, pipeline, checkpoint = pair
    vae = pipeline.vqvae if kind == "ldm" else pipeline.vae
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = checkpoint.latents
    assert latents is not None
    encoded = vae.encode(pixels)
    z = encoded.latents if kind == "ldm" else encoded.latent_dist.mode()
    x0 = (z - (getattr(vae.config, "shift_factor", None) or 0.0)) * vae.config.scaling_factor
    torch.testing.assert_close(latents.encode(pixels), x0)
    torch.testing.assert_close(latents.decode(x0), vae.decode(z).sample, atol=1e-5, rtol=0)


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


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd") / "pipeline"
    make("sd", folder)
    return folder


def _copied(saved: Path, folder: Path) -> Path:
    shutil.copytree(saved, folder)
    return folder


def _index(folder: Path, **changes: object) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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
        (lambda one: _index(one, unet=["diffusers", "UNet2DModel"]), "names diffusers's UNet2DModel for unet"),
        (lambda one: _index(one, vae=["os", "system"]), "names os's system for vae, which is not loaded"),
        (lambda one: _index(one, vae=["pipeline", "AutoencoderKL"]), "names pipeline's AutoencoderKL for vae"),
        (lambda one: _index(one, text_encoder=[None, None]), "names no text_encoder; a StableDiffusionPipeline needs"),
        (lambda one: _index(one, spy=["spy", "Spy"]), "names spy, which a StableDiffusionPipeline has not"),
        (lambda one: _index(one, scheduler=["diffusers", "AutoencoderKL"]), "names AutoencoderKL for scheduler"),
    ],
)
def test_a_folder_that_is_not_whole_is_one_line(saved: Path, tmp_path: Path, change: Any, said: str) -> None:
    folder = _copied(saved, tmp_path / "broken")
    change(folder)
    with pytest.raises(DiffevalError) as caught:
        load(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_beside_the_weights_is_never_run(saved: Path, tmp_path: Path) -> None:
    folder = _copied(saved, tmp_path / "hostile")
    spy = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    for name in ("pipeline.py", "unet/modeling.py", "text_encoder/modeling_clip.py", "tokenizer/tokenization.py"):
        (folder / name).write_text(spy)
    config = folder / "text_encoder" / "config.json"
    held = json.loads(config.read_text())
    config.write_text(json.dumps(held | {"auto_map": {"AutoModel": "modeling_clip.CLIPTextModel"}}))
    load(folder)
    assert not (tmp_path / "ran").exists()


def test_half_precision_variants_are_read_where_there_is_nothing_else(saved: Path, tmp_path: Path) -> None:
    folder = _copied(saved, tmp_path / "half")
    for path in [*folder.glob("*/*.safetensors")]:
        state = {name: value.half() if value.is_floating_point() else value for name, value in load_file(path).items()}
        path.unlink()
        save_file(state, path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")), {"format": "pt"})
    checkpoint = load(folder)
    assert next(checkpoint.network.parameters()).dtype == torch.float32
    assert checkpoint.sha256 != load(saved).sha256
    found, expected = (_ours(with_prompts(one, PROMPTS), None, 3) for one in (checkpoint, load(saved)))
    assert 0 < np.abs(found - expected).max() < 0.05


def test_a_guidance_distilled_network_is_told_w_and_asked_once(pair: tuple[str, Any, Checkpoint]) -> None:
    kind, _, checkpoint = pair
    generator: Any = plan_images(checkpoint, Settings(n=2, steps=4, device="cpu")).generator
    if kind not in DISTILLED:
        assert generator.branches == (1 if GUIDANCE[kind] in (None, 1.0) else 2)
        return
    assert generator.branches == 1
    assert "negative prompts do nothing: pipeline is guidance-distilled" in " ".join(checkpoint.assumptions)
    assert float(np.abs(_ours(checkpoint, 1.0, 4) - _ours(checkpoint, 5.0, 4)).max()) > 1e-3
    for setting in ({"rescale": 0.5}, {"interval": (0.3, 5.0)}):
        with pytest.raises(DiffevalError, match=r"pipeline is guidance-distilled: w is an input of its network"):
            plan_images(checkpoint, Settings(n=2, device="cpu", **setting))  # type: ignore[arg-type]


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
    _index(
        folder, safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )  # fmt: skip


@pytest.mark.parametrize("strict", [True, False])
def test_a_safety_checker_blanks_what_the_pipeline_blanks_and_is_off_by_flag_alone(
    saved: Path, tmp_path: Path, strict: bool
) -> None:
    folder = _copied(saved, tmp_path / "checked")
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
    found, free = (_ours(with_prompts(one, PROMPTS[1:]), None, 3, 1) for one in (checked, off))
    np.testing.assert_allclose(found, expected.images, atol=1e-4)
    assert (found.max() == 0) == strict
    assert free.max() > 0


def test_a_safety_checker_that_is_named_and_missing_is_refused_or_done_without(saved: Path, tmp_path: Path) -> None:
    folder = _copied(saved, tmp_path / "checked")
    _with_checker(folder, strict=True)
    shutil.rmtree(folder / "safety_checker")
    with pytest.raises(DiffevalError, match=r"has no safety_checker/, .* give --no-safety-checker to do without"):
        load(folder)
    off = load(folder, LoadOptions(safety_checker=False))
    # Images are those of a folder that never named one.
    found, expected = (_ours(with_prompts(one, PROMPTS), None, 2) for one in (off, load(saved)))
    np.testing.assert_array_equal(found, expected)
    _index(folder, safety_checker=["os", "system"])
    with pytest.raises(DiffevalError, match=r"names \['os', 'system'\] for safety_checker"):
        load(folder)


def test_prompts_are_encoded_once_and_kept_by_content(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    asked: list[str] = []

    def counted(checkpoint: Checkpoint) -> Checkpoint:
        text = checkpoint.text
        assert text is not None

        def encode(texts: Any, device: torch.device) -> Any:
            asked.extend(texts)
            return text.encode(texts, device)

        return dataclasses.replace(checkpoint, text=dataclasses.replace(text, encode=encode))

    many = tuple(Prompt(str(number), f"prompt {number % 40}") for number in range(90))
    first = _ours(with_prompts(counted(load(saved)), many), None, 2)
    again = _ours(with_prompts(counted(load(saved)), many), None, 2)
    np.testing.assert_array_equal(first, again)
    assert len(asked) == len(set(asked)) == 41  # forty texts and the empty one; of two blocks, each when it was needed


def test_images_take_prompts_in_turn_and_a_seed_of_their_own(saved: Path) -> None:
    prompts = (Prompt("a", "x", seed=5), Prompt("b", "y"), Prompt("c", "z"))
    asked = with_prompts(load(saved), prompts).asked
    assert asked is not None
    assert asked.of(range(7)).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert asked.of(range(4, 6)).tolist() == [1, 2]
    assert asked.keys(9, range(6)) == [(5, 0), (9, 1), (9, 2), (5, 1), (9, 4), (9, 5)]
    by_class = tuple(Prompt(f"{one}{two}", f"{one} {two}", concept=one) for two in "12" for one in "pq")
    bound = with_prompts(load(saved), by_class)
    assert bound.classes == ("p", "q")
    assert bound.asked is not None
    rows = bound.asked.of(range(8)).tolist()
    assert [bound.prompts[row].concept for row in rows] == [bound.classes[one] for one in balanced_labels(0, 8, 2)]
    assert sorted(rows) == [0, 0, 1, 1, 2, 2, 3, 3]
    # A batch from the middle has the same prompts.
    assert bound.asked.of(range(3, 8)).tolist() == rows[3:]


def test_images_do_not_depend_on_the_batch(saved: Path) -> None:
    checkpoint = with_prompts(load(saved), PROMPTS)
    generator: Any = plan_images(checkpoint, Settings(n=6, steps=3, device="cpu")).generator
    whole = generator.images(range(6)).astype(int)
    parts = np.concatenate([generator.images(range(2)), generator.images(range(2, 6))]).astype(int)
    assert (np.abs(whole - parts) > 1).mean() < 0.001


def test_a_negative_prompt_for_all_changes_images_that_are_guided_away_from_it(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text("id,prompt,negative_prompt\na,a cat,\nb,a dog,grey\n")
    plain, negative = (
        given_prompts(load(saved), Prompting(file, negative=text)) for text in (None, "blurry, low quality")
    )
    assert isinstance(plain, Checkpoint)
    assert isinstance(negative, Checkpoint)
    assert [one.negative for one in negative.prompts] == ["blurry, low quality", "grey"]
    one, other = _ours(plain, 5.0, 3), _ours(negative, 5.0, 3)
    assert np.abs(one[0] - other[0]).max() > 1e-3
    # What has its own keeps it, and without guidance there is nothing to be guided away from.
    np.testing.assert_allclose(one[1], other[1], atol=1e-5)
    np.testing.assert_allclose(_ours(plain, 1.0, 3), _ours(negative, 1.0, 3), atol=1e-5)
    with pytest.raises(DiffevalError, match="makes images of text; give --prompts FILE"):
        given_prompts(load(saved), None)


def test_the_declared_sampler_holds_every_noise_level_and_is_not_accused(pair: tuple[str, Any, Checkpoint]) -> None:
    """An image whose noise is known goes through it, without the network: flows, too, end with the image."""
    kind, _, checkpoint = pair
    assert checkpoint.sampled_by is not None
    for steps in (4, 28):
        generator: Any = plan_images(checkpoint, Settings(n=2, steps=steps, device="cpu")).generator
        assert not pipeline_faults(generator)
        faults = sampling_faults(checkpoint.sampled_by, checkpoint.schedule, checkpoint.prediction, steps)
        assert not faults, kind


# DiT and SD 3 have tables of places, and LDM's U-Net attends; the others draw any size.
@pytest.mark.parametrize("kind", ["sd", "sdxl", "lcm", "flux-dev", "flux-schnell"])
def test_images_of_another_size_are_those_of_the_pipelines_own_call(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are conditions of SDXL, and the shift of Flux follows them."""
    pipeline = make(kind, tmp_path / "pipeline")
    checkpoint = with_prompts(_load(kind, tmp_path / "pipeline", 12), PROMPTS)
    expected = _theirs(kind, pipeline, 4.0, 3, monkeypatch, 12)
    np.testing.assert_allclose(_ours(checkpoint, 4.0, 3), expected, atol=1e-4)
    if checkpoint.text is not None and kind == "sdxl":
        assert checkpoint.text.recorded["target_size"] == (24, 24)


def test_what_a_pipeline_makes_of_no_text_is_part_of_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders with the same encoders, of which one zeroes what no negative prompt is encoded to."""
    monkeypatch.setenv("DIFFEVAL_CACHE", str(tmp_path / "cache"))
    for zeros in (True, False, True):
        folder = tmp_path / f"pipeline-{zeros}"
        pipeline = make("sdxl", folder)
        pipeline.register_to_config(force_zeros_for_empty_prompt=zeros)
        _index(folder, force_zeros_for_empty_prompt=zeros)
        found = _ours(with_prompts(load(folder), PROMPTS[1:]), 5.0, 2, 1)
        expected = _theirs("sdxl", pipeline, 5.0, 2, monkeypatch, prompts=PROMPTS[1:])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_empty_prompt_is_a_text_and_no_negative_prompt_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, prompts = make("sdxl", tmp_path / "pipeline"), (Prompt("0", ""),)
    expected = _theirs("sdxl", pipeline, 5.0, 2, monkeypatch, prompts=prompts)
    found = _ours(with_prompts(load(tmp_path / "pipeline"), prompts), 5.0, 2, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_means_and_spreads_of_latents_are_taken_where_the_pipeline_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pipeline"
    pipeline = make("sdxl", folder)
    moments = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 0.7, 1.0, 2.0]}
    pipeline.vae.register_to_config(**moments)
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | moments))
    checkpoint = with_prompts(load(folder), PROMPTS)
    np.testing.assert_allclose(_ours(checkpoint, 5.0, 2), _theirs("sdxl", pipeline, 5.0, 2, monkeypatch), atol=1e-4)
    assert checkpoint.latents is not None
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    z = checkpoint.latents._unscaled(x)
    mean, spread = (torch.tensor(one).view(1, 4, 1, 1) for one in moments.values())
    torch.testing.assert_close(z, x * spread / 0.13025 + mean)


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
        _ours(with_prompts(load(folder), PROMPTS), 5.0, steps)
    assert "\n" not in str(caught.value)


def test_a_network_that_was_offloaded_can_be_brought_back(saved: Path) -> None:
    checkpoint = with_prompts(load(saved), PROMPTS)
    settings = Settings(n=2, steps=3, device="cpu")
    parted: Any = plan_images(checkpoint, dataclasses.replace(settings, offload=True)).generator
    expected = parted.images(range(2))
    whole: Any = plan_images(checkpoint, settings).generator
    np.testing.assert_array_equal(whole.images(range(2)), expected)


def test_a_text_is_as_long_as_the_encoder_that_reads_most_of_it(pair: tuple[str, Any, Checkpoint]) -> None:
    kind, _, checkpoint = pair
    longest = {"sd3": 77, "sd3-t5": 256, "flux-dev": 512, "flux-schnell": 512, "dit": None, "ldm": None}
    assert (checkpoint.text.longest if checkpoint.text else None) == longest.get(kind, 24)


def test_flux_says_that_no_file_names_a_size(tmp_path: Path) -> None:
    make("flux-schnell", tmp_path / "flux")
    flux = read_json(tmp_path / "flux" / "transformer" / "config.json")
    assert flux["in_channels"] == 16
    assert declared_shape(SimpleNamespace(config=SimpleNamespace(**flux)), KINDS["FluxPipeline"]) == (4, 128, 128)
    assert not load(tmp_path / "flux", LoadOptions(shape=SHAPE)).assumptions
