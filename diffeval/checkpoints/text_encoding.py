"""How each pipeline turns text into what its network takes: by diffusers' own encoding."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from diffeval.checkpoints.diffusers_network import quiet_diffusers
from diffeval.checkpoints.pipelines import Kind
from diffeval.checkpoints.text import TextCondition
from diffeval.checkpoints.text_table import Encoded
from diffeval.data.prompts import Prompt
from diffeval.diffusion.flow import clean
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError

SD3 = "StableDiffusion3Pipeline"
# Of every flow in diffusers.
TIMESTEPS = 1000


def text_condition(
    kind: Kind,
    index: Mapping[str, Any],
    parts: Mapping[str, Any],
    tokenizers: Mapping[str, Any],
    encoder: str,
    prompts: tuple[Prompt, ...],
) -> TextCondition:
    """What a pipeline's text encoders make of prompts, and how its network takes that.

    Raises:
        DiffevalError: for a network that takes the guidance scale as an input.
    """
    network = parts[kind.network]
    if getattr(network.config, "time_cond_proj_dim", None) is not None:
        raise DiffevalError(
            f"checkpoint: the {kind.network} is guidance-distilled (it takes w as an input, time_cond_proj_dim "
            f"{network.config.time_cond_proj_dim}); this version does not sample such models"
        )
    pipeline = _pipeline(kind, index, {**parts, **tokenizers})
    sizes = _sizes(kind, network, parts[kind.vae])
    tokenizer = tokenizers["tokenizer"]
    return TextCondition(
        encode=lambda texts: _encode(kind, pipeline, texts),
        encoder=encoder,
        call=_call_flow if kind.name == SD3 else _caller(sizes),
        longest=int(tokenizer.model_max_length),
        count=lambda text: len(tokenizer(text).input_ids),
        prompts=prompts,
        recorded={} if sizes is None else {"original_size": sizes[:2], "crop": sizes[2:4], "target_size": sizes[4:]},
    )


def _pipeline(kind: Kind, index: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """The pipeline without what it does not need to read text; its scheduler is not used."""
    import diffusers

    more: dict[str, Any] = {"scheduler": diffusers.DDIMScheduler(steps_offset=1, clip_sample=False)}
    if kind.name == SD3:
        more |= {"scheduler": diffusers.FlowMatchEulerDiscreteScheduler()} | dict.fromkeys(
            name for name in kind.optional if name not in parts
        )
    elif kind.name == "StableDiffusionPipeline":
        more |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    else:
        more |= {"force_zeros_for_empty_prompt": bool(index.get("force_zeros_for_empty_prompt", True))}
        more |= {"add_watermarker": False}
    with quiet_diffusers():
        return getattr(diffusers, kind.name)(**parts, **more)


@torch.inference_mode()
def _encode(kind: Kind, pipeline: Any, texts: Sequence[str]) -> Encoded:
    """What the network takes of each text; the empty text is the pipeline's own for no negative prompt."""
    device = next(pipeline.text_encoder.parameters()).device
    options = {"device": device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    with full_precision(), quiet_diffusers():
        if kind.name == "StableDiffusionPipeline":
            return {"encoder_hidden_states": _array(pipeline.encode_prompt(list(texts), **options)[0])}
        others = {"prompt_2": None, "prompt_3": None} if kind.name == SD3 else {}
        states, _, pooled, _ = pipeline.encode_prompt(list(texts), **others, **options)
    found = {"encoder_hidden_states": _array(states), "text_embeds": _array(pooled)}
    if kind.name == SD3:
        return found
    if pipeline.config.force_zeros_for_empty_prompt:
        for row, text in enumerate(texts):
            if not text:
                for array in found.values():
                    array[row] = 0.0
    return found


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy().copy()


def _sizes(kind: Kind, network: Any, vae: Any) -> tuple[int, ...] | None:
    """SDXL's conditioning on sizes: the original's, where the crop begins, the target's; as the pipeline sets them."""
    if getattr(network.config, "addition_embed_type", None) != "text_time":
        return None
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    size = network.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return (height * factor, width * factor, 0, 0, height * factor, width * factor)


def _call_flow(
    network: torch.nn.Module, x: torch.Tensor, t: torch.Tensor, encoded: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """A transformer that gives a velocity, asked for x_0."""

    def velocity(mixed: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network(
            hidden_states=mixed,
            timestep=time,
            encoder_hidden_states=encoded["encoder_hidden_states"],
            pooled_projections=encoded["text_embeds"],
        ).sample
        return found

    return clean(velocity, x, t, TIMESTEPS)


def _caller(sizes: tuple[int, ...] | None) -> Any:
    def call(
        network: torch.nn.Module, x: torch.Tensor, t: torch.Tensor, encoded: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        more: dict[str, Any] = {}
        if sizes is not None:
            ids = torch.tensor([sizes] * len(x), dtype=torch.float32, device=x.device)
            more["added_cond_kwargs"] = {"text_embeds": encoded["text_embeds"], "time_ids": ids}
        states = encoded["encoder_hidden_states"]
        prediction: torch.Tensor = network(x, t, encoder_hidden_states=states, **more).sample
        return prediction

    return call
