"""Pipelines of every kind that is loaded, as small as can be, with seeded weights: what users save, and load again."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LDMPipeline,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

CHARACTERS = tuple(map(chr, range(33, 127)))
SD_SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def tokenizer(folder: Path, longest: int = 24) -> CLIPTokenizer:
    """CLIP's, with a token for each character."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*CHARACTERS, *(f"{one}</w>" for one in CHARACTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=longest)


def text_encoder(tokens: CLIPTokenizer, width: int = 32, *, projected: bool = False) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=width, intermediate_size=2 * width, num_attention_heads=4,
        num_hidden_layers=2, max_position_embeddings=tokens.model_max_length, projection_dim=width,
        bos_token_id=len(tokens) - 2, eos_token_id=len(tokens) - 1, pad_token_id=len(tokens) - 1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5(width: int) -> tuple[T5EncoderModel, T5TokenizerFast]:
    """T5's encoder with a token for each letter and each beginning of a word."""
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("\u2581", -2.0), *((one, -3.0) for one in CHARACTERS)]
    tokens = T5TokenizerFast(vocab=words, extra_ids=0, model_max_length=512)
    config = T5Config(
        vocab_size=len(tokens), d_model=width, d_kv=8, d_ff=2 * width, num_layers=1, num_heads=4, pad_token_id=0,
    )  # fmt: skip
    return T5EncoderModel(config).eval(), tokens


def autoencoder(channels: int = 3, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=channels, out_channels=channels, latent_channels=4, block_out_channels=(16, 16), norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **more,
    ).eval()  # fmt: skip


def unet(width: int = 32, **more: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=width,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=4, **({"sample_size": 8} | more),
    ).eval()  # fmt: skip


def make(kind: str, folder: Path) -> Any:
    """The pipeline, saved to a folder."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        pipeline = MAKERS[kind](folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    return pipeline


def _stable_diffusion(folder: Path, *, v: bool = False, side: int = 8, channels: int = 3) -> StableDiffusionPipeline:
    tokens = tokenizer(folder.parent / "tokens")
    scheduler = (
        EulerDiscreteScheduler(**SD_SCHEDULE, prediction_type="v_prediction")
        if v
        else PNDMScheduler(**SD_SCHEDULE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    )
    return StableDiffusionPipeline(
        vae=autoencoder(channels, scaling_factor=0.18215), text_encoder=text_encoder(tokens), tokenizer=tokens,
        unet=unet(sample_size=side),
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _stable_diffusion_xl(folder: Path) -> StableDiffusionXLPipeline:
    tokens = tokenizer(folder.parent / "tokens")
    network = unet(
        64, addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=32 + 48
    )
    return StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025), text_encoder=text_encoder(tokens),
        text_encoder_2=text_encoder(tokens, projected=True), tokenizer=tokens, tokenizer_2=tokens, unet=network,
        scheduler=EulerDiscreteScheduler(**SD_SCHEDULE, steps_offset=1), add_watermarker=False,
    )  # fmt: skip


def _dit(folder: Path) -> DiTPipeline:
    network = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1, sample_size=8,
        patch_size=2, num_embeds_ada_norm=1000,
    ).eval()  # fmt: skip
    with torch.no_grad():  # it begins as a network that gives 0
        for parameter in network.parameters():
            parameter.normal_(std=0.1)
    names = {number: f"class {number}, and so on" for number in range(1000)}
    scheduler = DDIMScheduler(clip_sample=False)
    return DiTPipeline(network, autoencoder(scaling_factor=0.18215), scheduler, id2label=names)


def _stable_diffusion_3(folder: Path, *, with_t5: bool = False, **scheduler: Any) -> StableDiffusion3Pipeline:
    """Without T5, as it is often run, or with it."""
    tokens = tokenizer(folder.parent / "tokens", 77)
    third = t5(64) if with_t5 else (None, None)
    network = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64,
        pos_embed_max_size=8,
    ).eval()  # fmt: skip
    with torch.no_grad():  # it begins as a network that gives 0
        for parameter in network.parameters():
            parameter.normal_(std=0.08)
    return StableDiffusion3Pipeline(
        transformer=network, scheduler=FlowMatchEulerDiscreteScheduler(**({"shift": 3.0} | scheduler)),
        vae=autoencoder(scaling_factor=1.5, shift_factor=0.06), text_encoder=text_encoder(tokens, projected=True),
        tokenizer=tokens, text_encoder_2=text_encoder(tokens, projected=True), tokenizer_2=tokens,
        text_encoder_3=third[0], tokenizer_3=third[1],
    )  # fmt: skip


def _distilled(folder: Path, *, consistent: bool = False) -> Any:
    """A U-Net that takes the guidance scale: sampled as Stable Diffusion is, or in the four steps of an LCM."""
    one = _stable_diffusion(folder)
    one.register_modules(unet=unet(time_cond_proj_dim=33))
    if not consistent:
        return one
    scheduler = LCMScheduler(**SD_SCHEDULE, clip_sample=False, set_alpha_to_one=True)
    parts = {name: getattr(one, name) for name in ("vae", "text_encoder", "tokenizer", "unet")}
    return LatentConsistencyModelPipeline(
        **parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def _flux(folder: Path, *, distilled: bool) -> FluxPipeline:
    """As FLUX.1 [dev], with w for an input and a shift by size; or as [schnell], with neither."""
    tokens = tokenizer(folder.parent / "tokens", 77)
    second, words = t5(32)
    network = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=distilled, axes_dims_rope=(4, 4, 8),
    ).eval()  # fmt: skip
    with torch.no_grad():  # it begins as a network that gives 0
        for parameter in network.parameters():
            parameter.normal_(std=0.1)
    shift = {"use_dynamic_shifting": True, "shift": 3.0} if distilled else {"shift": 1.0}
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**shift), vae=autoencoder(scaling_factor=0.36, shift_factor=0.12),
        text_encoder=text_encoder(tokens), tokenizer=tokens, text_encoder_2=second, tokenizer_2=words,
        transformer=network,
    )  # fmt: skip


def _ldm(folder: Path) -> LDMPipeline:
    network = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8,
    ).eval()  # fmt: skip
    vq = VQModel(
        block_out_channels=(16, 16), norm_num_groups=8, latent_channels=3, num_vq_embeddings=32,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, scaling_factor=0.5,
    ).eval()  # fmt: skip
    return LDMPipeline(vq, network, DDIMScheduler(**SD_SCHEDULE, clip_sample=False, timestep_spacing="leading"))


MAKERS = {
    "sd": _stable_diffusion,
    "sd-v": lambda folder: _stable_diffusion(folder, v=True),
    # Grey 8 x 8 images, so that what is built in knows them.
    "sd-grey": lambda folder: _stable_diffusion(folder, side=4, channels=1),
    "sdxl": _stable_diffusion_xl,
    "sd3": _stable_diffusion_3,
    "sd3-t5": lambda folder: _stable_diffusion_3(folder, with_t5=True, use_dynamic_shifting=True),
    "sd-distilled": _distilled,
    "lcm": lambda folder: _distilled(folder, consistent=True),
    "flux-dev": lambda folder: _flux(folder, distilled=True),
    "flux-schnell": lambda folder: _flux(folder, distilled=False),
    "dit": _dit,
    "ldm": _ldm,
}
