"""What a run or a sweep will take, by stage: measured on small pieces of the very work, before it is begun."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diffeval.data.source import ImageSource
from diffeval.diffusion.batching import is_out_of_memory
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.features.extractor import UNFITTED, Extractor
from diffeval.features.reference import held_out_source, is_cached
from diffeval.metrics.metric import METRICS, FeatureSet
from diffeval.plan import SamplingPlan
from diffeval.prepared import Prepared
from diffeval.progress import SilentReporter
from diffeval.real import RealImages
from diffeval.scoring import Choices, score_counts
from diffeval.suite import Suite

# Images that scoring is tried on, twice; and the dimension above which the second trial would take longer than a
# price is worth.
SMALL, GROWTH, WIDE = 250, 2, 1024


@dataclass(frozen=True, slots=True)
class Price:
    """One stage.

    Attributes:
        stage: its name.
        seconds: about how long it takes here.
        about: what there is to do.
    """

    stage: str
    seconds: float
    about: str


# What is done beside scoring: also(generated, reference).
Also = Callable[[FeatureSet, FeatureSet], object]


def prices(
    plans: Sequence[SamplingPlan],
    calls: Sequence[int],
    known: Prepared,
    n: int,
    suite: Suite,
    *,
    counts: Sequence[int] | None = None,
    also: Also | None = None,
) -> list[Price]:
    """Of every stage from nothing: sampling, decoding, features of generated and of real images, scoring.

    Args:
        plans: how each point of a sweep is sampled; a run has one.
        calls: network calls of each point, per batch.
        known: extractor and reference.
        n: images of each point.
        suite: what they are scored by.
        counts: at which each point is scored; n alone by default.
        also: what is done with the features beside scoring.
    """
    found = sampling_prices(plans, calls, n) if isinstance(plans[0].generator, Generator) else []
    if not known.extractor.id.endswith(UNFITTED):
        found += _features(plans[0], known, n * len(plans))
    return [*found, _scoring(plans[0], known, counts or (n,), len(plans), suite, also)]


def sampling_prices(plans: Sequence[SamplingPlan], calls: Sequence[int], n: int) -> list[Price]:
    """Of sampling and decoding alone; see ``prices``."""
    return [_sampling(plans, calls, n), *_decoding(plans[0], n * len(plans))]


def price_lines(found: Sequence[Price], title: str) -> list[str]:
    """A line for each stage, and one for the whole."""
    width = max(len(one.stage) for one in found)
    lines = [f"{title}{one.stage:<{width}}  {duration(one.seconds):>8}  {one.about}" for one in found]
    whole = duration(sum(one.seconds for one in found))
    return [*lines, f"{'total':<{len(title)}}about {whole} on this machine, if nothing is there yet"]


def duration(seconds: float) -> str:
    """Seconds, for people."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _timed(work: Callable[[], object]) -> float:
    """Seconds of a second call: the first one also pays for memory and compilation."""
    try:
        work()
        started = time.perf_counter()
        work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DiffevalError(
            "dry run: there is no room for a batch of this size, which a run would halve; give --batch"
        ) from error
    return time.perf_counter() - started


