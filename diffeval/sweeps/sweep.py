"""Sweeps as they are asked for: over guidance scales, or over any sampling settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.data.source import OpenOptions
from diffeval.diffusion.sampling import Generator
from diffeval.errors import DiffevalError
from diffeval.features.extractor import UNFITTED
from diffeval.measured import Extracting, open_measured
from diffeval.metrics.metric import FeatureSet
from diffeval.plan import SamplingPlan, Settings, plan_images
from diffeval.prepared import prepare
from diffeval.price import price_lines, prices
from diffeval.progress import Reporter, SilentReporter
from diffeval.prompting import Prompting, given_prompts
from diffeval.runs.records import Results
from diffeval.sweeps.conclude import save, scale_conclusions, settings_conclusions
from diffeval.sweeps.grid import Value
from diffeval.sweeps.leave_out import leave_out
from diffeval.sweeps.run import changed, measure, point_name, suite_of

SCALES = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
USUAL_N = 2000
# Settings that ``--over`` takes, and what makes a value of its text.
AXES = {
    "steps": int,
    "w": float,
    "sampler": str,
    "eta": float,
    "karras": bool,
    "dtype": str,
    "rescale": float,
    "threshold": float,
}


def sweep_scales(
    checkpoint: Checkpoint | str | Path,
    scales: Sequence[float] = SCALES,
    *,
    settings: Settings | None = None,
    keep_diversity: float = 0.9,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Results:
    """Quality and diversity against the guidance scale: the same seeds and labels at every w.

    w is that of eps_uncond + w (eps_cond - eps_uncond): 1 is the plain conditional model, 0 the unconditional one.

    Raises:
        DiffevalError: for an unconditional checkpoint, one without a null class, and whatever else the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    measured = _checkpoint(checkpoint, opening, prompting)
    if not measured.classes and measured.asked is None:
        raise DiffevalError(
            f"sweep-cfg: {measured.name} is unconditional, it has no guidance; diffeval sweep --over steps=5,10 works"
        )
    swept = measure(
        measured,
        [{"w": float(w)} for w in sorted(set(scales))],
        task="sweep-cfg",
        settings=settings or Settings(n=USUAL_N),
        ref=ref,
        extracting=extracting,
        opening=opening,
        prompting=prompting,
        out=out,
        fresh=fresh,
        reporter=reporter,
    )
    return save(swept, scale_conclusions(swept, keep_diversity))


def sweep(
    checkpoint: Checkpoint | str | Path,
    over: Sequence[Mapping[str, Value]],
    *,
    settings: Settings | None = None,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
    out: Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Results:
    """Quality against what it costs, at each of the given settings; e.g. ``[{"steps": 5}, {"steps": 20}]``.

    Raises:
        DiffevalError: for a setting that cannot be honoured, and whatever else the user can mend.
        StoppedError: when the reporter asked to stop; the same call continues.
    """
    measured = _checkpoint(checkpoint, opening, prompting)
    settings = settings or Settings(n=USUAL_N)
    counts = [evaluations(plan_images(measured, changed(settings, one))) for one in over]
    swept = measure(
        measured,
        over,
        task="sweep",
        settings=settings,
        ref=ref,
        extracting=extracting,
        opening=opening,
        prompting=prompting,
        out=out,
        fresh=fresh,
        reporter=reporter,
    )
    return save(swept, settings_conclusions(swept, counts))


def evaluations(plan: SamplingPlan) -> int:
    """Network evaluations per image: two at each of the sampler's calls where guidance needs both branches."""
    generator = plan.generator
    assert isinstance(generator, Generator), "a sweep samples"
    return generator.calls * generator.branches


def describe(
    checkpoint: Checkpoint | str | Path,
    over: Sequence[Mapping[str, Value]],
    settings: Settings,
    *,
    ref: str | None = None,
    extracting: Extracting | None = None,
    opening: OpenOptions | None = None,
    prompting: Prompting | None = None,
) -> list[str]:
    """What a sweep would do, and about how long each stage takes here, in lines; every setting is checked."""
    measured = _checkpoint(checkpoint, opening, prompting)
    each = [changed(settings, one) for one in over]
    plans = [plan_images(measured, one) for one in each]
    counts = [evaluations(plan) for plan in plans]
    metrics = suite_of(measured, prompting)
    known = prepare(
        measured, each[0], ref, extracting, opening, SilentReporter(), fit=False, suite=metrics, prompting=prompting
    )
    lines = [f"checkpoint   {measured.name} {measured.sha256[:8]} ({measured.path})"]
    lines += [
        f"point        {point_name(one)}: {settings.n} images, {count} network evaluations each"
        for one, count in zip(over, counts, strict=True)
    ]
    lines += [
        f"images       {settings.n * len(over)}",
        f"evaluations  {settings.n * sum(counts)} in all, in batches of {plans[0].batch}",
    ]
    calls = [plan.generator.calls for plan in plans if isinstance(plan.generator, Generator)]
    priced = price_lines(prices(plans, calls, known, settings.n, metrics, also=_left_out), "takes        ")
    extra = "; its extractor is trained first, about a minute" if known.extractor.id.endswith(UNFITTED) else ""
    return [*lines, *priced[:-1], f"{priced[-1]}{extra}"]


def _left_out(generated: FeatureSet, reference: FeatureSet) -> None:
    """What a sweep computes beside scores."""
    classes = 0 if generated.labels is None else int(generated.labels.max()) + 1
    leave_out(generated, reference, independent=True, classes=classes)


def _checkpoint(
    checkpoint: Checkpoint | str | Path, opening: OpenOptions | None, prompting: Prompting | None
) -> Checkpoint:
    measured = given_prompts(open_measured(checkpoint, opening=opening), prompting)
    if not isinstance(measured, Checkpoint):
        raise DiffevalError(f"sweep: {measured.name} is ready-made images, which are not sampled; give a checkpoint")
    return measured
