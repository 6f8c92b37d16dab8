"""The ``digits`` extractor: a small classifier of the 8x8 digits, read at its penultimate layer."""

import hashlib

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from diffeval.builtin import FOLDER
from diffeval.data.digits import CLASSES
from diffeval.data.source import Images
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError
from diffeval.features.extractor import EXTRACTORS, Extracted, Extractor, ExtractorRequest, refuse
from diffeval.runs.paths import regular

WEIGHTS = FOLDER / "digits_extractor.safetensors"
DIM = 64


class DigitsClassifier(nn.Module):
    """Three convolutions and two linear layers, SiLU between: [n, 1, 8, 8] in [-1, 1] -> features [n, 64] -> logits.

    Dropout before both linear layers keeps the features of images it was trained on like those of unseen ones, which
    the floor beside every FID measures.
    """

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(1, 32, 3, padding=1)
        self.convolution2 = nn.Conv2d(32, 64, 3, padding=1)
        self.convolution3 = nn.Conv2d(64, 64, 3, padding=1)
        self.penultimate = nn.Linear(64 * 2 * 2, DIM)
        self.classifier = nn.Linear(DIM, len(CLASSES))
        self.dropout = nn.Dropout(dropout)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Penultimate activations, [n, 64]."""
        x = F.silu(self.convolution1(x))
        x = F.avg_pool2d(F.silu(self.convolution2(x)), 2)
        x = F.avg_pool2d(F.silu(self.convolution3(x)), 2)
        return F.silu(self.penultimate(self.dropout(x.flatten(1))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, [n, 10]."""
        logits: torch.Tensor = self.classifier(self.dropout(self.features(x)))
        return logits


def to_input(images: Images) -> torch.Tensor:
    """Pixels as the classifier takes them: float32 in [-1, 1]."""
    return torch.from_numpy(images).float() / 127.5 - 1.0


@EXTRACTORS.register("digits")
def digits(request: ExtractorRequest) -> Extractor:
    """Loads the extractor.

    Raises:
        DiffevalError: if the weights file is missing or of another network, or for what this extractor cannot do.
    """
    refuse(request, "digits", variant=True, resize=True, fast=True)
    path, device = request.weights or WEIGHTS, request.device
    with torch.device("meta"):  # no initial weights are drawn
        network = DigitsClassifier()
    try:
        network.load_state_dict(load_file(regular(path)), assign=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        mend = "leave --weights out" if request.weights else "reinstall diffeval"
        raise DiffevalError(f"extractor: digits cannot load {path}: {reason}; {mend}") from error
    network.eval().to(device)

    @torch.inference_mode()
    def run(images: Images) -> Extracted:
        if images.shape[1:] != (1, 8, 8):
            raise DiffevalError(
                f"extractor: digits takes grey 8x8 images, got {'x'.join(map(str, images.shape[1:]))}; "
                f"choose another --extractor"
            )
        with full_precision():
            features = network.features(to_input(images).to(device))
            return Extracted(features.cpu().numpy(), network.classifier(features).cpu().numpy())

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Extractor(
        "digits",
        f"digits/penultimate/{digest[:16]}",
        DIM,
        "none",
        CLASSES,
        run,
        layer="penultimate",
        normalisation="to [-1, 1]",
        takes=(1, 8, 8),
    )
