"""Trains a small text-to-image latent model on digits with captions, and saves it as a Stable Diffusion folder.

    pip install -e '.[t2i]' && python benchmarks/make_latent.py OUT [--steps 4000]

diffusers' own classes, small: an autoencoder of one channel (8 x 8 pixels to 4 x 4 latents of 4 channels), CLIP's text
encoder with a token for each character, a U-Net with cross attention, trained together on captions such as "a
handwritten seven"; a tenth of them is empty, so that it can be guided. What lies in OUT is what a user has: diffusers'
StableDiffusionPipeline loads it, and `diffeval show OUT` does. Beside it, prompts.csv has captions by class, and
diffeval.json says what it was trained on. About 15 minutes on 2 cores.
"""

import argparse
import csv
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffeval.data.source import open_source
from diffeval.features.digits_judge import HELD_OUT_TEMPLATES, TEMPLATES, WORDS, caption

CHARACTERS = tuple(map(chr, range(33, 127)))
LONGEST, WIDTH, BATCH, DROPPED, KL = 40, 48, 64, 0.1, 1e-4
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's, with a token for each character."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*CHARACTERS, *(f"{one}</w>" for one in CHARACTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LONGEST)


def text_encoder(count: int) -> CLIPTextModel:
    """Two layers of CLIP's text transformer."""
    config = CLIPTextConfig(
        vocab_size=count, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_attention_heads=4, num_hidden_layers=2,
        max_position_embeddings=LONGEST, bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=count - 1,
    )  # fmt: skip
    return CLIPTextModel(config)


def autoencoder() -> AutoencoderKL:
    """8 x 8 pixels to 4 x 4 latents."""
    return AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=4, block_out_channels=(24, 48), norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=8,
    )  # fmt: skip


def unet() -> UNet2DConditionModel:
    """Cross attention at both resolutions."""
    return UNet2DConditionModel(
        sample_size=4, in_channels=4, out_channels=4, block_out_channels=(48, 96), layers_per_block=1,
        norm_num_groups=8, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=WIDTH, attention_head_dim=4,
    )  # fmt: skip


def train_autoencoder(vae: AutoencoderKL, x: torch.Tensor, steps: int, generator: torch.Generator) -> None:
    """Squared error with a little KL divergence; afterwards its scale is that of its latents."""
    optimiser = torch.optim.AdamW(vae.parameters(), lr=2e-3)
    for step in range(steps):
        _cosine(optimiser, 2e-3, step, steps)
        images = x[torch.randint(len(x), (BATCH,), generator=generator)]
        posterior = vae.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        loss = F.mse_loss(vae.decode(posterior.mean + posterior.std * noise).sample, images)
        (loss + KL * posterior.kl().mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
        if step % 500 == 0:
            print(f"autoencoder: step {step}, squared error {float(loss):.4f}", flush=True)
    with torch.inference_mode():
        spread = float(vae.eval().encode(x).latent_dist.mean.std())
    vae.register_to_config(scaling_factor=round(1.0 / spread, 5))
    print(f"autoencoder: scaling_factor {vae.config.scaling_factor}", flush=True)


def train(out: Path, steps: int, seed: int = 0) -> None:
    """Trains and saves."""
    source = open_source("digits@train")
    assert source.labels is not None
    x = torch.from_numpy(source.images).float() / 127.5 - 1.0
    tokens = tokenizer(out / "made" / "tokenizer")
    captions = [[caption(label, template) for template in TEMPLATES] for label in range(10)]
    read = tokens([text for row in captions for text in row] + [""], padding="max_length", max_length=LONGEST,
                  return_tensors="pt").input_ids  # fmt: skip
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae, words, network = autoencoder(), text_encoder(len(tokens)), unet()
        train_autoencoder(vae, x, 2000, generator)
        with torch.inference_mode():
            latents = vae.encode(x).latent_dist.mean * vae.config.scaling_factor
        latents = latents.clone()
        parameters = [*network.parameters(), *words.parameters()]
        optimiser, average = torch.optim.AdamW(parameters, lr=1e-3), EMAModel(parameters, decay=0.999)
        for step in range(steps):
            _cosine(optimiser, 1e-3, step, steps)
            rows = torch.randint(len(x), (BATCH,), generator=generator)
            said = (
                source.labels[rows.numpy()] * len(TEMPLATES)
                + torch.randint(len(TEMPLATES), (BATCH,), generator=generator).numpy()
            )
            numbers = torch.from_numpy(said)
            numbers[torch.rand(BATCH, generator=generator) < DROPPED] = len(read) - 1
            noise = torch.randn(latents[rows].shape, generator=generator)
            t = torch.randint(scheduler.config.num_train_timesteps, (BATCH,), generator=generator)
            noisy = scheduler.add_noise(latents[rows], noise, t)
            states = words(read[numbers])[0]
            loss = F.mse_loss(network(noisy, t, encoder_hidden_states=states).sample, noise)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            average.step(parameters)
            if step % 250 == 0:
                print(f"unet: step {step}, loss {float(loss):.4f}", flush=True)
    average.copy_to(parameters)
    for part in (vae, words, network):
        part.train(False)
    save(out, vae, words, network, tokens, scheduler, source.content_hash())


def _cosine(optimiser: torch.optim.Optimizer, rate: float, step: int, steps: int) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))


def save(
    out: Path, vae: AutoencoderKL, words: CLIPTextModel, network: UNet2DConditionModel, tokens: CLIPTokenizer,
    scheduler: DDIMScheduler, data_hash: str,
) -> None:  # fmt: skip
    """As users save theirs, with prompts by class and what it was trained on beside it."""
    StableDiffusionPipeline(
        vae=vae, text_encoder=words, tokenizer=tokens, unet=network, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(out)  # fmt: skip
    (out / "diffeval.json").write_text(json.dumps({"data": "digits@train", "data_hash": data_hash}) + "\n")
    for name, templates in (("prompts.csv", TEMPLATES[:2]), ("held_out.csv", HELD_OUT_TEMPLATES[:2])):
        with (out / name).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("id", "prompt", "class"))
            rows.writerows(
                (f"{Path(name).stem}-{number}-{label}", caption(label, template), label)
                for number, template in enumerate(templates)
                for label in range(len(WORDS))
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    given = parser.parse_args()
    train(given.out, given.steps)


if __name__ == "__main__":
    main()
