"""Our sampling against diffusers' ``DDIMPipeline`` on the same unconditional networks, in turns.

    python benchmarks/sampling.py [--turns 5] [--threads 2] [--device cpu] [--networks 8,32]

All get the same initial noise and the same scheduler settings; in float32 the pixels must agree to one level of uint8
on all but one in a thousand, or the script fails. The networks are diffeval's presets for 8 and 32 pixels with seeded
random weights, as speed does not depend on what they have learnt. Forward images are network calls times images. The
share of the matrix-product rate is the network's multiplications per second over those of a 1024 x 1024 product of the
same dtype on the same threads, by torch.mm or as a convolution with a kernel of one pixel, whichever is faster: on AMD
processors torch.mm goes to a library that reaches half of what the convolutions' library does in float32. Each
contestant has a process of its own; warm-up is its first piece of work, compiling included, and is not part of the
rates. ``--clock cpu`` counts the seconds that a contestant's threads worked, for a machine that others work on, too;
it says nothing of GPUs. About 15 minutes on 2 cores, most of it compiling, with an empty cache unless
TORCHINDUCTOR_CACHE_DIR names one.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler
from record import save
from torch.utils.flop_counter import FlopCounterMode
from turns import Taken, Work, take_turns

from diffeval.compiling import CompiledNetwork
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.samplers import named_sampler
from diffeval.diffusion.sampling import Generator
from diffeval.diffusion.schedule import named_schedule
from diffeval.training.recipe import make_network, preset_for

STEPS = 10
# Images of a piece of work, and images per call, by pixels on a side: 256 is what diffeval itself chooses for 8x8.
IMAGES, BATCH = {8: 512, 32: 8}, {8: 256, 32: 8}
STOCK = "diffusers DDIMPipeline, float32"
WAYS: dict[str, dict[str, Any]] = {
    STOCK: {"stock": True},
    "diffeval, float32": {},
    "diffeval, float32, channels last": {"last": True},
    "diffeval, float32, compiled": {"last": True, "compiled": True},
    "diffeval, bf16": {"dtype": "bf16"},
    "diffeval, bf16, compiled": {"last": True, "compiled": True, "dtype": "bf16"},
}


def shape_of(size: int) -> tuple[int, int, int]:
    return (1 if size == 8 else 3, size, size)


def network(size: int) -> Any:
    """The preset with seeded random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_network(preset_for(size, None), shape_of(size), 0).eval().requires_grad_(False)


def make(
    size: int, threads: int, device: str, clock: str, *, stock: bool = False, last: bool = False,
    compiled: bool = False, dtype: str = "fp32",
) -> Work:  # fmt: skip
    """A contestant's work: images of ``IMAGES`` indices."""
    torch.set_num_threads(threads)
    place = torch.device(device)
    unet = network(size).to(place)
    if last:
        unet = unet.to(memory_format=torch.channels_last)
    run = _theirs(unet, size, place) if stock else _ours(unet, size, place, dtype, compiled=compiled)

    def work() -> tuple[float, Any]:
        started = now(clock)
        made = np.concatenate(
            [run(range(start, start + BATCH[size])) for start in range(0, IMAGES[size], BATCH[size])]
        )
        return (now(clock) - started) / (threads if clock == "cpu" else 1), made

    return work


def _ours(unet: Any, size: int, device: torch.device, dtype: str, *, compiled: bool) -> Callable[[range], np.ndarray]:
    called = CompiledNetwork(unet, (BATCH[size],), device) if compiled else unet
    schedule = named_schedule("linear")
    generator = Generator(
        denoiser=lambda x, t, condition: called(x, t.expand(len(x))).sample, shape=shape_of(size), schedule=schedule,
        prediction="epsilon", sampler=dataclasses.replace(named_sampler("ddim", schedule, "epsilon")), steps=STEPS,
        w=None, classes=0, null_class=None, seed=0, device=device, dtype=dtype, decode=lambda x: x,
    )  # fmt: skip
    return generator.images


