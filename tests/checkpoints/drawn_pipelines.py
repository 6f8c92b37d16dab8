"""Images of tiny pipelines: ours, and those of the pipeline's own call on the same noise."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.options import LoadOptions
from diffeval.data.prompts import Prompt
from diffeval.diffusion.conditions import balanced_labels
from diffeval.diffusion.noise import initial_noise, step_generators
from diffeval.plan import Settings, plan_images

PROMPTS = (Prompt("0", "a red cat", negative="blurry"), Prompt("1", "two dogs under a tree, and so on and on and on"))
SHAPE = (4, 8, 8)
# Of each pipeline's own call.
GUIDANCE = {
    "sd": 7.5, "sd-v": 7.5, "sdxl": 5.0, "sd3": 7.0, "sd3-t5": 7.0, "dit": 4.0, "ldm": None, "sd-distilled": 7.5,
    "lcm": 8.5, "flux-dev": 3.5, "flux-schnell": 1.0,
}  # fmt: skip
# Those whose networks take w themselves.
DISTILLED = ("sd-distilled", "lcm", "flux-dev")


def load_kind(kind: str, folder: Path, side: int = 8) -> Checkpoint:
    """Flux names no size of its images."""
    native = side == 8 and not kind.startswith("flux")
    return load(folder, None if native else LoadOptions(shape=(SHAPE[0], side, side)))


def ours(checkpoint: Checkpoint, w: float | None, steps: int, n: int = 2) -> np.ndarray:
    """Pixels from 0 to 1 before they are rounded."""
    plan = plan_images(checkpoint, Settings(n=n, steps=steps, w=w, device="cpu"))
    generator: Any = plan.generator
    x = generator.decode(generator.latents(range(n)))
    found: np.ndarray = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return found


def theirs_of(
    kind: str,
    pipeline: Any,
    w: float,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
    side: int = 8,
    prompts: tuple[Prompt, ...] = PROMPTS,
) -> np.ndarray:
    """The pipeline's own call on the same noise."""
    shape = (SHAPE[0], side, side)
    noise = initial_noise(0, range(2), shape if kind != "ldm" else (3, 8, 8))
    common = {"num_inference_steps": steps, "output_type": "np"}
    if kind in ("dit", "ldm"):
        monkeypatch.setattr(f"{type(pipeline).__module__}.randn_tensor", lambda *one, **more: noise.clone())
        labels = {"class_labels": balanced_labels(0, 2, 1000).tolist(), "guidance_scale": w}
        found: np.ndarray = pipeline(**(labels if kind == "dit" else {"batch_size": 2}), **common).images
        return found
    # One by one where negative prompts differ in being there at all.
    images = []
    sides = {"height": 2 * side, "width": 2 * side} if kind not in ("dit", "ldm") else {}
    for row, one in enumerate(prompts):
        negative: dict[str, Any] = {"negative_prompt": one.negative} if one.negative else {}
        latents = noise[row : row + 1]
        scale = {"guidance_scale": w}
        if kind.startswith("flux"):
            latents = pipeline._pack_latents(latents, 1, *shape)
        if kind == "flux-schnell":  # guidance as any model's is called true guidance there
            scale, negative = {"true_cfg_scale": w}, {"negative_prompt": one.negative}
        elif kind in DISTILLED:
            negative = {}
        if kind == "lcm":  # which draws noise at its steps
            common["generator"] = step_generators(0, range(2))[row]
        images.append(pipeline(one.text, latents=latents, **scale, **negative, **common, **sides).images[0])
    return np.stack(images)


def copied(saved: Path, folder: Path) -> Path:
    shutil.copytree(saved, folder)
    return folder


def write_index(folder: Path, **changes: object) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
