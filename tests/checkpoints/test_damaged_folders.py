"""Folders whose files say what no network is: refused in one line, before anything of that size is made."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffeval.builtin import FOLDER
from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.declaration import Declaration
from diffeval.checkpoints.options import LoadOptions
from diffeval.checkpoints.schedules import declared_schedule
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_images

UNET, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
Change = Callable[..., Path]


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """The digits model without its card, with some keys of one file replaced."""

    def change(file: str, **values: Any) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(FOLDER / "digits", folder)
        (folder / "diffeval.json").unlink()
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        return folder

    return change


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sample_size": 10**9}, "declares images of 1x1000000000x1000000000"),
        ({"sample_size": 10**6}, "GB are free; mend sample_size"),
        ({"downsample_padding": 10**6}, "GB are free; mend sample_size"),
        ({"layers_per_block": 10**7}, "asks for 20000000 layers"),
        ({"layers_per_block": "2"}, "describes no UNet2DModel that diffusers can make"),
        ({"block_out_channels": [10**7, 10**7]}, "free|do not fit|cannot load"),
        ({"block_out_channels": [-8, -8]}, "describes no UNet2DModel"),
        ({"down_block_types": [1, 2]}, "describes no UNet2DModel"),
        ({"down_block_types": 2}, "describes no UNet2DModel"),
        ({"in_channels": float("nan")}, "describes no UNet2DModel"),
        ({"sample_size": 0}, "sample_size 0, needs a side"),
        ({"sample_size": 8.5}, r"sample_size 8\.5, needs a side"),
        ({"sample_size": ["8", 8]}, "needs a side"),
        ({"sample_size": [8]}, "needs a side"),
    ],
)
def test_a_network_that_no_machine_could_hold_is_refused_before_it_is_made(
    changed: Change, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(DiffevalError, match=said):
        load(changed(UNET, **values))


@pytest.mark.parametrize("timesteps", [0, 1, -5, 10**9, 10**12, 1e3, "1000", None, [1000]])
def test_a_number_of_timesteps_that_is_none_is_refused(changed: Change, timesteps: Any) -> None:
    with pytest.raises(DiffevalError, match="timesteps"):
        load(changed(SCHEDULER, num_train_timesteps=timesteps))


@pytest.mark.parametrize(
    "values",
    [
        {"beta_schedule": "linear", "beta_start": float("nan")},
        {"beta_schedule": "linear", "beta_end": 10},
        {"trained_betas": "x"},
        {"trained_betas": 0.5},
        {"beta_schedule": []},
    ],
)
def test_betas_that_are_none_are_refused(changed: Change, values: dict[str, Any]) -> None:
    with pytest.raises(DiffevalError, match=r"noise schedule|beta"):
        load(changed(SCHEDULER, **values))


@pytest.mark.parametrize("value", [{}, [], None, "1"])
def test_a_sampler_is_told_numbers_only(changed: Change, value: Any) -> None:
    checkpoint = load(changed(SCHEDULER, clip_sample_range=value, clip_sample=True))
    with pytest.raises(DiffevalError, match="clip_sample_range"):
        plan_images(checkpoint, Settings(n=1, steps=1, device="cpu"))


@pytest.mark.parametrize("file", [UNET, SCHEDULER, "model_index.json", "diffeval.json"])
def test_json_that_nests_endlessly_is_refused(changed: Change, file: str) -> None:
    folder = changed(UNET)
    (folder / file).write_text("[" * 100_000)
    with pytest.raises(DiffevalError, match=r"cannot read|without unet"):
        load(folder)


def test_a_shape_that_no_machine_could_hold_is_refused() -> None:
    with pytest.raises(DiffevalError, match="see --shape"):
        load("digits", LoadOptions(shape=(1, 10**7, 10**7)))


def test_a_schedule_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "alpha_bar.npy"
    np.save(path, np.linspace(0.999, 0.001, 50))
    path.write_bytes(path.read_bytes().replace(b"(50,)", b"(9" + b"0" * 12 + b",)"))
    with pytest.raises(DiffevalError, match=r"cannot read the noise schedule|shape"):
        declared_schedule(Declaration(schedule=str(path)), None)
    np.save(path, np.linspace(0.999, 0.001, 200_000))
    with pytest.raises(DiffevalError, match="at most 100,000"):
        declared_schedule(Declaration(schedule=str(path)), None)


@pytest.mark.parametrize("file", ["diffeval.json", "model_index.json", UNET, SCHEDULER, WEIGHTS])
def test_a_pipe_or_device_in_the_place_of_a_file_is_refused(tmp_path: Path, file: str) -> None:
    """Nobody writes into the pipe: what opens it would wait for ever."""
    for name, make in (("pipe", os.mkfifo), ("zeros", lambda path: path.symlink_to("/dev/zero"))):
        folder = tmp_path / name
        shutil.copytree(FOLDER / "digits", folder)
        (folder / file).unlink(missing_ok=True)
        make(folder / file)
        if file == "model_index.json":  # of a folder that is no pipeline it is not read
            assert load(folder).classes
            continue
        with pytest.raises(DiffevalError, match=r"^checkpoint: "):
            load(folder)


def test_a_pipe_or_device_in_the_place_of_a_schedule_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "zeros.npy").symlink_to("/dev/zero")
    for path in tmp_path.iterdir():
        with pytest.raises(DiffevalError, match=r"cannot read the noise schedule in .*a pipe, a socket or a device"):
            declared_schedule(Declaration(schedule=str(path)), None)
