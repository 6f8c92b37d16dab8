"""CLIP score against torchmetrics and the ``clip-score`` way of doing it, on the same images and weights; its speed.

    pip install -e '.[bench]' && python benchmarks/clip_score.py

The network is open_clip's ViT-B-32 with seeded random values in a weights file, because nothing here depends on what
it has learnt; the images are crops of scikit-learn's two photographs, as PNG files. Agreement: on prompts of 3, 77 and
302 tokens (start and end among them), with open_clip's own example code, with torchmetrics' ``CLIPScore`` (through its
callable adapter over the same network; the adapter truncates as open_clip does, because torchmetrics itself would cut
the end token off) and with what Taited's clip-score does. The script fails where two differ by 1e-4. torchmetrics cuts
a mean below 0 off, so the two towers were given a direction in common, and every mean is above.

Speed: 240 files of 256 x 256, four for each of 60 prompts, from files to score, every side with its network loaded and
with the same number of threads, in turns; medians, and the median of the ratios in the same turn. Ours also sorts out
bad files, writes a run, and reads the null. About 12 minutes on 2 cores.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from record import save
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset
from torchmetrics.multimodal import CLIPScore
from transformers import CLIPConfig

from diffeval.evaluate import Wanted, evaluate_prepared
from diffeval.measured import Extracting, open_measured
from diffeval.plan import Settings
from diffeval.prepared import prepare
from diffeval.progress import SilentReporter
from diffeval.prompting import Prompting
from diffeval.runs.directory import RunDirectory
from diffeval.suite import choose

NAME, SIDE, COUNT, PROMPTS, TURNS = "ViT-B-32", 256, 240, 60, 5
BATCH, CONTEXT = 32, 77
WORDS = (
    "red",
    "small",
    "old",
    "wooden",
    "boat",
    "dog",
    "house",
    "river",
    "two",
    "under",
    "near",
    "bright",
    "of",
    "in",
)


def prompts(count: int) -> list[str]:
    """Captions of the usual length, 9 to 14 words, all different."""
    random = np.random.Generator(np.random.Philox(1))
    return [
        f"a photo {number} of " + " ".join(random.choice(WORDS, random.integers(5, 11))) for number in range(count)
    ]


def write_images(folder: Path, count: int) -> list[Path]:
    """Seeded crops of the two photographs."""
    folder.mkdir()
    random = np.random.Generator(np.random.Philox(2))
    pictures, paths = load_sample_images().images, []
    for number in range(count):
        picture = pictures[number % 2]
        top, left = (int(random.integers(0, length - SIDE)) for length in picture.shape[:2])
        path = folder / f"p{number:04d}.png"
        Image.fromarray(picture[top : top + SIDE, left : left + SIDE]).save(path)
        paths.append(path)
    return paths


def write_prompts(path: Path, paths: Sequence[Path], texts: Sequence[str]) -> Path:
    """Ids are the names of the files."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "prompt"))
        rows.writerows((one.stem, text) for one, text in zip(paths, texts, strict=True))
    return path


def network(folder: Path) -> tuple[Any, Path]:
    """open_clip's network with seeded values, and the same in a file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = open_clip.create_model(NAME, device="cpu").eval().requires_grad_(False)
    made.visual.proj[0] = made.text_projection[0]
    made.visual.ln_post.bias[0] = made.ln_final.bias[0] = 40.0
    path = folder / "weights.pt"
    torch.save(made.state_dict(), path)
    return made, path


def preprocess() -> Any:
    """open_clip's transform for this network."""
    return open_clip.image_transform(224, is_train=False)


class Adapter(torch.nn.Module):
    """open_clip's network as torchmetrics asks transformers' for its features."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made, self.config = made, CLIPConfig()

    def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.made.encode_image(pixels)  # type: ignore[no-any-return]

    def get_text_features(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.made.encode_text(tokens)  # type: ignore[no-any-return]


def processor(*, images: Sequence[torch.Tensor] = (), text: Sequence[str] = (), **more: object) -> dict[str, Any]:
    """open_clip's transform and tokens, as transformers' processor would give its own."""
    if images:
        transform = preprocess()
        pictures = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in images]
        return {"pixel_values": torch.stack([transform(picture) for picture in pictures])}
    tokens = open_clip.tokenize(list(text), CONTEXT)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


@torch.inference_mode()
def by_torchmetrics(made: Any, paths: Sequence[Path], texts: Sequence[str]) -> float:
    """In batches, as its documentation shows it."""
    metric = CLIPScore(model_name_or_path=lambda: (Adapter(made), processor))
    for start in range(0, len(paths), BATCH):
        images = [
            torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths[start : start + BATCH]
        ]
        metric.update(images, list(texts[start : start + BATCH]))
    return float(metric.compute())


class Pairs(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pictures and tokens in the order of sorted files, as clip-score reads them."""

    def __init__(self, paths: Sequence[Path], texts: Sequence[str]) -> None:
        self.paths, self.texts, self.transform = paths, texts, preprocess()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.transform(Image.open(self.paths[index])), open_clip.tokenize([self.texts[index]])[0]


