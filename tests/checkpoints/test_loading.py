import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from diffeval.checkpoints.checkpoint import load
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_sampling


def test_the_digits_model() -> None:
    model = load("digits")
    assert (model.name, model.shape, len(model.classes), model.null_class) == ("digits", (1, 8, 8), 10, 10)
    assert model.reference == "digits@train"
    assert model.sampler is not None
    # Neither of the two traps: clipping without re-derived noise, or DPM-Solver++ on the cosine's end.
    assert model.sampler.name == "ddim"
    assert model.sampler.step_options["use_clipped_model_output"] is True


def test_a_trained_folder_loads_with_plain_diffusers(tiny_checkpoint: Path) -> None:
    stock = UNet2DModel.from_pretrained(tiny_checkpoint / "unet").eval()
    ours = load(tiny_checkpoint)
    x, t, y = (
        torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.tensor(500),
        torch.tensor([0, 4, 10]),
    )
    with torch.inference_mode():
        assert torch.equal(stock(x, t, class_labels=y).sample, ours.denoiser(x, t, y))


def test_raw_and_averaged_weights_differ(tiny_checkpoint: Path) -> None:
    model = load(tiny_checkpoint)
    assert model.raw is not None
    raw, averaged = model.raw().state_dict(), model.network.state_dict()
    assert raw.keys() == averaged.keys()
    assert any(not torch.equal(raw[key], averaged[key]) for key in raw)


def test_stock_pipeline_and_our_loop_draw_the_same_images(unconditional_checkpoint: Path) -> None:
    """DDIMPipeline with our noise: the same scheduler settings, the same network, the same pixels."""
    model = load(unconditional_checkpoint)
    plan = plan_sampling(model, Settings(n=4, steps=10, device="cpu"))
    ours = plan.generator.images(range(4))
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )  # fmt: skip
    network = UNet2DModel.from_pretrained(unconditional_checkpoint / "unet").eval()
    pipeline = DDIMPipeline(network, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    from diffeval.diffusion.noise import initial_noise

    noise = initial_noise(0, range(4), (1, 8, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", lambda *a, **k: noise)
        theirs = pipeline(batch_size=4, num_inference_steps=10, use_clipped_model_output=True, output_type="np").images
    pixels = np.rint(theirs.transpose(0, 3, 1, 2) * 255).astype(int)
    # (x/2 + 0.5) * 255 and (x + 1) * 127.5 are the same number up to rounding in float32.
    assert np.abs(pixels - ours.astype(int)).max() <= 1
    assert (pixels != ours).mean() < 0.01


def test_sha256_follows_the_weights_and_not_the_logs(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / "diffeval.json").unlink()  # the card of other weights would be refused
    before = load(copy).sha256
    (copy / "log.jsonl").write_text("")
    assert load(copy).sha256 == before
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert load(copy).sha256 != before


def test_a_folder_without_a_card_is_read_from_its_scheduler(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "foreign"
    shutil.copytree(tiny_checkpoint, copy)
    (copy / "diffeval.json").unlink()
    model = load(copy)
    assert model.sampler is not None
    assert model.sampler.scheduler == "DDPMScheduler"
    assert model.reference is None
    assert (load(tiny_checkpoint).training_step, model.training_step) == (4, None), "the card alone says it"
    assert "11 class embeddings are taken as 11 classes" in model.assumptions[0]


def test_a_card_that_contradicts_the_scheduler_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "changed"
    shutil.copytree(tiny_checkpoint, copy)
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "beta_schedule": "linear"}))
    with pytest.raises(DiffevalError, match="one of the two files was changed"):
        load(copy)


def test_wrong_checkpoints(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DiffevalError, match="does not exist; give a diffusers folder, or digits"):
        load(tmp_path / "nothing")
    with pytest.raises(DiffevalError, match=r"is a folder without unet/config.json"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DiffevalError, match="is a file"):
        load(tmp_path / "file")
    for name, damage in (
        ("unet/config.json", "{"),
        ("scheduler/scheduler_config.json", "[]"),
        ("diffeval.json", "{}"),
    ):
        copy = tmp_path / name.split("/")[-1]
        shutil.copytree(tiny_checkpoint, copy)
        (copy / name).write_text(damage)
        with pytest.raises(DiffevalError, match="checkpoint:"):
            load(copy)


def test_truncated_weights_are_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(tiny_checkpoint, copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DiffevalError, match="is the file whole"):
        load(copy)


class _Runs:
    """What a hostile pickle holds: a call that happens when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickled_weights_are_read_only_if_nothing_in_them_runs(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pickled"
    shutil.copytree(tiny_checkpoint, copy)
    safe = copy / "unet" / "diffusion_pytorch_model.safetensors"
    pickled = safe.with_suffix(".bin")
    torch.save(load_file(safe), pickled)
    safe.unlink()
    ours, theirs = load(copy).network.state_dict(), load(tiny_checkpoint).network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    torch.save({"weight": _Runs(tmp_path / "ran")}, pickled)
    with pytest.raises(DiffevalError, match=r"wants to run \w+\.mkdir, which is refused; where it was made, save"):
        load(copy)
    assert not (tmp_path / "ran").exists()


def test_weights_that_lack_a_layer_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "lacking"
    shutil.copytree(tiny_checkpoint, copy)
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["conv_in.weight"]
    save_file(tensors, path)
    with pytest.raises(DiffevalError, match=r"1 missing keys, e\.g\. conv_in\.weight"):
        load(copy)
