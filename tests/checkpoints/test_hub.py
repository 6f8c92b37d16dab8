"""Checkpoints in the hub's cache, re-created in its layout; the network is never asked."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from tiny_pipelines import make

from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.hub import patterns_of
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.pipelines import KINDS
from diffeval.errors import DiffevalError

COMMIT, OTHER = "a" * 40, "b" * 40
OFFLINE = LoadOptions(offline=True)


def _repository(cache: Path, commit: str, seed: int, *, safe: bool = True) -> Path:
    """``models--org--name`` with blobs, and a snapshot of links to them, as the hub's client leaves it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), layers_per_block=1,
            down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), norm_num_groups=4, attention_head_dim=4,
        )  # fmt: skip
    made = cache / f"made-{commit[:4]}"
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(made, safe_serialization=safe)
    root = cache / "models--org--small-ddpm"
    snapshot = root / "snapshots" / commit
    for number, file in enumerate(sorted(path for path in made.rglob("*") if path.is_file())):
        blob, link = root / "blobs" / f"{commit[:4]}{number}", snapshot / file.relative_to(made)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        link.symlink_to(blob)
    return snapshot


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache folder, with main and one older commit."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path), raising=False)
    _repository(tmp_path, COMMIT, 0)
    _repository(tmp_path, OTHER, 1)
    refs = tmp_path / "models--org--small-ddpm" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    return tmp_path


def test_a_cached_checkpoint_is_loaded_offline_by_name_and_revision(cache: Path) -> None:
    main = load("hf:org/small-ddpm", OFFLINE)
    assert (main.name, main.shape, main.path.name) == ("small-ddpm", (1, 8, 8), COMMIT)
    older = load(f"hf:org/small-ddpm@{OTHER}", OFFLINE)
    assert older.path.name == OTHER
    assert older.sha256 != main.sha256
    assert load("hf:org/small-ddpm", LoadOptions(offline=True, revision=OTHER)).sha256 == older.sha256
    assert load("hf:org/small-ddpm", LoadOptions(offline=True, prediction="sample")).prediction == "sample"


def test_pickled_weights_are_taken_where_there_are_no_others(cache: Path) -> None:
    commit = "c" * 40
    _repository(cache, commit, 0, safe=False)
    ours = load(f"hf:org/small-ddpm@{commit}", OFFLINE).network.state_dict()
    theirs = load("hf:org/small-ddpm", OFFLINE).network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_is_not_in_the_cache_is_said_with_the_command_that_fetches_it(cache: Path) -> None:
    with pytest.raises(DiffevalError, match=r"org/other is not in the hub's cache .* run: hf download org/other"):
        load("hf:org/other", OFFLINE)
    with pytest.raises(DiffevalError, match=r"small-ddpm at v9 is not .* hf download org/small-ddpm --revision v9"):
        load("hf:org/small-ddpm@v9", OFFLINE)
    (cache / "models--org--small-ddpm/snapshots" / COMMIT / "unet/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(DiffevalError, match=r"holds no weights in the hub's cache .* lacks diffusion_pytorch_model"):
        load("hf:org/small-ddpm", OFFLINE)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("hf:small-ddpm", OFFLINE, "'hf:small-ddpm' is no name on the hub; write hf:ORG/NAME"),
        ("hf:../x/y", OFFLINE, "is no name on the hub"),
        ("hf:org/small-ddpm@a", LoadOptions(revision="b"), "and --revision b differ; give one of them"),
        ("hf:org/small-ddpm", LoadOptions(offline=True, model="a.py:b"), "--model is given, but a diffusers folder"),
    ],
)
def test_wrong_names(cache: Path, spec: str, options: LoadOptions, message: str) -> None:
    with pytest.raises(DiffevalError, match=message):
        load(spec, options)


def test_a_latent_pipeline_is_loaded_from_the_hubs_cache(cache: Path) -> None:
    commit = "d" * 40
    with torch.random.fork_rng():
        make("ldm", cache / "made" / "pipeline")
    snapshot = cache / "models--org--latent" / "snapshots" / commit
    shutil.copytree(cache / "made" / "pipeline", snapshot)
    loaded = load(f"hf:org/latent@{commit}", OFFLINE)
    assert (loaded.name, loaded.shape, loaded.image_shape) == ("latent", (3, 8, 8), (3, 16, 16))
    assert patterns_of(KINDS["LDMPipeline"], OFFLINE)[1] == [
        "unet/*.safetensors", "vqvae/*.safetensors", "safety_checker/*.safetensors",
    ]  # fmt: skip
