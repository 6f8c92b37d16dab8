"""Folders that plain diffusers code saves, in every layout that is about."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EulerDiscreteScheduler,
    UNet2DModel,
)
from diffusers.training_utils import EMAModel
from torch import Tensor

from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.options import LoadOptions
from diffeval.diffusion.noise import initial_noise, step_generators
from diffeval.errors import DiffevalError
from diffeval.plan import Settings, plan_sampling

Floats = Callable[..., Tensor]

V_ZERO_SNR = {
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def _network(seed: int = 0, **changes: Any) -> UNet2DModel:
    config: dict[str, Any] = {
        "sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 8), "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4, "attention_head_dim": 4,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet2DModel(**{**config, **changes}).eval()


def _pipeline_floats(pipeline: Any, n: int, steps: int, **options: Any) -> Tensor:
    """What a pipeline makes of our noise, put back from [0, 1] to [-1, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    kind = type(pipeline).__module__
    noise = initial_noise(0, range(n), (pipeline.unet.config.in_channels, 8, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{kind}.randn_tensor", lambda *a, **k: noise.clone())
        made = pipeline(batch_size=n, num_inference_steps=steps, output_type="np", **options).images
    return torch.from_numpy(made).permute(0, 3, 1, 2) * 2 - 1


def test_a_ddim_pipeline_is_sampled_as_by_diffusers(tmp_path: Path, floats: Floats) -> None:
    """With the pipeline's own defaults: 50 steps, eta 0. Its scheduler file names DDPM, as training leaves it."""
    DDPMPipeline(_network(), DDPMScheduler(**V_ZERO_SNR)).save_pretrained(tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "DDIMPipeline"}))
    model = load(tmp_path / "model")
    assert model.schedule.zero_terminal_snr
    assert (model.sampler is not None and model.sampler.scheduler, model.steps) == ("DDIMScheduler", 50)
    assert (model.prediction, model.assumptions) == ("v_prediction", ())
    theirs = _pipeline_floats(DDIMPipeline.from_pretrained(tmp_path / "model"), 2, 50)
    assert (floats(model, 2).clamp(-1, 1) - theirs).abs().max() < 1e-4


def test_a_ddpm_pipeline_is_sampled_as_by_diffusers(tmp_path: Path, floats: Floats) -> None:
    """Ancestral sampling draws noise at its steps: theirs is given ours, image by image."""
    scheduler = DDPMScheduler(num_train_timesteps=40, beta_end=0.3)
    DDPMPipeline(_network(), scheduler).save_pretrained(tmp_path)
    model = load(tmp_path)
    assert (model.sampler is not None and model.sampler.scheduler, model.steps) == ("DDPMScheduler", 40)
    pipeline, generators = DDPMPipeline.from_pretrained(tmp_path), step_generators(0, range(3))

    class PerImage(type(pipeline.scheduler)):  # type: ignore[misc]
        def step(self, *values: Any, generator: Any = None, **named: Any) -> Any:
            return super().step(*values, generator=generators, **named)

    pipeline.scheduler = PerImage.from_config(pipeline.scheduler.config)
    theirs = _pipeline_floats(pipeline, 3, 40)
    assert (floats(model, 3).clamp(-1, 1) - theirs).abs().max() < 1e-4


def test_another_class_of_scheduler_is_the_declared_sampler(tmp_path: Path, floats: Floats) -> None:
    scheduler = EulerDiscreteScheduler(timestep_spacing="trailing", beta_schedule="scaled_linear")
    network = _network()
    network.save_pretrained(tmp_path / "unet")
    scheduler.save_pretrained(tmp_path / "scheduler")
    ours = floats(load(tmp_path), 2, steps=5)
    scheduler.set_timesteps(5)
    x = initial_noise(0, range(2), (1, 8, 8)) * scheduler.init_noise_sigma
    with torch.inference_mode():
        for t in scheduler.timesteps:
            x = scheduler.step(network(scheduler.scale_model_input(x, t), t).sample, t, x).prev_sample
    assert (ours - x).abs().max() < 1e-4 * x.abs().max()


def test_eleven_embeddings_are_undecided_until_the_null_class_is_named(tmp_path: Path) -> None:
    network = _network(num_class_embeds=11)
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(tmp_path)
    undecided = load(tmp_path)
    assert (len(undecided.classes), undecided.null_class) == (11, None)
    assert "11 class embeddings are taken as 11 classes" in undecided.assumptions[0]
    assert "--null-class" in undecided.assumptions[0]
    none = load(tmp_path, LoadOptions(null_class="none"))
    assert (len(none.classes), none.null_class, none.assumptions) == (11, None, ())
    assert none.sha256 == undecided.sha256, "the same model, less in doubt"
    last = load(tmp_path, LoadOptions(null_class=10))
    assert (last.classes, last.null_class) == (tuple("0123456789"), 10)
    first = load(tmp_path, LoadOptions(null_class=0))
    assert (first.classes, first.null_class) == (("1", "2", "3", "4", "5", "6", "7", "8", "9", "10"), 10)
    assert len({undecided.sha256, last.sha256, first.sha256}) == 3
    x, t = torch.ones(3, 1, 8, 8), torch.tensor(7)
    with torch.inference_mode():
        ours = first.denoiser(x, t, torch.tensor([0, 9, 10]))
        theirs = network(x, t, class_labels=torch.tensor([1, 10, 0])).sample
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    with pytest.raises(DiffevalError, match="--null-class 11, but the network has 11 class embeddings, 0 to 10"):
        load(tmp_path, LoadOptions(null_class=11))
    with pytest.raises(DiffevalError, match="12 classes are asked for, but the network has 11"):
        load(tmp_path, LoadOptions(classes=12))


def test_names_of_a_card_do_not_outlive_its_null_class(tiny_checkpoint: Path) -> None:
    assert load(tiny_checkpoint, LoadOptions(null_class=3)).classes[3] == "4"
    assert load(tiny_checkpoint, LoadOptions(null_class=10)).sha256 == load(tiny_checkpoint).sha256
    assert load(tiny_checkpoint, LoadOptions(null_class="none")).null_class is None


def test_the_folders_of_training_scripts_hold_averaged_and_raw_weights(tmp_path: Path) -> None:
    """``unet/`` and ``unet_ema/`` as diffusers' training scripts save them through accelerate."""
    network = _network()
    average = EMAModel(_network(1).parameters(), model_cls=UNet2DModel, model_config=network.config)
    network.save_pretrained(tmp_path / "unet")
    with torch.random.fork_rng():  # it makes a network to save
        average.save_pretrained(tmp_path / "unet_ema")
    with pytest.raises(DiffevalError, match=r"has no scheduler/scheduler_config.json, which tells its schedule; give"):
        load(tmp_path)
    DDPMScheduler().save_pretrained(tmp_path / "last" / "scheduler")
    flags = {"schedule": str(tmp_path / "last" / "scheduler")}
    model = load(tmp_path, LoadOptions(**flags))
    wanted, raw = _network(1).state_dict(), network.state_dict()
    assert "averaged (EMA), in unet_ema/; raw ones in unet/" in model.weights
    assert all(torch.equal(value, wanted[name]) for name, value in model.network.state_dict().items())
    assert model.raw is not None
    assert all(torch.equal(value, raw[name]) for name, value in model.raw().state_dict().items())
    chosen = load(tmp_path, LoadOptions(raw=True, **flags))
    assert all(torch.equal(value, raw[name]) for name, value in chosen.network.state_dict().items())
    assert chosen.sha256 != model.sha256
    x, t = torch.ones(1, 1, 8, 8), torch.tensor(3)
    assert torch.equal(model.with_raw_weights().denoiser(x, t, None), chosen.denoiser(x, t, None))
    with pytest.raises(DiffevalError, match="holds one set of weights, and none without averaging"):
        chosen.with_raw_weights()


def test_a_bare_network_takes_its_schedule_from_flags(tmp_path: Path) -> None:
    _network().save_pretrained(tmp_path)
    with pytest.raises(DiffevalError, match=r"give --schedule, e.g. linear, or the folder of its scheduler"):
        load(tmp_path)
    model = load(tmp_path, LoadOptions(schedule="linear", timesteps=500, prediction="sample"))
    assert (model.schedule.timesteps, model.prediction, model.sampler) == (500, "sample", None)
    assert model.assumptions == ("the value range is not declared: -1 to 1 is assumed (--value-range)",)
    assert plan_sampling(model, Settings(n=1, device="cpu")).generator.sampler.name == "ddim"


def test_half_precision_variants_and_pickled_weights(tmp_path: Path) -> None:
    network = _network()
    DDPMPipeline(network.half(), DDPMScheduler()).save_pretrained(tmp_path / "half", variant="fp16")
    DDPMPipeline(network.float(), DDPMScheduler()).save_pretrained(tmp_path / "bin", safe_serialization=False)
    wanted = network.state_dict()
    for name in ("half", "bin"):
        model = load(tmp_path / name)
        assert all(torch.equal(value, wanted[key]) for key, value in model.network.state_dict().items())


@pytest.mark.parametrize("at_the_top", [True, False])
def test_the_layouts_of_ddpm_cifar10_on_the_hub(tmp_path: Path, at_the_top: bool) -> None:
    """google/ddpm-cifar10-32 keeps the network at its root; the same with four times fewer channels."""
    network = _network(
        sample_size=32, in_channels=3, out_channels=3, block_out_channels=(32, 64, 64, 64), layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=32, attention_head_dim=None, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1,
        act_fn="silu", mid_block_scale_factor=1, norm_eps=1e-6,
    )  # fmt: skip
    DDPMPipeline(network, DDPMScheduler(clip_sample=True, variance_type="fixed_large")).save_pretrained(tmp_path)
    if at_the_top:
        for file in (*(tmp_path / "unet").iterdir(), *(tmp_path / "scheduler").iterdir()):
            shutil.move(file, tmp_path / file.name)
        shutil.rmtree(tmp_path / "unet")
        shutil.rmtree(tmp_path / "scheduler")
    model = load(tmp_path)
    assert (model.shape, model.schedule.name, model.schedule.timesteps) == ((3, 32, 32), "linear", 1000)
    assert model.sampler is not None
    assert (model.sampler.config["variance_type"], model.steps, model.classes) == ("fixed_large", 1000, ())
    assert model.assumptions == ()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model_index.json", {"_class_name": "KandinskyPipeline"}, "is a KandinskyPipeline, this version loads"),
        ("model_index.json", {"_class_name": "StableDiffusionPipeline"}, "names diffusers's UNet2DModel for unet"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "holds a UNet2DConditionModel, this version"),
        ("unet/config.json", {"sample_size": None}, "has no sample_size; give --shape"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "EDMEulerScheduler"},
            "EDMEulerScheduler, which has no be",
        ),
        ("scheduler/scheduler_config.json", {"_class_name": "Nothing"}, "is of a Nothing, which has no betas"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "says prediction_type 'flow'; known:"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "wavy"}, "describes no noise schedule"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type 'timestep', whose class embedding"),
        ("unet/config.json", {"out_channels": 2}, r"conv_out\.bias expected shape|mismatched keys"),
    ],
)
def test_folders_that_cannot_be_read_say_why(tmp_path: Path, file: str, change: dict[str, Any], message: str) -> None:
    embedding = "timestep" if "class_embed_type" in change else None
    DDPMPipeline(_network(class_embed_type=embedding), DDPMScheduler()).save_pretrained(tmp_path)
    path = tmp_path / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DiffevalError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_schedules_in_a_scheduler_of_sigmas_give_way_to_the_flag(tmp_path: Path) -> None:
    DDPMPipeline(_network(), DDPMScheduler()).save_pretrained(tmp_path)
    path = tmp_path / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "EDMEulerScheduler", "sigma_min": 0.002}))
    assert load(tmp_path, LoadOptions(schedule="linear")).schedule.name == "linear"


