"""Everything that a score needs, opened and held against each other before the first expensive step."""

from collections.abc import Callable
from dataclasses import dataclass

from diffeval.data.source import ImageSource, OpenOptions
from diffeval.errors import DiffevalError
from diffeval.features.extractor import UNFITTED, Extractor
from diffeval.measured import Extracting, Measured, Real, open_reference, plan_extractor, settle
from diffeval.metrics.metric import METRICS, LackingError
from diffeval.plan import SamplingPlan, Settings, plan_images
from diffeval.progress import Reporter
from diffeval.ready import ReadyImages
from diffeval.suite import Suite

USUAL_N = 5000


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a score needs, opened and held against each other.

    Attributes:
        plan: how the images come about.
        extractor: makes the features.
        reference: images or moments.
        warnings: what a reader must know of it.
    """

    plan: SamplingPlan
    extractor: Extractor
    reference: Real
    warnings: tuple[str, ...]


def prepare(
    measured: Measured,
    settings: Settings,
    ref: str | None,
    extracting: Extracting | None,
    opening: OpenOptions | None,
    reporter: Reporter,
    enough: Callable[[int], object] | None = None,
    *,
    fit: bool = True,
) -> Prepared:
    """Opens the reference and the extractor, cheap things first.

    Args:
        measured: what is measured.
        settings: how it is sampled.
        ref: the reference, or None for the checkpoint's own.
        extracting: how features are made.
        opening: how images on disk are opened.
        reporter: hears of progress.
        enough: refuses a dimension of the features for which there are too few images.
        fit: whether an extractor may be trained; if not, it is given as far as it is known before (``UNFITTED``).

    Raises:
        DiffevalError: if something is missing, or two things do not fit each other.
    """
    plan = plan_images(measured, settings)
    opened = open_reference(measured, ref, opening)

    def check(extractor: Extractor) -> None:
        settle(measured, opened, extractor)
        if enough is not None:
            enough(extractor.dim)
        if not fit and extractor.id.endswith(UNFITTED):
            raise _Unfitted(extractor)

    try:
        extractor = plan_extractor(opened, extracting or Extracting(), plan.generator.device, reporter, check)
    except _Unfitted as stopped:
        extractor = stopped.draft
    reference, warnings = settle(measured, opened, extractor)
    return Prepared(plan, extractor, reference, warnings)


class _Unfitted(Exception):  # noqa: N818  # no error: it leads out of a factory that would go on to train
    """An extractor that would have to be trained."""

    def __init__(self, draft: Extractor) -> None:
        super().__init__(draft.id)
        self.draft = draft


def refuse_impossible(suite: Suite, known: Prepared) -> None:
    """Asks each metric whether it can be computed with this extractor and this reference.

    Raises:
        DiffevalError: for one that was asked for and cannot.
    """
    reference = known.reference
    images = len(reference) if isinstance(reference, ImageSource) else reference.n
    for name in suite.metrics if suite.asked and images is not None else ():
        try:
            METRICS[name].possible(images, known.extractor.classes, **suite.options.get(name, {}))
        except LackingError as error:
            raise DiffevalError(f"{name}: {error}") from error


def available(measured: Measured) -> int | None:
    """How many images there are; None where they are sampled, without end."""
    return len(measured.source) if isinstance(measured, ReadyImages) else None


def usual_n(measured: Measured) -> int:
    """Images where the user names no number."""
    return len(measured.source) if isinstance(measured, ReadyImages) else USUAL_N
