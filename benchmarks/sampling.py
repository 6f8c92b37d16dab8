"""Our sampling loop against diffusers' ``DDIMPipeline`` on the same unconditional network, interleaved in one run.

    python benchmarks/sampling.py [--images 256] [--batch 64] [--repeats 5] [--device cpu]

Both get the same initial noise and the same scheduler settings; the pixels must agree to one level of uint8, or the
script fails. The network is diffeval's 8-pixel preset with seeded random weights: what is compared is the loop, not
the model.
"""

import argparse
import dataclasses
import statistics
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler
from record import save

from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.samplers import named_sampler
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import named_schedule
from diffeval.training.recipe import make_network, preset_for

SHAPE, STEPS = (1, 8, 8), 20


def network(device: torch.device) -> Any:
    """The preset with seeded random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_network(preset_for(SHAPE[1], None), SHAPE, 0).eval().to(device)


@contextmanager
def given_noise(noise: torch.Tensor) -> Any:
    """Lets the pipeline start from our noise; it has no argument for that."""
    with mock.patch("diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", return_value=noise):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options: SimpleNamespace = SimpleNamespace(**vars(parser.parse_args()))
    device = torch.device(options.device)
    unet = network(device)
    schedule = named_schedule("linear")
    sampler = named_sampler("ddim", schedule, "epsilon")
    generator = Generator(
        denoiser=lambda x, t, condition: unet(x, t).sample, shape=SHAPE, schedule=schedule, prediction="epsilon",
        sampler=dataclasses.replace(sampler), steps=STEPS, w=None, classes=0, null_class=None, seed=0, device=device,
        dtype="fp32", decode=lambda x: x,
    )  # fmt: skip
    pipeline = DDIMPipeline(unet, DDIMScheduler(timestep_spacing="trailing"))
    pipeline.set_progress_bar_config(disable=True)

    def ours() -> np.ndarray:
        starts = range(0, options.images, options.batch)
        return np.concatenate([generator.images(range(s, min(s + options.batch, options.images))) for s in starts])

    def theirs() -> np.ndarray:
        parts = []
        for start in range(0, options.images, options.batch):
            indices = range(start, min(start + options.batch, options.images))
            with given_noise(initial_noise(0, indices, SHAPE).to(device)):
                found = pipeline(
                    batch_size=len(indices), num_inference_steps=STEPS, use_clipped_model_output=True, output_type="np"
                ).images
            parts.append(np.rint(found.transpose(0, 3, 1, 2) * 255).astype(np.uint8))
        return np.concatenate(parts)

    seconds: dict[str, list[float]] = {"diffeval": [], "diffusers": []}
    pixels = {}
    for name, run in (("diffeval", ours), ("diffusers", theirs)):
        pixels[name] = run()  # warm-up, and the images to compare
    gap = np.abs(pixels["diffeval"].astype(int) - pixels["diffusers"].astype(int))
    assert gap.max() <= 1, f"the loops differ by {gap.max()} levels"
    for _ in range(options.repeats):
        for name, run in (("diffeval", ours), ("diffusers", theirs)):
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["diffeval"])
    rows = [
        {
            "contestant": name, "device": str(device), "images": options.images, "batch": options.batch,
            "steps": STEPS, "seconds": statistics.median(times),
            "images_per_second": options.images / statistics.median(times),
            "ratio": statistics.median(times) / base, "pixels_that_differ": float((gap > 0).mean()),
        }
        for name, times in seconds.items()
    ]  # fmt: skip
    save("sampling", rows, libraries=("torch", "diffusers"))


if __name__ == "__main__":
    main()
