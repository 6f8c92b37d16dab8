"""How each pipeline turns text into what its network takes: by diffusers' own encoding."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from diffeval.checkpoints.diffusers_network import quiet_diffusers
from diffeval.checkpoints.pipelines import Kind
from diffeval.checkpoints.text import Call, TextCondition
from diffeval.checkpoints.text_networks import is_distilled, network_call, sizes_of
from diffeval.checkpoints.text_table import NOTHING, Encoded
from diffeval.data.pixels import Shape
from diffeval.data.prompts import Prompt
from diffeval.diffusion.batching import is_out_of_memory
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError
from diffeval.usercode import one_line

# Tokens of T5 that pipelines read: the default of their calls, which has no name there.
T5_TOKENS = {"flux": ("tokenizer_2", 512), "sd3": ("tokenizer_3", 256)}


def text_condition(
    kind: Kind,
    index: Mapping[str, Any],
    parts: Mapping[str, Any],
    tokenizers: Mapping[str, Any],
    encoder: str,
    prompts: tuple[Prompt, ...],
    shape: Shape,
) -> TextCondition:
    """What a pipeline's text encoders make of prompts, and how its network takes that.

    Args:
        kind: of the pipeline.
        index: its ``model_index.json``.
        parts: networks by component.
        tokenizers: by component.
        encoder: hash of the files of both.
        prompts: that lie beside the weights.
        shape: of the latents that are drawn.

    Raises:
        DiffevalError: if diffusers makes no such pipeline of them, or the tokenizer says no length of texts.
    """
    network = parts[kind.network]
    pipeline = _pipeline(kind, index, {**parts, **tokenizers})
    sizes = sizes_of(network, parts[kind.vae], shape)
    name, longest = _reader(kind, tokenizers)
    tokenizer = tokenizers[name]
    said = longest or tokenizer.model_max_length
    if isinstance(said, bool) or not isinstance(said, int | float) or not 1 <= said < float("inf"):
        raise DiffevalError(f"checkpoint: its {name} says model_max_length {said!r}, needs a number of tokens")
    call: Call = network_call(kind, sizes)
    return TextCondition(
        encode=lambda texts, device: _encode(kind, pipeline, texts, device),
        encoder=_identity(kind, index, network, encoder),
        call=call,
        longest=int(said),
        count=lambda text: len(tokenizer(text).input_ids),
        prompts=prompts,
        recorded={} if sizes is None else {"original_size": sizes[:2], "crop": sizes[2:4], "target_size": sizes[4:]},
        distilled=is_distilled(network),
    )


def _reader(kind: Kind, tokenizers: Mapping[str, Any]) -> tuple[str, int | None]:
    """The tokenizer that reads most of a text, and how many tokens; None for as many as it says."""
    name, longest = T5_TOKENS.get(kind.text, ("tokenizer", None))
    return (name, longest) if name in tokenizers else ("tokenizer", None)


def _identity(kind: Kind, index: Mapping[str, Any], network: Any, encoder: str) -> str:
    """What changes the encoding of a text: files, pipeline, what it makes of no text, and how wide the network is."""
    import diffusers
    import transformers

    parts = (
        encoder, kind.name, index.get("force_zeros_for_empty_prompt", True),
        getattr(network.config, "joint_attention_dim", None), diffusers.__version__, transformers.__version__,
    )  # fmt: skip
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _pipeline(kind: Kind, index: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """The pipeline without what it does not need to read text; its scheduler is not used."""
    import diffusers

    more: dict[str, Any] = {"scheduler": diffusers.DDIMScheduler(steps_offset=1, clip_sample=False)}
    more |= dict.fromkeys(name for name in kind.optional if name not in parts)
    if kind.flow:
        more["scheduler"] = diffusers.FlowMatchEulerDiscreteScheduler()
    elif kind.text == "clip":
        more |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    else:
        more |= {"force_zeros_for_empty_prompt": bool(index.get("force_zeros_for_empty_prompt", True))}
        more |= {"add_watermarker": False}
    try:
        with quiet_diffusers():
            return getattr(diffusers, kind.name)(**parts, **more)
    except Exception as error:  # it compares what the configurations say, and looks at nothing before
        raise DiffevalError(
            f"checkpoint: diffusers makes no {kind.name} of these parts: {one_line(error)}; fetch the folder whole"
        ) from error


def _encode(kind: Kind, pipeline: Any, texts: Sequence[str], device: torch.device) -> Encoded:
    """What the network takes of each text, made on ``device`` where the encoders find room there."""
    try:
        return _encoded(kind, pipeline, texts, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise DiffevalError(f"checkpoint: its text encoder fails on a prompt: {one_line(error)}") from error
        if device.type == "cpu":
            raise
        return _encoded(kind, pipeline, texts, torch.device("cpu"))


@torch.inference_mode()
def _encoded(kind: Kind, pipeline: Any, texts: Sequence[str], device: torch.device) -> Encoded:
    """``NOTHING`` is the pipeline's own for no negative prompt."""
    encoders = [one for one in (getattr(pipeline, name) for name in kind.encoders) if one is not None]
    try:
        for one in encoders:
            one.to(device)
        with full_precision(), quiet_diffusers():
            return _read(kind, pipeline, list(texts), device)
    finally:
        # Text is read once; the room is the denoiser's.
        for one in encoders:
            one.to("cpu")


def _read(kind: Kind, pipeline: Any, asked: list[str], device: torch.device) -> Encoded:
    texts = ["" if text == NOTHING else text for text in asked]
    options = {"device": device, "num_images_per_prompt": 1}
    unguided = {"do_classifier_free_guidance": False}
    if kind.text == "clip":
        return {"encoder_hidden_states": _array(pipeline.encode_prompt(texts, **options, **unguided)[0])}
    if kind.text == "flux":
        states, pooled, _ = pipeline.encode_prompt(texts, None, **options)
        return {"encoder_hidden_states": _array(states), "text_embeds": _array(pooled)}
    others = {"prompt_2": None, "prompt_3": None} if kind.text == "sd3" else {}
    states, _, pooled, _ = pipeline.encode_prompt(texts, **others, **options, **unguided)
    found = {"encoder_hidden_states": _array(states), "text_embeds": _array(pooled)}
    if kind.text == "xl" and pipeline.config.force_zeros_for_empty_prompt:
        for row in (row for row, text in enumerate(asked) if text == NOTHING):
            for array in found.values():
                array[row] = 0.0
    return found


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy().copy()
