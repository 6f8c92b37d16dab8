"""The safety checker of a Stable Diffusion folder: blanks images as the pipeline does, unless it is told not to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diffeval.checkpoints.components import read_component, read_processor
from diffeval.checkpoints.options import LoadOptions
from diffeval.errors import DiffevalError

CHECKER, PROCESSOR = "safety_checker", "feature_extractor"
# What ``model_index.json`` may name, in either library's spelling over the years.
CLASSES = {
    CHECKER: ("stable_diffusion", ("StableDiffusionSafetyChecker",)),
    PROCESSOR: ("transformers", ("CLIPImageProcessor", "CLIPFeatureExtractor")),
}


@dataclass(frozen=True, slots=True, eq=False)
class SafetyChecker:
    """Blanks images that it finds unsafe.

    Attributes:
        network: diffusers' checker.
        processor: makes its input of pictures.
    """

    network: torch.nn.Module
    processor: Any

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [-1, 1], float32 [b, 3, H, W], with those that are unsafe made black."""
        unit = (pixels / 2.0 + 0.5).clamp(0.0, 1.0)
        levels = (unit * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        network = self.network.to(pixels.device)
        taken = self.processor([Image.fromarray(one) for one in levels], return_tensors="pt").pixel_values
        _, unsafe = network(images=np.zeros((len(levels), 1)), clip_input=taken.to(pixels.device))
        blank = torch.tensor(unsafe, device=pixels.device).view(-1, 1, 1, 1)
        return torch.where(blank, torch.full_like(pixels, -1.0), pixels)


def safety_checker(folder: Path, index: Mapping[str, Any], options: LoadOptions) -> tuple[SafetyChecker | None, str]:
    """The folder's checker, and what there is to say of it; None where there is none, or the user turns it off.

    Raises:
        DiffevalError: if it is named and cannot be read.
    """
    named = index.get(CHECKER, [None, None])
    if named == [None, None]:
        return None, ""
    if options.safety_checker is False:
        return None, "the safety checker is off: no image is blanked"
    for name, (library, classes) in CLASSES.items():
        declared = index.get(name)
        if not isinstance(declared, list) or declared[0] != library or declared[1] not in classes:
            raise DiffevalError(
                f"checkpoint: {folder} names {declared} for {name}, needs {library}'s {classes[0]}; give "
                f"--no-safety-checker to do without"
            )
        if not (folder / name).is_dir():
            raise DiffevalError(
                f"checkpoint: {folder} has no {name}/, which its model_index.json names; fetch it whole, or give "
                f"--no-safety-checker to do without"
            )
    network = read_component(folder / CHECKER, "StableDiffusionSafetyChecker")
    return SafetyChecker(network, read_processor(folder / PROCESSOR)), (
        "the safety checker is on, as in the pipeline: images that it finds unsafe are black (--no-safety-checker)"
    )