def test_options_that_a_folder_cannot_honour_are_refused(tmp_path: Path) -> None:
    DDPMPipeline(_network(), DDPMScheduler()).save_pretrained(tmp_path)
    for options, message in (
        (LoadOptions(model="a.py:b"), "--model is given, but a diffusers folder names its network itself"),
        (LoadOptions(key="ema"), "--key is given"),
        (LoadOptions(revision="main"), "--revision is given, but a folder has none"),
        (LoadOptions(raw=True), "--raw is given, but .* holds one set of weights"),
        (LoadOptions(raw=False), "--ema is given, but nothing in .* says that its weights are averaged"),
        (LoadOptions(timesteps=10), "--timesteps is given, but the noise schedule has no name"),
    ):
        with pytest.raises(DiffevalError, match=message):
            load(tmp_path, options)


def test_ddim_scheduler_of_other_betas(tmp_path: Path) -> None:
    """trained_betas, and end points that are no default."""
    betas = [0.1, 0.2, 0.3]
    _network().save_pretrained(tmp_path / "unet")
    DDIMScheduler(num_train_timesteps=3, trained_betas=betas).save_pretrained(tmp_path / "scheduler")
    schedule = load(tmp_path).schedule
    assert (schedule.name, schedule.betas) == ("custom", tuple(torch.tensor(betas).tolist()))