@torch.inference_mode()
def by_clip_score(made: Any, paths: Sequence[Path], texts: Sequence[str]) -> float:
    """Every text encoded beside its image; the sum of logit scale times cosine, over the number of pairs."""
    total, scale = 0.0, float(made.logit_scale.exp())
    workers = min(8, os.cpu_count() or 1)
    for pictures, tokens in DataLoader(Pairs(paths, texts), batch_size=50, num_workers=workers):
        images, words = made.encode_image(pictures), made.encode_text(tokens)
        images, words = (side / side.norm(dim=1, keepdim=True) for side in (images, words))
        total += scale * float((images * words).sum())
    return total / len(paths) * 100 / scale


@torch.inference_mode()
def by_open_clip(made: Any, paths: Sequence[Path], texts: Sequence[str]) -> float:
    """open_clip's example, pair by pair."""
    transform, tokenizer, found = preprocess(), open_clip.get_tokenizer(NAME), []
    for path, text in zip(paths, texts, strict=True):
        image = made.encode_image(transform(Image.open(path)).unsqueeze(0))
        words = made.encode_text(tokenizer([text]))
        image, words = (side / side.norm(dim=-1, keepdim=True) for side in (image, words))
        found.append(100.0 * float(image @ words.T))
    return float(np.mean(found))


def ours(folder: Path, weights: Path, images: Path, prompts_file: Path) -> Callable[[], float]:
    """The public way with everything opened; each call makes a run of its own."""
    measured = open_measured(f"images:{images}")
    suite = choose(["clip_score"])
    settings = Settings(n=len(list(images.iterdir())), device="cpu")
    known = prepare(
        measured, settings, None, Extracting(f"clip:{NAME}", weights), None, SilentReporter(), suite=suite,
        prompting=Prompting(prompts_file),
    )  # fmt: skip
    assert known.judge is not None
    assert known.judge.texts is not None
    known.judge.texts(["the text half is read"])

    def score() -> float:
        out = Path(tempfile.mkdtemp(dir=folder)) / "run"
        os.environ["DIFFEVAL_CACHE"] = str(out.parent / "cache")
        evaluate_prepared(measured, settings, known, Wanted(suite, at=(settings.n,), out=out), SilentReporter())
        results = RunDirectory(out).results()
        assert results is not None
        value = results.score("clip_score").value
        assert value is not None
        return value

    return score


def agreement(folder: Path, made: Any, weights: Path) -> list[dict[str, object]]:
    """The same number from everyone, for prompts of three lengths."""
    rows: list[dict[str, object]] = []
    paths = write_images(folder / "few", 12)
    for length in (1, 75, 300):
        texts = [" ".join([WORDS[number]] * length) for number in range(12)]
        found = ours(folder, weights, folder / "few", write_prompts(folder / f"{length}.csv", paths, texts))()
        for peer, way in (("open_clip's example", by_open_clip), ("torchmetrics", by_torchmetrics),
                          ("the clip-score way", by_clip_score)):  # fmt: skip
            theirs = way(made, paths, texts)
            assert abs(found - theirs) < 1e-4, f"{peer} reads {theirs}, ours {found}, at {length} words"
            rows.append(
                {
                    "what": f"agreement, {length + 2} tokens", "peer": peer, "ours": found, "theirs": theirs,
                    "difference": abs(found - theirs),
                }
            )  # fmt: skip
    return rows


def speed(folder: Path, made: Any, weights: Path) -> list[dict[str, object]]:
    """Seconds from files to score, in turns."""
    paths = write_images(folder / "many", COUNT)
    texts = [prompts(PROMPTS)[number % PROMPTS] for number in range(COUNT)]
    score = ours(folder, weights, folder / "many", write_prompts(folder / "many.csv", paths, texts))
    ways: dict[str, Callable[[], float]] = {
        "ours": score,
        "torchmetrics": lambda: by_torchmetrics(made, paths, texts),
        "the clip-score way": lambda: by_clip_score(made, paths, texts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, float] = {}
    for turn in range(TURNS + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            values[name] = way()
            if turn:  # the first warms everyone up
                seconds[name].append(time.perf_counter() - started)
    assert max(values.values()) - min(values.values()) < 1e-4, values
    return [
        {
            "what": f"{COUNT} files of {SIDE} x {SIDE}, {PROMPTS} prompts", "peer": name,
            "ours": statistics.median(seconds["ours"]), "theirs": statistics.median(taken),
            "ratio": statistics.median(b / a for a, b in zip(seconds["ours"], taken, strict=True)),
            "difference": abs(values[name] - values["ours"]), "unit": "s",
        }
        for name, taken in seconds.items()
        if name != "ours"
    ]  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, weights = network(folder)
        rows = [*agreement(folder, made, weights), *speed(folder, made, weights)]
    save("clip_score", rows, ("torch", "open_clip_torch", "torchmetrics", "transformers"))


if __name__ == "__main__":
    main()
