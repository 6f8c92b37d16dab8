"""The prices of a run, a sweep, or of images alone: every stage that is still to be done."""

import time
from collections.abc import Sequence

import psutil

from diffeval.features.extractor import UNFITTED
from diffeval.measured import Measured
from diffeval.plan import Settings
from diffeval.prepared import Prepared
from diffeval.pricing.features import feature_prices, fitting
from diffeval.pricing.images import Part, image_prices
from diffeval.pricing.scoring import Wanted, scoring_prices, sizes_of
from diffeval.pricing.stage import Price


def run_prices(
    measured: Measured, settings: Settings, parts: Sequence[Part], known: Prepared, wanted: Wanted
) -> list[Price]:
    """Of every stage: fitting an extractor, sampling, decoding, features of generated and of real images, scoring.

    A shard of a run is neither scored nor held against real images.

    Args:
        measured: what is measured.
        settings: as the user gave them.
        parts: what this process makes of each point of a sweep; a run has one point.
        known: extractor and reference.
        wanted: what is computed.
    """
    unfitted = fitting(known)
    extractor = known.extractor if unfitted is None else unfitted.extractor
    found = [] if unfitted is None else [unfitted.price]
    found += image_prices(measured, parts, settings)
    if known.extractor.id.endswith(UNFITTED) and unfitted is None:
        return found
    alone = settings.shard is not None
    found += feature_prices(list(parts), known, extractor, real=not alone)
    if not alone:
        found += scoring_prices(known, extractor, wanted, sizes_of(measured, known, settings.n))
    return found


def start(begun: float | None) -> list[Price]:
    """What a command takes before the first stage, as this one has just done it: imports, and all that is opened.

    Args:
        begun: when it was started, by ``time.time()``; None where no command was.
    """
    if begun is None:
        return []
    return [Price("start", time.time() - begun, "everything is imported, opened and checked, as just now")]


def command_began() -> float:
    """When this process was started, by ``time.time()``."""
    return psutil.Process().create_time()
