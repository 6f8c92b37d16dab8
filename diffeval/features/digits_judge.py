"""The digits judge: a small CLIP that knows pictures of digits and captions of them, built in.

open_clip's own architecture and tokenizer, small: so that whatever is done with a large CLIP can be done, and tried,
on any machine. Of the vocabulary's 49,408 rows the file holds those that its captions use; the others are drawn as
before training, from the seed in the file. A caption in other words is still read, as far as its words are known.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from diffeval.builtin import FOLDER
from diffeval.data.source import Images
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError
from diffeval.features.clip_text import TextTower
from diffeval.features.extractor import Extracted, Extractor, ExtractorRequest, refuse
from diffeval.runs.paths import regular

# Of the ``clip`` extractor.
VARIANT = "digits"
WEIGHTS = FOLDER / "digits_judge.safetensors"
SIDE, WIDTH, EMBEDDING, VOCABULARY, CONTEXT = 8, 64, 32, 49_408, 77
VISION = {"image_size": SIDE, "layers": 3, "width": WIDTH, "head_width": 16, "patch_size": 2}
TEXT = {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": WIDTH, "heads": 4, "layers": 2}
# Standard deviation of token rows before training, as open_clip draws them.
SPREAD = 0.02
TOKENS, ROWS, SEED = "token_embedding.weight", "token_embedding.rows", "seed"

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Captions that it was trained with; ``{}`` stands for the word or, where so marked, for the figure.
TEMPLATES = (
    "a handwritten {}",
    "the digit {}",
    "a picture of the number {}",
    "the number {} in white on black",
    "a small grey image of a {}",
    "someone wrote a {}",
    "{}",
    "a scan of the figure {}",
)
# Wordings that it never saw.
HELD_OUT_TEMPLATES = ("a photo of a {} written by hand", "this is a {}", "the handwritten digit {}, very small")


def caption(label: int, template: str = TEMPLATES[0], *, figure: bool = False) -> str:
    """What a picture of a digit shows, in words, or with the figure itself."""
    return template.format(label if figure else WORDS[label])


def new_judge() -> Any:
    """open_clip's network, untrained; it draws from torch's global state, which the caller keeps."""
    from open_clip import CLIP

    return CLIP(EMBEDDING, VISION, TEXT)


def token_rows(seed: int) -> torch.Tensor:
    """The table of tokens as it is before training, [VOCABULARY, WIDTH]."""
    return torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(seed)) * SPREAD


def load_judge(path: Path = WEIGHTS) -> Any:
    """open_clip's network with the judge's weights, in eval mode.

    Raises:
        DiffevalError: if the file is missing or is none of its own.
    """
    if not path.exists():
        raise DiffevalError(f"digits judge: {path} is missing; install diffeval again")
    try:
        with safe_open(regular(path), "pt") as file:
            state = {key: file.get_tensor(key).float() for key in file.keys() if key != ROWS}  # noqa: SIM118
            rows, seed = file.get_tensor(ROWS).long(), int((file.metadata() or {})[SEED])
        table = token_rows(seed)
        table[rows] = state[TOKENS]
        with torch.random.fork_rng(devices=[]):
            network = new_judge()
        network.load_state_dict({**network.state_dict(), **state, TOKENS: table})
    except (KeyError, IndexError, OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DiffevalError(
            f"digits judge: {path} is no file of its own ({reason}); install diffeval again"
        ) from error
    return network.eval()


def digits_judge(request: ExtractorRequest) -> Extractor:
    """The judge as an extractor: ``clip:digits``.

    Raises:
        DiffevalError: if its file is missing, or for what it cannot do.
    """
    refuse(replace(request, variant=None), f"clip:{VARIANT}", resize=True, fast=True)
    path, device = request.weights or WEIGHTS, request.device
    network = load_judge(path).to(device).requires_grad_(False)

    @torch.inference_mode()
    def run(images: Images) -> Extracted:
        if images.shape[1:] != (1, SIDE, SIDE):
            raise DiffevalError(
                f"extractor: clip:{VARIANT} takes grey {SIDE}x{SIDE} images, got "
                f"{'x'.join(map(str, images.shape[1:]))}; give --weights of a CLIP network"
            )
        with full_precision():
            found = network.encode_image(to_picture(torch.from_numpy(images)).to(device))
            return Extracted(found.cpu().numpy(), None)

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Extractor(
        f"clip:{VARIANT}",
        f"clip/{VARIANT}/{digest[:16]}",
        EMBEDDING,
        "none",
        (),
        run,
        layer="projected image features, not brought to unit length",
        normalisation="to [-1, 1]",
        takes=(1, SIDE, SIDE),
        texts=TextTower(lambda: network, device),
    )


def to_picture(images: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 1, 8, 8] or [n, 3, 8, 8] to what the judge takes: float32 [n, 3, 8, 8] from -1 to 1."""
    unit = images.float() / 127.5 - 1.0
    return unit.expand(-1, 3, -1, -1) if images.shape[1] == 1 else unit
