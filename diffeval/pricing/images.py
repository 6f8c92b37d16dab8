"""What making images takes: the sampler's steps, the decoder, a compiler, and who shares the work."""

import dataclasses
import itertools
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.compiling import FIRST_SECONDS, known_costs, reason_against, worth_it
from diffeval.diffusion.sampling import Generator
from diffeval.export import write_images
from diffeval.measured import Measured
from diffeval.plan import ImageMaker, SamplingPlan, Settings
from diffeval.pricing import stage
from diffeval.pricing.stage import MOST_TIMES, Price, finish, rate, roomy, timed
from diffeval.ranks import Share, launched

# Seconds that one walk through the sampler is followed at most; what is left of it is taken to be like its steps.
LONGEST = 4.0
# Steps that are not counted: they also pay for memory, and for what is compiled or chosen once.
WARM = 2
# Files that are written to time one.
FILES = 16


@dataclass(frozen=True, slots=True)
class Walk:
    """What a sampler takes for one batch.

    Attributes:
        first: seconds of its first step, with the noise and all that is set up.
        each: seconds of every other one.
    """

    first: float
    each: float

    def of(self, calls: float) -> float:
        """Seconds of so many steps."""
        return self.first + self.each * max(0.0, calls - 1)


@dataclass(frozen=True, slots=True)
class Part:
    """What this process makes of the images of one plan.

    Attributes:
        plan: how they are made.
        images: how many of them.
        compiled: whether they are made compiled; None where that is yet to be decided.
    """

    plan: SamplingPlan
    images: int
    compiled: bool | None = None

    @property
    def batches(self) -> int:
        """Whole ones, as they are made."""
        return -(-self.images // self.plan.batch)


def world() -> int:
    """How many ranks a launcher has started; a dry run is done by one of them."""
    return launched()[1]


def own_images(missing: Sequence[tuple[int, int]], n: int, chunk: int) -> int:
    """Of the images that are missing, those that one rank makes: they are dealt out chunk by chunk.

    Args:
        missing: first index of each chunk that lacks some, and the images that it holds.
        n: images of the run.
        chunk: images per chunk.
    """
    return sum(min(chunk, n - start) - rows for start, rows in Share(0, world()).of(missing))


def crowding(device: torch.device) -> float:
    """By how much ranks of one machine slow each other down: those that share a GPU, or more threads than cores."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "") or world())
    if device.type == "cuda":
        return max(1.0, here / max(1, torch.cuda.device_count()))
    return max(1.0, here * torch.get_num_threads() / (os.cpu_count() or 1))


def image_prices(measured: Measured, parts: Sequence[Part], settings: Settings) -> list[Price]:
    """Of sampling, decoding and compiling the network for it; nothing for ready-made images, which are only read.

    Args:
        measured: the checkpoint.
        parts: of each point of a sweep; a run has one.
        settings: as the user gave them.
    """
    parts = [part for part in parts if part.images]
    walks: dict[tuple[object, ...], Walk] = {}
    steps = compiling = 0.0
    said: list[str] = []
    for part in parts:
        generator = part.plan.generator
        if not isinstance(generator, Generator) or not isinstance(measured, Checkpoint):
            continue
        cost, gain, about = _compiling(measured, generator, part, settings)
        compiling += cost
        said += [about] if about else []
        steps += part.batches * (batch_seconds(generator, part.plan.batch, walks) - gain)
    if not walks:
        return []
    images, first = sum(part.images for part in parts), parts[0].plan
    crowd = crowding(first.generator.device)
    ranks = f" by each of {world()} ranks" if world() > 1 else ""
    decoding = sum(part.batches for part in parts) * _decoding(first) * crowd
    latent = isinstance(first.generator, Generator) and first.generator.image_shape != first.generator.shape
    whole = steps * crowd + (0.0 if latent else decoding)
    found = [Price("sampling", whole, f"{images} images{ranks} in batches of {first.batch}, {rate(images, whole)}")]
    if compiling:
        found.insert(0, Price("compiling", compiling, said[0]))
    if latent:
        found.append(Price("decoding", decoding, f"{images} images by the autoencoder"))
    return found


def batch_seconds(generator: Generator, batch: int, known: dict[tuple[object, ...], Walk]) -> float:
    """Seconds of a sampler's steps for one batch; ``known`` keeps what was timed, as other points take the same steps.

    Outside its interval guidance takes one branch of the network: both kinds of steps are timed by themselves.
    """
    calls, guided = generator.calls, generator.guided_calls
    if generator.branches == 1 or guided == calls:
        return _known_walk(generator, batch, known).of(calls)
    both = _known_walk(dataclasses.replace(generator, interval=None), batch, known).of(calls)
    one = _known_walk(dataclasses.replace(generator, interval=None, w=1.0), batch, known).of(calls)
    return (both * guided + one * (calls - guided)) / calls


def _known_walk(generator: Generator, batch: int, known: dict[tuple[object, ...], Walk]) -> Walk:
    sampler = generator.sampler
    key = (batch, generator.branches, generator.dtype, sampler.name, str(sampler.recorded()))
    if key not in known:
        known[key] = timed_walk(generator, batch)
    return known[key]


def timed_walk(generator: Generator, batch: int) -> Walk:
    """Follows the sampler through one batch, or through as much of it as ``LONGEST`` seconds allow, some times over.

    Raises:
        DiffevalError: if there is no room for the batch.
    """
    walks: list[list[float]] = []
    with roomy():
        for _ in itertools.islice(generator.walk(range(batch)), WARM):
            finish(generator.device)
        while not walks or (len(walks) < MOST_TIMES and sum(one[-1] for one in walks) < stage.ENOUGH):
            walks.append(_followed(generator, batch))
    first = math.fsum(one[0] for one in walks) / len(walks)
    later = sum(len(one) - 1 for one in walks)
    each = math.fsum(one[-1] - one[0] for one in walks) / later if later else first
    return Walk(first, each)


def _followed(generator: Generator, batch: int) -> list[float]:
    """Seconds from the beginning to the end of each step."""
    started, ends = time.perf_counter(), list[float]()
    for _ in generator.walk(range(batch)):
        finish(generator.device)
        ends.append(time.perf_counter() - started)
        if ends[-1] > LONGEST:
            break
    return ends


@torch.inference_mode()
def _decoding(plan: SamplingPlan) -> float:
    """Seconds from what the sampler ends with to pixels, for a batch."""
    generator = plan.generator
    assert isinstance(generator, Generator), "asked before"
    last = torch.randn(plan.batch, *generator.shape, generator=torch.Generator().manual_seed(0)).to(generator.device)
    return timed(lambda: generator.to_uint8(generator.decode(last), range(plan.batch)), device=generator.device)


def _compiling(
    checkpoint: Checkpoint, generator: Generator, part: Part, settings: Settings
) -> tuple[float, float, str]:
    """Seconds of compiling, seconds that each batch is then faster, and what is known of it; zeros where it is not."""
    wanted = settings.compile == "on" if part.compiled is None else part.compiled
    if part.compiled is None and settings.compile == "auto" and settings.shard is None:
        wanted = worth_it(generator, checkpoint, part.plan.batch, part.images)
    if not wanted or reason_against(checkpoint, generator, offload=settings.offload) is not None:
        return 0.0, 0.0, ""
    costs = known_costs(generator, checkpoint, part.plan.batch)
    if costs is None:
        return FIRST_SECONDS, 0.0, "a guess, as it was never compiled here; sampling is priced without"
    saved = (costs.plain - costs.compiled) * generator.calls
    return costs.again, saved, f"as before; a network call is then {costs.gain:.2f} times as fast"


def file_prices(maker: ImageMaker, settings: Settings, form: str) -> list[Price]:
    """Of writing each image into a file of its own; nothing for one file of all, or where parts are joined later."""
    if form != "png" or settings.shard is not None:
        return []
    random = np.random.Generator(np.random.Philox(0))
    images = random.integers(0, 256, (FILES, *maker.image_shape), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        each = timed(lambda: write_images(Path(folder), range(FILES), images, None, form)) / FILES
    return [Price("files", each * settings.n, f"{settings.n} PNG files")]


def reading_seconds(maker: ImageMaker, batch: int) -> float:
    """Seconds that ready-made images of a batch take to be read; 0 for what is sampled."""
    if isinstance(maker, Generator):
        return 0.0
    count = batch if maker.limit is None else min(batch, maker.limit)
    return timed(lambda: maker.images(range(count))) * batch / count
