"""Everything that a score needs, opened and held against each other before the first expensive step."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import ImageSource, OpenOptions
from diffeval.errors import DiffevalError
from diffeval.features.extractor import UNFITTED, Extractor, ExtractorRequest
from diffeval.measured import (
    Extracting,
    Measured,
    Real,
    Reference,
    has_reference,
    open_reference,
    plan_extractor,
    settle,
)
from diffeval.metrics.metric import METRICS, LackingError
from diffeval.pairing import Asked
from diffeval.plan import SamplingPlan, Settings, plan_images
from diffeval.progress import Reporter
from diffeval.prompting import Prompting, ask, default_judge, open_judge
from diffeval.ready import ReadyImages
from diffeval.suite import Suite

USUAL_N = 5000


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a score needs, opened and held against each other.

    Attributes:
        plan: how the images come about.
        extractor: makes the features.
        reference: images or moments; None where nothing is measured against them, and none are known.
        warnings: what a reader must know of it.
        asked: the prompts of the images, and who judges them; None where no metric reads prompts.
    """

    plan: SamplingPlan
    extractor: Extractor
    reference: Real | None
    warnings: tuple[str, ...]
    asked: Asked | None = None

    @property
    def judge(self) -> Extractor | None:
        """Who judges whether images follow their prompts."""
        return None if self.asked is None else self.asked.judge


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
    suite: Suite | None = None,
    prompting: Prompting | None = None,
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
        suite: what will be computed; by default what needs a reference, and no prompts.
        prompting: prompts, where the suite reads them; by default the names of the classes.

    Raises:
        DiffevalError: if something is missing, or two things do not fit each other.
    """
    plan = plan_images(measured, settings)
    extracting = extracting or Extracting()
    alone = suite is not None and suite.alone
    unknown = alone and ref is None and not has_reference(measured)
    opened = Reference(None) if unknown else open_reference(measured, ref, opening)
    if alone and extracting.name is None:
        extracting = replace(extracting, name=default_judge(measured.image_shape))

    def check(extractor: Extractor) -> None:
        if not unknown:
            settle(measured, opened, extractor)
        if enough is not None:
            enough(extractor.dim)
        if not fit and extractor.id.endswith(UNFITTED):
            raise _Unfitted(extractor)

    try:
        extractor = plan_extractor(opened, extracting, plan.generator.device, reporter, check)
    except _Unfitted as stopped:
        extractor = stopped.draft
    reference, warnings = (None, ()) if unknown else settle(measured, opened, extractor)
    asked = None
    _refuse_idle(measured, suite, prompting)
    if suite is not None and suite.prompted:
        given = prompting or Prompting()
        request = ExtractorRequest(plan.generator.device, offline=extracting.offline, reporter=reporter)
        judge = open_judge(given, extractor, measured.image_shape, request)
        asked = ask(measured, plan.generator, given, judge, skipped=opening is not None and opening.on_bad == "skip")
        scale = suite.options.get("clip_score", {}).get("scale", asked.scale)
        asked = replace(asked, scale=str(scale))
        for note in asked.pairing.notes:
            reporter.note(note)
    return Prepared(plan, extractor, reference, warnings, asked)


def _refuse_idle(measured: Measured, suite: Suite | None, prompting: Prompting | None) -> None:
    """Prompts that nobody reads would be a wish that is passed over."""
    if prompting is None or suite is None or suite.prompted:
        return
    makes = isinstance(measured, Checkpoint) and measured.text is not None
    idle = replace(prompting, prompts=None, held_out=None, negative=None) if makes else prompting
    given = [f"--{field.name.replace('_', '-')}" for field in fields(idle) if getattr(idle, field.name) is not None]
    if given:
        raise DiffevalError(
            f"prompts: {', '.join(given)} {'are' if len(given) > 1 else 'is'} given, and no score reads prompts; add "
            f"clip_score to --metrics, or leave it out"
        )


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
    if reference is None:
        images: int | None = 0
    else:
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
