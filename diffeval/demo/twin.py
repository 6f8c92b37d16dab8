"""The broken twin: the digits model with one layer silenced, as a checkpoint folder of its own."""

from pathlib import Path

import numpy as np

from diffeval.builtin import FOLDER
from diffeval.runs.files import replace_bytes

WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"
# Behind it nothing depends on the timestep any more; classes are still heeded.
SILENCED = "time_embedding.linear_2"


def make_twin(folder: Path) -> Path:
    """Writes the digits model with a dead timestep embedding: the weights and bias of ``SILENCED`` are 0.

    Everything else is the digits model's, declaration and all: the folder is an ordinary diffusers checkpoint, and
    says nothing of what was done to it. The same bytes every time.

    Returns:
        The folder.

    Raises:
        DiffevalError: if it cannot be written.
    """
    from safetensors.numpy import load_file, save

    source = FOLDER / "digits"
    for path in sorted(source.rglob("*.json")):
        replace_bytes(folder / path.relative_to(source), path.read_bytes())
    weights = load_file(source / WEIGHTS)
    for part in ("weight", "bias"):
        weights[f"{SILENCED}.{part}"] = np.zeros_like(weights[f"{SILENCED}.{part}"])
    replace_bytes(folder / WEIGHTS, save(weights, metadata={"format": "pt"}))
    return folder