def _theirs(unet: Any, size: int, device: torch.device) -> Callable[[range], np.ndarray]:
    pipeline = DDIMPipeline(unet, DDIMScheduler(timestep_spacing="trailing"))
    pipeline.set_progress_bar_config(disable=True)

    def run(indices: range) -> np.ndarray:
        noise = initial_noise(0, indices, shape_of(size)).to(device)
        # The pipeline has no argument for noise to start from.
        with mock.patch("diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", return_value=noise):
            found = pipeline(
                batch_size=len(indices), num_inference_steps=STEPS, use_clipped_model_output=True, output_type="np"
            ).images
        pixels: np.ndarray = np.rint(found.transpose(0, 3, 1, 2) * 255).astype(np.uint8)
        return pixels

    return run


def now(clock: str) -> float:
    """Seconds of the clock on the wall, or of this process's work."""
    return time.process_time() if clock == "cpu" else time.perf_counter()


def product(threads: int, device: str, clock: str, dtype: str) -> Work:
    """Matrix products, as the rate of the machine: the faster of two ways to the same 1024 x 1024 product."""
    torch.set_num_threads(threads)
    x = torch.randn(1024, 1024, device=device, dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[dtype])
    image, kernel = x.view(1, 32, 32, 1024).permute(0, 3, 1, 2), x.view(1024, 1024, 1, 1)
    ways = (lambda: torch.mm(x, x), lambda: torch.nn.functional.conv2d(image, kernel))

    def work() -> tuple[float, Any]:
        return min(_seconds_of(way, x.is_cuda, clock) for way in ways) / (threads if clock == "cpu" else 1), None

    return work


def _seconds_of(way: Callable[[], object], on_gpu: bool, clock: str) -> float:
    """Seconds of one call, mean of 50."""
    way()
    started = now(clock)
    for _ in range(50):
        way()
    if on_gpu:
        torch.cuda.synchronize()
    return (now(clock) - started) / 50


def contestant(**arguments: Any) -> Work:
    """Sampling, or matrix products."""
    return product(**arguments) if "size" not in arguments else make(**arguments)


def flops(size: int) -> int:
    """Multiplications and additions of one forward image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(size)(torch.zeros(1, *shape_of(size)), torch.tensor(1))
    return int(counter.get_total_flops())


def rows_of(size: int, found: dict[str, Taken], device: str) -> list[dict[str, Any]]:
    stock = found[STOCK]
    rows = []
    for name in WAYS:
        one = found[name]
        gap = np.abs(one.first.astype(int) - stock.first.astype(int))
        if "float32" in name:
            assert gap.max() <= 1, f"{name} differs by {gap.max()} levels"
            assert (gap > 0).mean() <= 0.001, f"{name} differs in {(gap > 0).mean():.2%} of the pixels"
        forwards = IMAGES[size] * STEPS
        rate = flops(size) * forwards / one.median
        products = found[f"product, {WAYS[name].get('dtype', 'fp32')}"]
        rows.append(
            {
                "network": f"{size}x{size}", "contestant": name, "device": device, "batch": BATCH[size],
                "forward images/s": forwards / one.median, "images/s": IMAGES[size] / one.median,
                "times diffusers": one.times_as_fast_as(stock),
                "share of matrix-product rate": rate / (2 * 1024**3 / products.median),
                "warm-up s": one.warm_up, "peak memory GB": one.peak_bytes / 1e9,
                "pixels that differ": float((gap > 0).mean()), "by at most": int(gap.max()),
            }
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", default="8,32")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.mkdtemp(prefix="diffeval-compiled-"))
    rows = []
    for size in map(int, options.networks.split(",")):
        common = {"threads": options.threads, "device": options.device, "clock": options.clock}
        ways = {name: {"size": size, **common, **way} for name, way in WAYS.items()}
        products = {f"product, {dtype}": {"dtype": dtype, **common} for dtype in ("fp32", "bf16")}
        found = take_turns(contestant, {**products, **ways}, options.turns)
        told = {"threads": options.threads, "clock": options.clock}
        rows += [{**row, **told} for row in rows_of(size, found, options.device)]
        save("sampling", rows, libraries=("torch", "diffusers"))
    print(f"{options.threads} threads, medians over {options.turns} turns")


if __name__ == "__main__":
    main()
