"""A pipeline's folder, loaded by the public way, draws what the pipeline's own call draws."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_pipelines import DISTILLED, GUIDANCE, PROMPTS, load_kind, ours, theirs_of, write_index
from tiny_pipelines import make

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.text import with_prompts
from diffeval.checks.pipeline import pipeline_faults
from diffeval.checks.sampling_scheduler import sampling_faults
from diffeval.data.prompts import Prompt
from diffeval.diffusion.conditions import balanced_labels
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_images
from diffeval.prompting import Prompting, given_prompts


@pytest.fixture(scope="module", params=list(GUIDANCE))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Checkpoint]:
    folder = tmp_path_factory.mktemp(request.param) / "pipeline"
    pipeline = make(request.param, folder)
    checkpoint = load_kind(request.param, folder)
    return request.param, pipeline, with_prompts(checkpoint, PROMPTS) if checkpoint.text else checkpoint


@pytest.mark.parametrize("w", [1.0, 5.0])
def test_images_are_those_of_the_pipelines_own_call(
    pair: tuple[str, Any, Checkpoint], w: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, pipeline, checkpoint = pair
    expected = theirs_of(kind, pipeline, w, 4, monkeypatch)
    found = ours(checkpoint, None if kind == "ldm" else w, 4)
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


def test_a_guidance_distilled_network_is_told_w_and_asked_once(pair: tuple[str, Any, Checkpoint]) -> None:
    kind, _, checkpoint = pair
    generator: Any = plan_images(checkpoint, Settings(n=2, steps=4, device="cpu")).generator
    if kind not in DISTILLED:
        assert generator.branches == (1 if GUIDANCE[kind] in (None, 1.0) else 2)
        return
    assert generator.branches == 1
    assert "negative prompts do nothing: pipeline is guidance-distilled" in " ".join(checkpoint.assumptions)
    assert float(np.abs(ours(checkpoint, 1.0, 4) - ours(checkpoint, 5.0, 4)).max()) > 1e-3
    for setting in ({"rescale": 0.5}, {"interval": (0.3, 5.0)}):
        with pytest.raises(DiffevalError, match=r"pipeline is guidance-distilled: w is an input of its network"):
            plan_images(checkpoint, Settings(n=2, device="cpu", **setting))  # type: ignore[arg-type]


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
    first = ours(with_prompts(counted(load(saved)), many), None, 2)
    again = ours(with_prompts(counted(load(saved)), many), None, 2)
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
    one, other = ours(plain, 5.0, 3), ours(negative, 5.0, 3)
    assert np.abs(one[0] - other[0]).max() > 1e-3
    # What has its own keeps it, and without guidance there is nothing to be guided away from.
    np.testing.assert_allclose(one[1], other[1], atol=1e-5)
    np.testing.assert_allclose(ours(plain, 1.0, 3), ours(negative, 1.0, 3), atol=1e-5)
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
    checkpoint = with_prompts(load_kind(kind, tmp_path / "pipeline", 12), PROMPTS)
    expected = theirs_of(kind, pipeline, 4.0, 3, monkeypatch, 12)
    np.testing.assert_allclose(ours(checkpoint, 4.0, 3), expected, atol=1e-4)
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
        write_index(folder, force_zeros_for_empty_prompt=zeros)
        found = ours(with_prompts(load(folder), PROMPTS[1:]), 5.0, 2, 1)
        expected = theirs_of("sdxl", pipeline, 5.0, 2, monkeypatch, prompts=PROMPTS[1:])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_empty_prompt_is_a_text_and_no_negative_prompt_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, prompts = make("sdxl", tmp_path / "pipeline"), (Prompt("0", ""),)
    expected = theirs_of("sdxl", pipeline, 5.0, 2, monkeypatch, prompts=prompts)
    found = ours(with_prompts(load(tmp_path / "pipeline"), prompts), 5.0, 2, 1)
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
    np.testing.assert_allclose(ours(checkpoint, 5.0, 2), theirs_of("sdxl", pipeline, 5.0, 2, monkeypatch), atol=1e-4)
    assert checkpoint.latents is not None
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    z = checkpoint.latents._unscaled(x)
    mean, spread = (torch.tensor(one).view(1, 4, 1, 1) for one in moments.values())
    torch.testing.assert_close(z, x * spread / 0.13025 + mean)


def test_a_text_is_as_long_as_the_encoder_that_reads_most_of_it(pair: tuple[str, Any, Checkpoint]) -> None:
    kind, _, checkpoint = pair
    longest = {"sd3": 77, "sd3-t5": 256, "flux-dev": 512, "flux-schnell": 512, "dit": None, "ldm": None}
    assert (checkpoint.text.longest if checkpoint.text else None) == longest.get(kind, 24)
