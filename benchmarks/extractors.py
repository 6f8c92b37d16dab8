"""The Inception extractor against torch-fidelity, clean-fid and pytorch-fid on the same weights file; and its speed.

    python benchmarks/extractors.py [--threads 2]

The weights are seeded random values in torch-fidelity's real file format, because nothing here depends on what the
network has learnt; the images are crops of scikit-learn's two photographs. Speeds are taken in turns, and what is
reported of them is the median and the median of the ratios to torch-fidelity's in the same turn. The machine's
convolution rate is that of the network's own convolutions, one by one, channels last in float32, in the same turn;
what share that is of a large matrix product's rate, as ``sampling.py`` measures it, is told beside it. About 6 minutes
on 2 cores.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cleanfid.fid
import numpy as np
import pytorch_fid.inception
import torch
import torch_fidelity
from PIL import Image
from record import save
from sampling import product as matrix_product
from sklearn.datasets import load_sample_images
from torch.utils.flop_counter import FlopCounterMode
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from diffeval.data.pixels import Images
from diffeval.features.extractor import Extractor, ExtractorRequest
from diffeval.features.inception import FrechetInception, inception
from diffeval.metrics.frechet import frechet_distance, moments

CPU = torch.device("cpu")
SIDE, COUNT = 64, 200
TIMED, TURNS = 32, 5


def crops(photograph: int, count: int) -> Images:
    """Seeded crops of one of the two photographs, uint8 [count, 3, 64, 64]."""
    picture = load_sample_images().images[photograph]
    random = np.random.Generator(np.random.Philox(photograph))
    tops, lefts = (random.integers(0, length - SIDE, count) for length in picture.shape[:2])
    parts = [picture[t : t + SIDE, x : x + SIDE].transpose(2, 0, 1) for t, x in zip(tops, lefts, strict=True)]
    return np.stack(parts)


def write_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state dict of the real network whose activations neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        wanted = FrechetInception("2048").state_dict()
    state = {}
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
        elif value.ndim >= 2:
            state[name] = torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            state[name] = 0.5 + torch.rand(value.shape, generator=generator)
        else:
            state[name] = 0.1 * torch.randn(value.shape, generator=generator)
    torch.save(state, path)
    return state


class Tensors(torch.utils.data.Dataset[torch.Tensor]):
    """Images as torch-fidelity takes them."""

    def __init__(self, images: Images) -> None:
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def ours(weights: Path, resize: str | None = None, *, fast: bool = False) -> Extractor:
    return inception(ExtractorRequest(CPU, weights=weights, resize=resize, fast=fast, offline=True))


def furthest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def between(extractor: Extractor, sets: tuple[Images, Images]) -> float:
    """FID of one set against the other."""
    return frechet_distance(*(moments(extractor.run(images).features.astype(np.float64)) for images in sets))


def against_torch_fidelity(weights: Path, sets: tuple[Images, Images]) -> dict[str, object]:
    extractor = ours(weights)
    found = [extractor.run(images).features for images in sets]
    theirs = FeatureExtractorInceptionV3("theirs", ["2048"], feature_extractor_weights_path=str(weights))
    with torch.inference_mode():
        parts = [theirs(torch.from_numpy(sets[0][i : i + 8]))[0] for i in range(0, len(sets[0]), 8)]
    value = torch_fidelity.calculate_metrics(
        input1=Tensors(sets[0]),
        input2=Tensors(sets[1]),
        fid=True,
        cuda=False,
        batch_size=8,
        feature_extractor_weights_path=str(weights),
        cache=False,
        verbose=False,
    )["frechet_inception_distance"]
    fid = frechet_distance(*(moments(part.astype(np.float64)) for part in found))
    return {
        "protocol": "torch-fidelity",
        "against": "torch-fidelity: features, and FID by calculate_metrics",
        "features": furthest(found[0], torch.cat(parts).numpy()),
        "FID": fid,
        "their FID": value,
    }


def against_clean_fid(
    mode: str, weights: Path, sets: tuple[Images, Images], network: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, object]:
    """clean-fid reads a folder, resizes and computes FID with its own code; the network has the same weights."""
    theirs = []
    for images in sets:
        with tempfile.TemporaryDirectory() as folder:
            for number, image in enumerate(images):
                Image.fromarray(image.transpose(1, 2, 0)).save(Path(folder) / f"{number:05d}.png")
            theirs.append(
                cleanfid.fid.get_folder_features(
                    folder, model=network, num_workers=0, batch_size=8, device=CPU, mode=mode, verbose=False
                )
            )
    extractor = ours(weights, mode)
    found = [extractor.run(images).features for images in sets]
    ours_, their_ = (
        frechet_distance(*(moments(part.astype(np.float64)) for part in both)) for both in (found, theirs)
    )
    return {
        "protocol": mode,
        "against": "clean-fid's folder reading and resizing",
        "features": furthest(found[0], theirs[0]),
        "FID": ours_,
        "their FID": their_,
    }


def agreement(weights: Path, state: dict[str, torch.Tensor], sets: tuple[Images, Images]) -> list[dict[str, object]]:
    exact = ours(weights).run._network  # type: ignore[attr-defined]
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: state
    legacy = pytorch_fid.inception.InceptionV3([3], resize_input=False).eval()

    def clean(x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = exact((x - 128) / 128)[0]
        return features

    def pytorch(x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = legacy(x / 255)[0].flatten(1)
        return features

    rows = [
        against_torch_fidelity(weights, sets),
        against_clean_fid("clean", weights, sets, clean),
        against_clean_fid("legacy_pytorch", weights, sets, pytorch),
    ]
    return [{**row, "FID differs by": abs(float(row["FID"]) / float(row["their FID"]) - 1)} for row in rows]  # type: ignore[arg-type]


# Seconds of extracting a batch's features.
Contestant = Callable[[Images], float]


def timed(run: Callable[[Images], object]) -> Contestant:
    """Seconds of the whole."""

    def seconds(images: Images) -> float:
        started = time.perf_counter()
        run(images)
        return time.perf_counter() - started

    return seconds


@torch.inference_mode()
def convolutions(network: torch.nn.Module, images: Images) -> Contestant:
    """The network's convolutions alone, in batches of 8, each on the input that it has there, just after it had it."""
    calls: list[tuple[torch.nn.Module, torch.Tensor]] = []
    found = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    hooks = [
        module.register_forward_pre_hook(lambda module, given: calls.append((module, given[0].clone())))
        for module in found
    ]
    resized = torch.nn.functional.interpolate(torch.from_numpy(images[:8]).float() / 128 - 1, 299)
    network(resized.contiguous(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()

    @torch.inference_mode()
    def seconds(batch: Images) -> float:
        taken = 0.0
        for _ in range(0, len(batch), 8):
            for module, x in calls:
                module(x)
                started = time.perf_counter()
                module(x)
                taken += time.perf_counter() - started
        return taken

    return seconds


def flops(network: torch.nn.Module) -> int:
    """Multiplications and additions of an image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 299, 299))
    return int(counter.get_total_flops())


def speeds(weights: Path, sets: tuple[Images, Images]) -> list[dict[str, object]]:
    theirs = FeatureExtractorInceptionV3("theirs", ["2048"], feature_extractor_weights_path=str(weights))
    threads = torch.get_num_threads()

    @torch.inference_mode()
    def stock(batch: Images) -> None:
        for start in range(0, len(batch), 8):
            theirs(torch.from_numpy(batch[start : start + 8]))

    images = sets[0][:TIMED]
    plain, compiled, fast = ours(weights), ours(weights), ours(weights, fast=True)
    failed = compiled.run.compile(images[:1])  # type: ignore[attr-defined]
    ours_name, alone = "diffeval (channels last, folded)", "its convolutions alone"
    network = plain.run._network  # type: ignore[attr-defined]
    product = matrix_product(threads, "cpu", "wall", "fp32")
    runs: dict[str, Contestant] = {
        "torch-fidelity": timed(stock),
        ours_name: timed(plain.run),
        alone: convolutions(network, images),
    }
    if failed is None:
        runs |= {"the same, compiled (users have this in bf16 alone)": timed(compiled.run)}
    runs[f"diffeval --fast ({fast.id.rsplit('/', 1)[-1]})"] = timed(fast.run)
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    products = []
    for run in runs.values():
        run(images)
    for _ in range(TURNS):
        products.append(product()[0])
        for name, run in runs.items():
            seconds[name].append(run(images))
    base = seconds["torch-fidelity"]
    work = flops(network) * len(images) / (2 * 1024**3)
    # What --fast does to FID: both sets by the same extractor, as a run has them.
    distances = {name: between(one, sets) for name, one in ((ours_name, plain), (names[-1], fast))}
    return [
        {
            "path": name,
            "threads": threads,
            "images/s (median)": len(images) / statistics.median(taken),
            "times torch-fidelity (median of ratios)": _ratio(base, taken),
            "share of the convolution rate (median of ratios)": _ratio(seconds[alone], taken),
            "share of the matrix-product rate, float32 (median of ratios)": work * _ratio(products, taken),
            "FID between the two sets": distances.get(name),
        }
        for name, taken in seconds.items()
    ]


def _ratio(ones: list[float], others: list[float]) -> float:
    """Median over turns."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    libraries = ("torch", "torch-fidelity", "clean-fid", "pytorch-fid", "pillow", "numpy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inception.pth"
        tensors = write_weights(path)
        two = crops(0, COUNT), crops(1, COUNT)
        save("extractors", agreement(path, tensors, two), libraries)
        save("extractors_speed", speeds(path, two), libraries)
