"""Faults planted in a text-to-image latent model, and which check names each.

    python benchmarks/make_latent.py MODEL && python benchmarks/latent_faults.py MODEL

The folder of `make_latent.py` as it is, and with one thing wrong at a time, each looked at by every check as a user
would (`diffeval check`, 64 seeds, at w = 1 and at the pipeline's own w). Three times images of diffusers' own pipeline
are looked at by `reproduction` (w = 7.5, 16 images). What fails stands in the table. A script that
was stopped goes on with the same `--runs`. About 20 minutes on 2 cores.
"""

import argparse
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from record import save
from safetensors.torch import load_file, save_file

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.data.prompts import read_prompts
from diffeval.examine import check
from diffeval.plan import Settings

# What each fault must be named by.
EXPECTED = {
    "none": (),
    "none, w = 7.5": (),
    "scaling_factor 1.4 times as large": ("vae",),
    "scaling_factor 1.4 times as small": ("vae",),
    "gamma 1.1 in the decoder": ("vae",),
    "text encoder zeroed": ("guidance-branch",),
    "epsilon weights declared v_prediction": ("prediction-type",),
    "cosine schedule declared": ("noise-schedule",),
    "none, served": (),
    "negative prompt ignored": ("reproduction",),
    "guidance as eps_cond + w (eps_cond - eps_uncond)": ("reproduction",),
}
# What a pipeline that serves the model is called with, beside prompt, negative prompt, w and seed.
W, STEPS, SERVED = 7.5, 50, 16
CALLS: dict[str, dict[str, object]] = {
    "none, served": {},
    "negative prompt ignored": {"negative_prompt": None},
    # The same by algebra: eps_uncond + (w + 1) (eps_cond - eps_uncond).
    "guidance as eps_cond + w (eps_cond - eps_uncond)": {"guidance_scale": W + 1.0},
}


def _configured(folder: Path, name: str, **changes: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def scaled(factor: float) -> Callable[[Path], None]:
    """Another scaling factor than the network was trained with."""

    def plant(folder: Path) -> None:
        held = json.loads((folder / "vae" / "config.json").read_text())["scaling_factor"]
        _configured(folder, "vae/config.json", scaling_factor=factor * held)

    return plant


def deaf(folder: Path) -> None:
    """A text encoder whose last layer gives nothing."""
    path = folder / "text_encoder" / "model.safetensors"
    state = load_file(path)
    for name in state:
        if "final_layer_norm" in name:
            state[name] = torch.zeros_like(state[name])
    save_file(state, path, {"format": "pt"})


PLANTED: dict[str, Callable[[Path], None]] = {
    "scaling_factor 1.4 times as large": scaled(1.4),
    "scaling_factor 1.4 times as small": scaled(1 / 1.4),
    "text encoder zeroed": deaf,
    "epsilon weights declared v_prediction": lambda folder: _configured(
        folder, "scheduler/scheduler_config.json", prediction_type="v_prediction"
    ),
    "cosine schedule declared": lambda folder: _configured(
        folder, "scheduler/scheduler_config.json", beta_schedule="squaredcos_cap_v2"
    ),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Decoded:
    """What diffusers' autoencoders return."""

    sample: torch.Tensor


class Bent(torch.nn.Module):
    """An autoencoder whose decoder has a gamma of 1.1."""

    def __init__(self, vae: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.config = vae, vae.config

    def encode(self, x: torch.Tensor) -> object:
        """As it is."""
        found: object = self.inner.encode(x)  # type: ignore[operator]
        return found

    def decode(self, z: torch.Tensor) -> object:
        """With bent tones."""
        sample = self.inner.decode(z).sample  # type: ignore[operator]
        return Decoded((sample / 2 + 0.5).clamp(0, 1) ** 1.1 * 2 - 1)


def bent(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with that decoder."""
    assert checkpoint.latents is not None
    latents = dataclasses.replace(checkpoint.latents, vae=Bent(checkpoint.latents.vae))
    return dataclasses.replace(checkpoint, latents=latents, decode=latents.decode)


def served(fault: str, model: Path, path: Path) -> Path:
    """Images of diffusers' own pipeline, with one thing done otherwise than the file says."""
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    prompts = [one.text for one in read_prompts(model / "prompts.csv")][:SERVED]
    negatives = [*prompts[1:], prompts[0]]  # away from another digit
    images = []
    for seed, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
        call: dict[str, object] = {"negative_prompt": negative, "guidance_scale": W} | CALLS[fault]
        begun = torch.Generator().manual_seed(seed)
        one = pipeline(prompt, generator=begun, num_inference_steps=STEPS, output_type="np", **call).images[0]
        images.append(np.round(one * 255).astype(np.uint8))
    np.savez(path, images=np.stack(images), seeds=np.arange(len(prompts)), prompts=prompts, negatives=negatives)
    return path


def looked_at(fault: str, model: Path, folder: Path) -> dict[str, object]:
    """A row: what fails, and whether that is what was planted."""
    copy = folder / fault.replace(" ", "-")
    if not copy.exists():
        shutil.copytree(model, copy)
        if fault in PLANTED:
            PLANTED[fault](copy)
    checkpoint = load(copy)
    if fault.startswith("gamma"):
        checkpoint = bent(checkpoint)
    settings = Settings(n=64, device="cpu", w=None if "7.5" in fault else 1.0)
    if fault in CALLS:
        made = served(fault, model, folder / f"{copy.name}.npz")
        settings = dataclasses.replace(settings, w=W, steps=STEPS)
        results = check(
            checkpoint, settings=settings, made=made, only=("reproduction",), out=folder / f"run-{copy.name}"
        )
    else:
        results = check(checkpoint, settings=settings, out=folder / f"run-{copy.name}")
    by = {status: [one.name for one in results.checks if one.status == status] for status in ("fail", "warn")}
    expected = EXPECTED[fault]
    said = next((one.summary for one in results.checks if one.name in expected), "")
    return {
        "planted": fault,
        "named by": ", ".join(expected) or "nothing",
        "right": set(expected) <= set(by["fail"]) if expected else not by["fail"],
        "fails": ", ".join(by["fail"]) or "none",
        "warns": ", ".join(by["warn"]) or "none",
        "in words": said,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/latent_faults"), help="What is there is not redone.")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    rows = [looked_at(fault, given.model, given.runs) for fault in EXPECTED]
    save("latent_faults", rows, ("torch", "diffusers", "transformers"))


if __name__ == "__main__":
    main()
