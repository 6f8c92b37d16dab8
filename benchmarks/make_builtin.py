"""Makes the data files of the digits model: the extractor, the judge of captions, and the DDPM by ``diffeval train``.

    python benchmarks/make_builtin.py [--only extractor|judge|model]

Takes about 8 minutes on 2 cores. The files are the same on the same machine and versions; elsewhere they differ in the
last digits, and so does what is measured with them, which is why the extractor's hash is part of every protocol.
"""

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from diffeval.builtin import FOLDER
from diffeval.data.source import open_source
from diffeval.features.digits import WEIGHTS, DigitsClassifier, to_input
from diffeval.features.digits_judge import ROWS, SEED, TEMPLATES, TOKENS, caption, new_judge, token_rows
from diffeval.features.digits_judge import WEIGHTS as JUDGE

STEPS, BATCH, PEAK_RATE = 4000, 128, 2e-3


def augmented(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Small rotations, scalings, shears and shifts, and a little noise."""

    def spread(width: float) -> torch.Tensor:
        return (torch.rand(len(x), generator=generator) * 2 - 1) * width

    angle, scale, shear, right, down = spread(0.2), 1 + spread(0.12), spread(0.15), spread(0.15), spread(0.15)
    rows = (
        torch.stack([scale * angle.cos(), -scale * angle.sin() + shear, right], dim=1),
        torch.stack([scale * angle.sin(), scale * angle.cos(), down], dim=1),
    )
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x + 1, grid, align_corners=False) - 1
    return moved + torch.randn(x.shape, generator=generator) * 0.1


def make_extractor() -> None:
    """Trains the classifier on the train split only, and writes its weights."""
    source = open_source("digits@train")
    assert source.labels is not None
    x, y = to_input(source.images), torch.from_numpy(source.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DigitsClassifier()
        optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.05)
        generator = torch.Generator().manual_seed(0)
        for step in range(STEPS):
            for group in optimiser.param_groups:
                group["lr"] = PEAK_RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            rows = torch.randint(len(x), (BATCH,), generator=generator)
            logits = network(augmented(x[rows], generator))
            loss = F.cross_entropy(logits, y[rows], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    save_file(network.eval().state_dict(), WEIGHTS)
    for split in ("train", "heldout"):
        part = open_source(f"digits@{split}")
        with torch.inference_mode():
            found = network(to_input(part.images)).argmax(dim=1).numpy()
        print(f"extractor: accuracy on {part.spec} {np.mean(found == part.labels):.4f}")


def make_judge(steps: int = 3000, seed: int = 0) -> None:
    """Trains the small CLIP on the train split and its captions, contrastively, and writes its weights.

    Many captions of a batch are right for one picture: every one of the same digit counts, in equal shares.
    """
    source = open_source("digits@train")
    assert source.labels is not None
    x, y = to_input(source.images), torch.from_numpy(source.labels)
    spoken = [
        (label, caption(label, template, figure=figure))
        for label in range(10)
        for template in TEMPLATES
        for figure in (False, True)
    ]
    tokens = open_clip.get_tokenizer("ViT-B-32")([text for _, text in spoken])
    meant = torch.tensor([label for label, _ in spoken])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = new_judge()
        with torch.no_grad():
            network.token_embedding.weight.copy_(token_rows(seed))
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
        generator = torch.Generator().manual_seed(seed)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = 1e-3 * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
            rows = torch.randint(len(x), (BATCH,), generator=generator)
            texts = torch.randint(len(tokens), (BATCH,), generator=generator)
            grey = augmented(x[rows], generator).expand(-1, 3, -1, -1)
            pictures, words = (
                network.encode_image(grey, normalize=True),
                network.encode_text(tokens[texts], normalize=True),
            )
            logits = network.logit_scale.exp().clamp(max=50.0) * pictures @ words.T
            right = (y[rows][:, None] == meant[texts][None]).float()
            loss = (_shared(logits, right) + _shared(logits.T, right.T)) / 2
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if step % 250 == 0:
                print(f"judge: step {step}, loss {float(loss):.3f}", flush=True)
    used = torch.unique(tokens)
    state = {key: value.half().contiguous() for key, value in network.state_dict().items() if key != TOKENS}
    state |= {TOKENS: network.token_embedding.weight.detach()[used].half(), ROWS: used.int()}
    save_file(state, JUDGE, metadata={SEED: str(seed)})
    print(f"judge: {JUDGE.stat().st_size / 1e6:.2f} MB, {len(used)} token rows")


def _shared(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Cross entropy against equal shares of all that is right; rows without any count for nothing."""
    count = right.sum(dim=1)
    loss = -(right * logits.log_softmax(dim=1)).sum(dim=1) / count.clamp(min=1)
    return loss[count > 0].mean()


def make_model() -> None:
    """Runs the training command and keeps what defines the model."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "digits"
        subprocess.run([sys.executable, "-m", "diffeval", "train", "digits", "--out", str(out)], check=True)
        target = FOLDER / "digits"
        shutil.rmtree(target, ignore_errors=True)
        for name in ("unet", "scheduler"):
            shutil.copytree(out / name, target / name)
        shutil.copy(out / "diffeval.json", target / "diffeval.json")
    print(
        f"model: {sum(path.stat().st_size for path in target.rglob('*') if path.is_file()) / 1e6:.2f} MB in {target}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("extractor", "judge", "model"))
    only = parser.parse_args().only
    if only in (None, "extractor"):
        make_extractor()
    if only in (None, "judge"):
        make_judge()
    if only in (None, "model"):
        make_model()
