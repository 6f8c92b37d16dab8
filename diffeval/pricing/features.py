"""What features take: an extractor that is yet to be fitted, those of the run's images, and those of real ones."""

import itertools
import time
from dataclasses import dataclass

import numpy as np

from diffeval.data.source import ImageSource
from diffeval.features.appearance import appearance
from diffeval.features.extractor import UNFITTED, Extractor
from diffeval.features.fitted import rehearsed
from diffeval.features.fitting import STEPS
from diffeval.features.reference import held_out_source, is_cached
from diffeval.plan import ImageMaker, SamplingPlan
from diffeval.prepared import Prepared
from diffeval.pricing import stage
from diffeval.pricing.images import Part, crowding, reading_seconds
from diffeval.pricing.stage import MOST_TIMES, Price, timed
from diffeval.progress import SilentReporter

# Optimiser steps that fitting is tried with, and those of them that are not counted.
TRIED, WARM = 40, 5
# Real images that go through an extractor together.
TOGETHER = 128


class Stopwatch(SilentReporter):
    """Hears when each step of something is done."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def advance(self, units: int, detail: str = "") -> None:
        """See ``Reporter``."""
        self.times.append(time.perf_counter())


@dataclass(frozen=True, slots=True)
class Fitting:
    """An extractor that is yet to be fitted.

    Attributes:
        price: of fitting it.
        extractor: one that takes as long as it will.
    """

    price: Price
    extractor: Extractor


def fitting(known: Prepared) -> Fitting | None:
    """A few steps of it; None where there is nothing to be fitted."""
    source = known.reference
    if not known.extractor.id.endswith(UNFITTED) or not isinstance(source, ImageSource):
        return None
    watch, started = Stopwatch(), time.perf_counter()
    extractor = rehearsed(source, held_out_source(source), known.plan.generator.device, watch, TRIED)
    whole = time.perf_counter() - started
    each = (watch.times[-1] - watch.times[WARM - 1]) / (TRIED - WARM)
    seconds = whole + each * (STEPS - TRIED)
    return Fitting(Price("fitting", seconds, f"the extractor, {STEPS} steps, once for these images"), extractor)


def feature_prices(parts: list[Part], known: Prepared, extractor: Extractor, *, real: bool) -> list[Price]:
    """Of the run's images and, unless they are in the cache or wanted by others, of real ones.

    Args:
        parts: what is made.
        known: reference and judge.
        extractor: one as fast as the one that is used.
        real: whether features of real images are needed.
    """
    plan, images = parts[0].plan, sum(part.images for part in parts)
    found = []
    if images:
        batches = sum(part.batches for part in parts) * crowding(plan.generator.device)
        pixels = _made_up(plan)
        reading = reading_seconds(plan.generator, plan.batch)
        each = reading + timed(lambda: (extractor.run(pixels), appearance(pixels)))
        found.append(Price("features", each * batches, f"{images} images by {extractor.name}"))
        judge = known.judge
        if judge is not None and judge.id != extractor.id:
            judging = timed(lambda: judge.run(pixels))
            found.append(Price("judge", judging * batches, f"{images} images by {judge.name}"))
    return [*found, *(reference_prices(known, extractor) if real else ())]


def _made_up(plan: SamplingPlan) -> np.ndarray:
    """A batch of noise; how long an extractor takes does not depend on what images show."""
    maker: ImageMaker = plan.generator
    random = np.random.Generator(np.random.Philox(0))
    return random.integers(0, 256, (plan.batch, *maker.image_shape), dtype=np.uint8)


def reference_prices(known: Prepared, extractor: Extractor) -> list[Price]:
    """Of features of real images: the very first of those that are left are read and extracted; none of moments."""
    reference = known.reference
    if not isinstance(reference, ImageSource):
        return []
    held_out = held_out_source(reference)
    left = [one for one in (reference, held_out) if one is not None and not is_cached(one, known.extractor)]
    if not left:
        return [Price("reference", 0.0, "real images: in the cache")]
    count, taken, seen = sum(map(len, left)), 0.0, 0
    batches = itertools.islice(left[0].batches(TOGETHER), MOST_TIMES)
    first = next(batches)
    timed_once = timed(lambda: (extractor.run(first), appearance(first)))
    while taken < stage.ENOUGH:
        started = time.perf_counter()
        images = next(batches, None)
        if images is None:
            break
        extractor.run(images)
        appearance(images)
        taken, seen = taken + time.perf_counter() - started, seen + len(images)
    each = taken / seen if seen else timed_once / len(first)
    return [Price("reference", each * count, f"{count} real images by {extractor.name}")]