def _sampling(plans: Sequence[SamplingPlan], calls: Sequence[int], n: int) -> Price:
    batches = -(-n // plans[0].batch)
    known: dict[tuple[int, int, str], float] = {}
    total = 0.0
    for plan, count in zip(plans, calls, strict=True):
        generator = plan.generator
        assert isinstance(generator, Generator), "a sweep samples"
        key = (plan.batch, generator.branches, generator.dtype)
        if key not in known:
            known[key] = _timed(lambda plan=plan: _step(plan))  # type: ignore[misc]
        total += known[key] * count * batches
    images = n * len(plans)
    return Price("sampling", total, f"{images} images in batches of {plans[0].batch}, {rate(images, total)}")


def rate(images: int, seconds: float) -> str:
    """Images per second, or seconds per image."""
    if seconds <= 0:
        return "at once"
    return f"{images / seconds:.3g} images/s" if images >= seconds else f"{seconds / images:.3g} s per image"


def _decoding(plan: SamplingPlan, count: int) -> list[Price]:
    """Of a model that works on latents; that of pixels takes no time."""
    generator = plan.generator
    assert isinstance(generator, Generator), "asked before"
    if generator.image_shape == generator.shape:
        return []
    latents = torch.randn(plan.batch, *generator.shape, generator=torch.Generator().manual_seed(0))
    latents = latents.to(generator.device)
    each = _timed(lambda: generator.decode(latents).cpu()) / plan.batch
    return [Price("decoding", each * count, f"{count} images by the autoencoder")]


def _step(plan: SamplingPlan) -> None:
    """One step of the sampler on one batch, or two where it takes two at least."""
    generator = plan.generator
    assert isinstance(generator, Generator), "a sweep samples"
    next(iter(generator.walk(range(plan.batch))))
    if generator.device.type == "cuda":
        torch.cuda.synchronize(generator.device)


def _features(plan: SamplingPlan, known: Prepared, count: int) -> list[Price]:
    extractor, reference = known.extractor, known.reference
    size = plan.batch
    shape = reference.shape if isinstance(reference, ImageSource) else plan.generator.image_shape
    each = _timed(lambda: extractor.run(np.zeros((size, *shape), dtype=np.uint8))) / size
    found = [Price("features", each * count, f"{count} images by {extractor.name}")]
    judge = known.judge
    if judge is not None and judge.id != extractor.id:
        judging = _timed(lambda: judge.run(np.zeros((size, *shape), dtype=np.uint8))) / size
        found.append(Price("judge", judging * count, f"{count} images by {judge.name}"))
    if isinstance(reference, ImageSource):
        held_out = held_out_source(reference)
        real = [one for one in (reference, held_out) if one is not None and not is_cached(one, extractor)]
        left = sum(map(len, real))
        found.append(Price("reference", each * left, f"{left} real images" if left else "real images: in the cache"))
    return found


def _scoring(
    plan: SamplingPlan, known: Prepared, counts: Sequence[int], points: int, suite: Suite, also: Also | None
) -> Price:
    """Two trials on small numbers of made-up features: a part that is there once, and one that grows with pairs."""
    real = len(known.reference) if isinstance(known.reference, ImageSource) else 0
    pairs = [n * (n + real) for n in counts]
    least = max(SMALL, METRICS["fid"].needs(known.extractor.dim))
    sizes = (least,) if known.extractor.dim > WIDE else (least, GROWTH * least)
    seconds = [_trial(plan, known.extractor, size, suite, also) for size in sizes]
    pairs_of = [2 * size * size for size in sizes]
    if len(sizes) == 1:
        one = sum(seconds[0] * max(1.0, many / pairs_of[0]) for many in pairs)
    else:
        slope = max(0.0, (seconds[1] - seconds[0]) / (pairs_of[1] - pairs_of[0]))
        one = sum(seconds[0] + slope * max(0, many - pairs_of[0]) for many in pairs)
    at = ", ".join(map(str, counts))
    where = f"{points} points of {at} images, with and without each group" if also is not None else f"at n = {at}"
    return Price("scoring", one * points, where)


def _trial(plan: SamplingPlan, extractor: Extractor, size: int, suite: Suite, also: Also | None = None) -> float:
    random = np.random.Generator(np.random.Philox(key=0))
    labels = plan.generator.labels(range(size))

    def made() -> FeatureSet:
        features = np.maximum(random.standard_normal((size, extractor.dim)), 0.0)
        logits = random.standard_normal((size, len(extractor.classes))) if extractor.classes else None
        looks = random.random((size, 2 + 2 * plan.generator.image_shape[0]))
        names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
        return FeatureSet(features, labels, logits, names, extractor.classes, extractor.name, looks)

    real = RealImages("made up", extractor.name, made(), made(), independent=True, warnings=())
    generated = made()
    started = time.perf_counter()
    score_counts(generated, real, (size,), Choices(suite, "none", None), params={}, reporter=SilentReporter())
    if also is not None:
        also(generated, real.reference)
    return time.perf_counter() - started
