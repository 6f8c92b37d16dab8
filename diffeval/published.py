"""Published protocols: settings that belong together, so that a number can stand beside the ones in papers."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from diffeval.errors import DiffevalError
from diffeval.measured import Extracting
from diffeval.plan import Settings
from diffeval.progress import Reporter
from diffeval.prompting import Prompting
from diffeval.registry import did_you_mean
from diffeval.runs.records import Param, Results


@dataclass(frozen=True, slots=True)
class Published:
    """One protocol.

    Attributes:
        n: images.
        extractor: as ``--extractor`` takes it.
        resize: resizing protocol.
        rounding: how float pixels become uint8.
        k: neighbours of precision and recall.
        seeds: that the published number was taken over.
        said: what a reader must know of the number beside which ours stands.
        of_sampling: whether that is about how images are sampled, and says nothing of ready-made ones.
        steps: sampling steps; None for the checkpoint's own.
        w: guidance scale; None for the user's.
        negative: negative prompt of every prompt; empty without.
        judge: of prompts; None for the usual one.
        windows: what a score must lie in, either end counting, by name.
        sampler: class in diffusers that windows hold for; None for any.
    """

    n: int
    extractor: str
    resize: str
    rounding: str
    k: int
    seeds: tuple[int, ...]
    said: str
    of_sampling: bool = False
    steps: int | None = None
    w: float | None = None
    negative: str = ""
    judge: str | None = None
    windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sampler: str | None = None


PUBLISHED = {
    # Dhariwal and Nichol 2021, guided-diffusion/evaluations.
    "adm": Published(
        50000, "inception:2048", "torch-fidelity", "adm", 3, (0,),
        "published values draw labels uniformly at random; here classes are balanced", True,
    ),
    # Karras et al. 2024, edm2/calculate_metrics.py.
    "edm2": Published(
        50000, "inception:2048", "torch-fidelity", "edm", 3, (0, 1, 2),
        "published values are the lowest of three sets of 50000 images; run seeds 0, 1 and 2, and compare the lowest",
    ),
    # Parmar et al. 2022, clean-fid.
    "clean-fid": Published(
        50000, "inception:2048", "clean", "nearest", 3, tuple(range(10)),
        "published values are means of ten runs",
    ),
    # MLPerf Inference v5.0, text_to_image, closed division.
    "mlperf-sdxl": Published(
        5000, "inception:2048", "legacy_pytorch", "nearest", 3, (0,),
        "its 5000 prompts share one latent, here each image has its own", True,
        steps=20, w=8.0, negative="normal quality, low quality, worst quality, low res, blurry, nsfw, nude",
        judge="clip:ViT-B-32-quickgelu",
        windows={"fid": (23.01085758, 23.95007626), "clip_score": (31.68631873, 31.81331801)},
        sampler="EulerDiscreteScheduler",
    ),
}  # fmt: skip


def combined(
    name: str, settings: Settings, extracting: Extracting, reporter: Reporter, *, available: int | None = None
) -> tuple[Settings, Extracting]:
    """The user's settings with those of a protocol.

    Args:
        name: of the protocol.
        settings: the user's; n is 0 where he named none.
        extracting: the user's.
        reporter: told what a reader must know.
        available: how many ready-made images there are: they have been made and rounded by somebody else already;
            None where a checkpoint is sampled.

    Raises:
        DiffevalError: for an unknown name, or a setting that contradicts the protocol.
    """
    if name not in PUBLISHED:
        raise DiffevalError(f"unknown protocol {name!r};{did_you_mean(name, PUBLISHED)}")
    protocol = PUBLISHED[name]
    for flag, given, wanted in (
        ("--extractor", extracting.name, protocol.extractor),
        ("--resize", extracting.resize, protocol.resize),
    ):
        if given not in (None, wanted):
            raise DiffevalError(f"protocol: {name} takes {flag} {wanted}, got {given}; leave one of the two out")
    for flag, asked, fixed in (("--steps", settings.steps, protocol.steps), ("--w", settings.w, protocol.w)):
        if fixed is not None and asked not in (None, fixed):
            raise DiffevalError(f"protocol: {name} takes {flag} {fixed:g}, got {asked:g}; leave one of the two out")
    if extracting.fast:
        raise DiffevalError(f"protocol: {name} is in full precision; leave --fast out")
    n = settings.n or min(protocol.n, protocol.n if available is None else available)
    if n != protocol.n:
        reporter.warn(f"protocol {name}: published values stand on {protocol.n} images, these on {n}")
    sampled = available is None
    if sampled or not protocol.of_sampling:
        reporter.warn(f"protocol {name}: {protocol.said}")
    settings = dataclasses.replace(settings, n=n, rounding=protocol.rounding if sampled else settings.rounding)
    if sampled:
        settings = dataclasses.replace(settings, steps=protocol.steps or settings.steps, w=protocol.w or settings.w)
    return settings, dataclasses.replace(extracting, name=protocol.extractor, resize=protocol.resize)


def prompted(name: str, prompting: Prompting | None) -> Prompting | None:
    """The user's prompts with the negative prompt and the judge of a protocol.

    Raises:
        DiffevalError: for a setting that contradicts the protocol.
    """
    protocol = PUBLISHED[name]
    if not protocol.negative:
        return prompting
    given = prompting or Prompting()
    for flag, asked, fixed in (
        ("--negative", given.negative, protocol.negative), ("--judge", given.judge, protocol.judge),
    ):  # fmt: skip
        if asked not in (None, fixed):
            raise DiffevalError(f"protocol: {name} takes {flag} {fixed!r}, got {asked!r}; leave one of the two out")
    return dataclasses.replace(given, negative=protocol.negative)


def windowed(name: str, results: Results) -> tuple[Mapping[str, Param], ...]:
    """Where the scores of a run lie in the windows of a protocol: one row for each, none without windows.

    A window has two sides: a score that is too good is as suspicious as one that is too bad. One that was not
    measured, or at another number of images, is not judged.
    """
    protocol = PUBLISHED[name]
    rows: list[Mapping[str, Param]] = []
    for score, (low, high) in protocol.windows.items():
        found = [one for one in results.scores if one.name == score and one.n == protocol.n and one.value is not None]
        value = found[0].value if found else None
        by = results.protocol.sampler_config.get("scheduler")
        if value is None:
            verdict = f"not measured at n={protocol.n}"
        elif protocol.sampler is not None and by != protocol.sampler:
            verdict = f"not judged: sampled by {by or 'somebody else'}, not by {protocol.sampler}"
        else:
            verdict = "below" if value < low else "above" if value > high else "inside"
        rows.append({"protocol": name, "score": score, "value": value, "low": low, "high": high, "verdict": verdict})
    return tuple(rows)
