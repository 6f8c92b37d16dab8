"""Damaged folders of a latent pipeline: configurations, weights, vocabulary, and what lies in their place."""

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import hypothesis.strategies as st
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.diffusers_network import quiet_diffusers
from diffeval.plan import Settings, plan_images
from diffeval.prompting import given_prompts
from fuzzing.checkpoints import damaged_weights
from fuzzing.damage import PLACES, Place, broken, json_files, put
from fuzzing.outcome import Kind

Files = Mapping[str, bytes]

WIDTH, LONGEST = 16, 12
# Said by its files, and read as JSON.
TOLD = (
    "model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "vae/config.json",
    "text_encoder/config.json", "tokenizer/tokenizer_config.json", "diffeval.json",
)  # fmt: skip


def _networks(count: int) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """As small as they can be."""
    unet = UNet2DConditionModel(
        sample_size=4, in_channels=4, out_channels=4, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH, attention_head_dim=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=4, block_out_channels=(8, 8), norm_num_groups=4, sample_size=8,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    words = CLIPTextConfig(
        vocab_size=count, hidden_size=WIDTH, intermediate_size=WIDTH, num_attention_heads=2, num_hidden_layers=1,
        max_position_embeddings=LONGEST, bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=count - 1,
    )  # fmt: skip
    return unet, vae, CLIPTextModel(words)


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's, with a token for each small letter."""
    letters = tuple(map(chr, range(97, 123)))
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LONGEST)


@cache
def healthy() -> Files:
    """The files of a tiny Stable Diffusion with prompts beside it, as its users save it."""
    with quiet_diffusers(), torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as place:
        made, out = Path(place) / "made", Path(place) / "out"
        made.mkdir()
        torch.manual_seed(0)
        tokens = _tokenizer(made)
        unet, vae, words = _networks(len(tokens))
        schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
        StableDiffusionPipeline(
            vae=vae, text_encoder=words, tokenizer=tokens, unet=unet, safety_checker=None, feature_extractor=None,
            scheduler=DDIMScheduler(**schedule, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
            requires_safety_checker=False,
        ).save_pretrained(out)  # fmt: skip
        (out / "prompts.csv").write_text("id,prompt\na,a cat\n")
        (out / "diffeval.json").write_text(json.dumps({"data": "digits@train", "data_hash": "ab" * 32}))
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@st.composite
def told(draw: st.DrawFn) -> Files:
    """A folder with one damaged JSON file."""
    files = dict(healthy())
    name = draw(st.sampled_from([name for name in TOLD if name in files]))
    files[name] = draw(json_files(json.loads(files[name])))
    return files


@st.composite
def held(draw: st.DrawFn) -> Files:
    """A folder whose weights, vocabulary or prompts are damaged."""
    files = dict(healthy())
    name = draw(st.sampled_from([name for name in sorted(files) if name not in TOLD]))
    files[name] = draw(damaged_weights(files[name]) if name.endswith(".safetensors") else broken(files[name]))
    return files


@st.composite
def places(draw: st.DrawFn) -> dict[str, Place]:
    """What stands in the place of one to three of the files."""
    names = draw(st.lists(st.sampled_from(sorted(healthy())), min_size=1, max_size=3, unique=True))
    return {name: draw(st.sampled_from(PLACES)) for name in names}


def read_files(folder: Path, files: Files) -> None:
    """Loads a pipeline, and draws an image of its prompt in one step."""
    for name, content in files.items():
        put(folder / name, content)
    draw_one(folder)


def read_places(folder: Path, instead: Mapping[str, Place]) -> None:
    """The same of a folder with something else in the place of files."""
    for name, content in healthy().items():
        put(folder / name, content, instead.get(name, "file"))
    draw_one(folder)


def draw_one(folder: Path) -> None:
    """Loads and draws."""
    found = given_prompts(load(folder), None)
    plan = plan_images(found, Settings(n=1, steps=1, device="cpu"))
    plan.generator.images(range(1))


KINDS = (
    Kind("latent pipeline: its configurations", told(), read_files),
    Kind("latent pipeline: weights, vocabulary, prompts", held(), read_files),
    Kind("latent pipeline: links, folders, pipes, devices for files", places(), read_places),
)
