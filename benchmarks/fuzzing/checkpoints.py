"""Damaged checkpoints: every file of a diffusers folder with diffeval's card, what lies in a file's place, pickles."""

import io
import json
import pickle
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import hypothesis.strategies as st
import torch
from diffusers import UNet2DModel

from diffeval.checkpoints.checkpoint import load
from diffeval.plan import Settings, plan_images
from fuzzing.damage import PLACES, Place, Runs, broken, json_bytes, json_files, put, values
from fuzzing.outcome import Kind

Files = Mapping[str, bytes]

CARD, UNET, INDEX = "diffeval.json", "unet/config.json", "model_index.json"
SCHEDULER, WEIGHTS = "scheduler/scheduler_config.json", "unet/diffusion_pytorch_model.safetensors"


@cache
def healthy() -> Files:
    """The files of a tiny network in a diffusers folder, as ``diffeval train`` leaves them."""
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as place:
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4, attention_head_dim=4, num_class_embeds=3,
        )  # fmt: skip
        network.save_pretrained(place)
        unet = {f"unet/{path.name}": path.read_bytes() for path in Path(place).iterdir()}
    scheduler = {
        "_class_name": "DDIMScheduler", "_diffusers_version": "0.32.0", "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": None, "clip_sample": True,
        "clip_sample_range": 1.0,
        "set_alpha_to_one": True, "steps_offset": 0, "prediction_type": "epsilon", "thresholding": False,
        "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0, "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": False,
    }  # fmt: skip
    index = {
        "_class_name": "DDIMPipeline", "_diffusers_version": "0.32.0", "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }  # fmt: skip
    card = {
        "schema": "diffeval.checkpoint/1", "data": "digits@train", "data_hash": "ab" * 32, "value_range": [-1.0, 1.0],
        "schedule": "linear", "zero_snr": False, "timesteps": 1000, "prediction": "epsilon", "classes": ["0", "1"],
        "null_class": 2, "drop_condition": 0.1, "ema_decay": 0.9, "step": 1,
        "sampler": {"name": "ddim", "steps": 50, "eta": 0.0}, "provenance": {"seed": 0, "versions": {"torch": "2"}},
    }  # fmt: skip
    told = {SCHEDULER: scheduler, INDEX: index, CARD: card}
    return {**unet, **{name: json_bytes(held) for name, held in told.items()}}


@st.composite
def documents(draw: st.DrawFn, name: str) -> Files:
    """A folder with one damaged JSON file; the card, which repeats what others say, is left out half the time."""
    files = dict(healthy())
    if name != CARD and draw(st.booleans()):
        del files[CARD]
    files[name] = draw(json_files(json.loads(files[name])))
    return files


@st.composite
def damaged_weights(draw: st.DrawFn, content: bytes) -> bytes:
    """A safetensors file that is damaged: as bytes, in its header, or in its numbers."""
    length = int.from_bytes(content[:8], "little")
    header, tensors = json.loads(content[8 : 8 + length]), content[8 + length :]
    how = draw(st.sampled_from(("bytes", "header", "length", "numbers")))
    if how == "bytes":
        return draw(broken(content))
    if how == "numbers":
        number = draw(st.sampled_from((b"\x00\x00\xc0\x7f", b"\xff\xff\x7f\x7f")))
        return content[: 8 + length] + number * (len(tensors) // 4)
    told = draw(json_files(header)) if how == "header" else content[8 : 8 + length]
    size = len(told) if how == "header" else draw(st.integers(0, 2**64 - 1))
    return size.to_bytes(8, "little") + told + tensors


@st.composite
def weights(draw: st.DrawFn) -> Files:
    """A folder whose weights are damaged."""
    files = dict(healthy())
    files[WEIGHTS] = draw(damaged_weights(files[WEIGHTS]))
    return files


@cache
def _pickles() -> tuple[bytes, ...]:
    found = []
    tensors = {"a.weight": torch.zeros(3, 2), "a.bias": torch.zeros(3)}
    for held in (tensors, {"state_dict": tensors, "args": {"lr": 1.0}}):
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(held, buffer, _use_new_zipfile_serialization=zipped)
            found.append(buffer.getvalue())
    return *found, pickle.dumps(Runs()), pickle.dumps({"state": Runs()})


@st.composite
def pickles(draw: st.DrawFn) -> Files:
    """The same folder with a pickle for weights: code, damage, or something else."""
    files = {name: held for name, held in healthy().items() if name != WEIGHTS}
    content = draw(st.sampled_from(_pickles()))
    name = WEIGHTS.replace(".safetensors", ".bin")
    files[name] = (
        content if draw(st.integers(0, 3)) == 0 else draw(broken(content) | st.just(pickle.dumps(draw(values()))))
    )
    return files


@st.composite
def places(draw: st.DrawFn) -> dict[str, Place]:
    """What stands in the place of one to three of the files."""
    names = draw(st.lists(st.sampled_from(sorted(healthy())), min_size=1, max_size=3, unique=True))
    return {name: draw(st.sampled_from(PLACES)) for name in names}


def read_files(folder: Path, files: Files) -> None:
    """Loads a checkpoint, and draws an image with as few steps as its sampler can."""
    for name, content in files.items():
        put(folder / name, content)
    draw_one(folder)


def read_places(folder: Path, places: Mapping[str, Place]) -> None:
    """The same of a folder with something else in the place of files."""
    for name, content in healthy().items():
        put(folder / name, content, places.get(name, "file"))
    draw_one(folder)


def draw_one(folder: Path) -> None:
    """Loads and draws."""
    found = load(folder)
    plan = plan_images(found, Settings(n=1, steps=2 if found.schedule.timesteps % 2 == 0 else 1, device="cpu"))
    plan.generator.images(range(1))


KINDS = (
    Kind("checkpoint: U-Net's config.json", documents(UNET), read_files),
    Kind("checkpoint: scheduler_config.json", documents(SCHEDULER), read_files),
    Kind("checkpoint: model_index.json", documents(INDEX), read_files),
    Kind("checkpoint: diffeval.json", documents(CARD), read_files),
    Kind("checkpoint: safetensors", weights(), read_files),
    Kind("checkpoint: pickled weights", pickles(), read_files),
    Kind("checkpoint: links, folders, pipes, devices for files", places(), read_places),
)
