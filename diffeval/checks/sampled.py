"""What samples show of memorisation: numbers, signs, and the pairs to look at."""

from dataclasses import dataclass

import numpy as np
import torch

from diffeval.checks.check import Finding, Subject
from diffeval.checks.copies import compare, evidence
from diffeval.checks.pairs import closest_pairs
from diffeval.data.pixels import Images
from diffeval.data.source import ImageSource
from diffeval.diffusion.batching import split_batches
from diffeval.errors import DiffevalError, StoppedError
from diffeval.features.extractor import Extractor
from diffeval.measured import Extracting, Reference, plan_extractor
from diffeval.progress import Reporter

# Samples for each seed that may be spent, the forward passes that they may take, and how many are drawn at once.
SAMPLES_PER_SEED, PASSES, BATCH = 8, 25_600, 64


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on samples speak; see ``memorization``."""

    ratio: float = 1 / 3
    copies: float = 0.01
    authentic: float = 0.10


@dataclass(frozen=True, slots=True)
class Sampled:
    """What samples show.

    Attributes:
        speak: which of copies and AuthPct say that training images come back.
        finding: numbers, sentence and pictures; its status is for others to say.
    """

    speak: tuple[str, ...]
    finding: Finding


def samples_of(subject: Subject, most: int) -> int:
    """How many are drawn, no more than ``most``."""
    each = subject.generator.steps * subject.generator.branches
    return min(most, SAMPLES_PER_SEED * subject.n, max(subject.n, PASSES // each))


def draw_samples(subject: Subject, most: int) -> Images:
    """Images of the first indices, as the user has them sampled."""
    generator, count = subject.generator, samples_of(subject, most)
    subject.reporter.stage("samples", count, "images")
    parts = []
    for indices in split_batches(0, count, min(BATCH, subject.n)):
        parts.append(generator.images(indices))
        subject.reporter.advance(len(indices))
    return np.concatenate(parts)


def look_at_samples(
    samples: Images,
    held_out: Images,
    source: ImageSource,
    device: torch.device,
    reporter: Reporter,
    limits: Limits | None = None,
    *,
    offline: bool = True,
) -> Sampled:
    """Holds samples against training images, by features, too, where there is an extractor.

    Args:
        samples: uint8 [n, C, H, W].
        held_out: real images that were not trained on, uint8 [m, C, H, W].
        source: the training images, all of them.
        device: where features are made.
        reporter: hears of progress.
        limits: from where on samples speak.
        offline: whether weights of an extractor may not be fetched.

    Raises:
        DiffevalError: if there are too few images of a kind, or they are not of one shape.
    """
    limits = limits or Limits()
    if samples.shape[1:] != source.shape:
        ours, theirs = ("x".join(map(str, shape)) for shape in (samples.shape[1:], source.shape))
        raise DiffevalError(f"samples are {ours} and images of {source.spec} {theirs}; give another --ref")
    extractor, without = _extractor(source, device, reporter, offline)
    try:
        compared = compare(samples, held_out, source, extractor, reporter)
    except ValueError as error:
        raise DiffevalError(str(error)) from error
    said = evidence(compared, limits.ratio, limits.copies, limits.authentic)
    pictures, pairs = closest_pairs(samples, source, compared, limits.ratio)
    text = said.text + (f"; by pixels alone ({without})" if without else "")
    return Sampled(said.speak, Finding("pass", text, said.values, tables={"pairs": pairs}, pictures=pictures))


def _extractor(
    source: ImageSource, device: torch.device, reporter: Reporter, offline: bool
) -> tuple[Extractor | None, str]:
    """The one that the data call for, or why there is none."""
    try:
        return plan_extractor(Reference(source), Extracting(offline=offline), device, reporter), ""
    except StoppedError:
        raise
    except DiffevalError as error:
        return None, str(error)
