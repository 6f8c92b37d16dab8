"""How the network of each text-to-image pipeline is called, with what the text was encoded to."""

from collections.abc import Mapping
from typing import Any

import torch

from diffeval.checkpoints.pipelines import Kind
from diffeval.checkpoints.text import Call
from diffeval.data.pixels import Shape
from diffeval.diffusion.flow import clean

# Of every flow in diffusers.
TIMESTEPS = 1000
Encoded = Mapping[str, torch.Tensor]


def network_call(kind: Kind, sizes: tuple[int, ...] | None) -> Call:
    """``call(network, x, t, encoded, w)`` of a pipeline's network; w counts for guidance-distilled ones alone.

    Args:
        kind: of the pipeline.
        sizes: what ``sizes_of`` gives.
    """
    if kind.text == "sd3":
        return _call_sd3
    return _call_flux if kind.text == "flux" else _caller(sizes)


def is_distilled(network: Any) -> bool:
    """Whether the network takes the guidance scale as an input.

    Source: Meng et al. 2023; in diffusers, ``time_cond_proj_dim`` of U-Nets and ``guidance_embeds`` of Flux.
    """
    config = network.config
    return getattr(config, "time_cond_proj_dim", None) is not None or bool(getattr(config, "guidance_embeds", False))


def sizes_of(network: Any, vae: Any, shape: Shape) -> tuple[int, ...] | None:
    """SDXL's conditioning on sizes: the original's, where the crop begins, the target's; as the pipeline sets them.

    Args:
        network: that denoises.
        vae: autoencoder.
        shape: of the latents that are drawn.
    """
    if getattr(network.config, "addition_embed_type", None) != "text_time":
        return None
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = shape[1] * factor, shape[2] * factor
    return (height, width, 0, 0, height, width)


def _caller(sizes: tuple[int, ...] | None) -> Call:
    """Of a U-Net that attends to the text."""

    def call(network: Any, x: torch.Tensor, t: torch.Tensor, encoded: Encoded, w: float) -> torch.Tensor:
        more: dict[str, Any] = {}
        if sizes is not None:
            ids = torch.tensor([sizes] * len(x), dtype=torch.float32, device=x.device)
            more["added_cond_kwargs"] = {"text_embeds": encoded["text_embeds"], "time_ids": ids}
        width = network.config.time_cond_proj_dim
        if width is not None:
            more["timestep_cond"] = _scale_embedding(w, width).to(x.device).expand(len(x), -1)
        prediction: torch.Tensor = network(
            x, t, encoder_hidden_states=encoded["encoder_hidden_states"], **more
        ).sample  # fmt: skip
        return prediction

    return call


def _scale_embedding(w: float, width: int) -> torch.Tensor:
    """How distilled U-Nets are told w, float32 [1, width]: sines and cosines of 1000 (w - 1).

    Source: Luo et al. 2023 (LCM), whose scale is ours less 1; frequencies as those of timesteps (Ho et al. 2020).
    """
    half = width // 2
    rates = torch.exp(torch.arange(half) * -(torch.log(torch.tensor(10000.0)) / (half - 1)))
    angles = torch.tensor([[(w - 1.0) * 1000.0]]) * rates
    found = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(found, (0, width % 2))


def _call_sd3(network: Any, x: torch.Tensor, t: torch.Tensor, encoded: Encoded, w: float) -> torch.Tensor:
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


def _call_flux(network: Any, x: torch.Tensor, t: torch.Tensor, encoded: Encoded, w: float) -> torch.Tensor:
    """One that takes squares of 2 x 2 latents as tokens, and where each of them is."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    text = encoded["encoder_hidden_states"]
    places = torch.zeros(height, width, 3, device=x.device)
    places[..., 1] = torch.arange(height, device=x.device)[:, None]
    places[..., 2] = torch.arange(width, device=x.device)[None, :]
    scale = torch.full((len(x),), w, device=x.device) if network.config.guidance_embeds else None

    def velocity(mixed: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        squares = mixed.reshape(len(x), x.shape[1], height, 2, width, 2).permute(0, 2, 4, 1, 3, 5)
        found: torch.Tensor = network(
            hidden_states=squares.reshape(len(x), height * width, -1),
            timestep=time / TIMESTEPS,
            guidance=scale,
            pooled_projections=encoded["text_embeds"],
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, device=x.device),
            img_ids=places.reshape(-1, 3),
        ).sample
        return found.reshape(len(x), height, width, x.shape[1], 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    return clean(velocity, x, t, TIMESTEPS)
