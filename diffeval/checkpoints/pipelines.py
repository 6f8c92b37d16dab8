"""The pipelines of diffusers that are loaded, and what each is made of: nothing else is ever imported."""

from collections.abc import Mapping
from dataclasses import dataclass

# Component of a pipeline to the classes that it may be of, by library.
Parts = Mapping[str, Mapping[str, tuple[str, ...]]]

_KL = {"diffusers": ("AutoencoderKL",)}
_CLIP, _CLIP_TOKENS = {"transformers": ("CLIPTextModel",)}, {"transformers": ("CLIPTokenizer", "CLIPTokenizerFast")}


_PROJECTED = {"transformers": ("CLIPTextModelWithProjection",)}
_T5, _T5_TOKENS = {"transformers": ("T5EncoderModel",)}, {"transformers": ("T5Tokenizer", "T5TokenizerFast")}


@dataclass(frozen=True, slots=True)
class Kind:
    """A pipeline that works on latents.

    Attributes:
        name: its class in diffusers.
        network: component that denoises.
        vae: component that makes pixels of latents.
        parts: every component that is read, and what it may be.
        guidance: the guidance scale of the pipeline's own call, where the user names none; 1 is none.
        steps: its sampling steps.
        left_out: components that are not read: they blank images, or take images for input.
        optional: components that may be missing.
        text: how it reads text: clip, xl, sd3 or flux; empty for one that takes none.
    """

    name: str
    network: str
    vae: str
    parts: Parts
    guidance: float = 1.0
    steps: int = 50
    left_out: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    text: str = ""

    @property
    def encoders(self) -> tuple[str, ...]:
        """Components that read text, in order."""
        return tuple(name for name in self.parts if name.startswith("text_encoder"))

    @property
    def flow(self) -> bool:
        """Whether its network gives a velocity."""
        return self.text in ("sd3", "flux")


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "StableDiffusionPipeline",
            "unet",
            "vae",
            {"unet": {"diffusers": ("UNet2DConditionModel",)}, "vae": _KL, "text_encoder": _CLIP,
             "tokenizer": _CLIP_TOKENS},
            guidance=7.5,
            left_out=("safety_checker", "feature_extractor", "image_encoder"),
            text="clip",
        ),
        Kind(
            "LatentConsistencyModelPipeline",
            "unet",
            "vae",
            {"unet": {"diffusers": ("UNet2DConditionModel",)}, "vae": _KL, "text_encoder": _CLIP,
             "tokenizer": _CLIP_TOKENS},
            guidance=8.5,
            steps=4,
            left_out=("safety_checker", "feature_extractor", "image_encoder"),
            text="clip",
        ),
        Kind(
            "StableDiffusionXLPipeline",
            "unet",
            "vae",
            {"unet": {"diffusers": ("UNet2DConditionModel",)}, "vae": _KL, "text_encoder": _CLIP,
             "text_encoder_2": _PROJECTED,
             "tokenizer": _CLIP_TOKENS, "tokenizer_2": _CLIP_TOKENS},
            guidance=5.0,
            left_out=("feature_extractor", "image_encoder"),
            text="xl",
        ),
        Kind(
            "StableDiffusion3Pipeline",
            "transformer",
            "vae",
            {"transformer": {"diffusers": ("SD3Transformer2DModel",)}, "vae": _KL,
             "text_encoder": _PROJECTED, "text_encoder_2": _PROJECTED, "tokenizer": _CLIP_TOKENS,
             "tokenizer_2": _CLIP_TOKENS, "text_encoder_3": _T5, "tokenizer_3": _T5_TOKENS},
            guidance=7.0,
            steps=28,
            left_out=("feature_extractor", "image_encoder"),
            optional=("text_encoder_3", "tokenizer_3"),
            text="sd3",
        ),
        Kind(
            "FluxPipeline",
            "transformer",
            "vae",
            {"transformer": {"diffusers": ("FluxTransformer2DModel",)}, "vae": _KL, "text_encoder": _CLIP,
             "text_encoder_2": _T5, "tokenizer": _CLIP_TOKENS, "tokenizer_2": _T5_TOKENS},
            guidance=3.5,
            steps=28,
            left_out=("feature_extractor", "image_encoder"),
            text="flux",
        ),
        Kind(
            "DiTPipeline",
            "transformer",
            "vae",
            {"transformer": {"diffusers": ("DiTTransformer2DModel", "Transformer2DModel")}, "vae": _KL},
            guidance=4.0,
        ),
        Kind(
            "LDMPipeline",
            "unet",
            "vqvae",
            {"unet": {"diffusers": ("UNet2DModel",)}, "vqvae": {"diffusers": ("VQModel", "AutoencoderKL")}},
        ),
    )
}  # fmt: skip
