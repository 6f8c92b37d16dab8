"""Single images of a seed, drawn again without those before them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffeval.data.pixels import Images
from diffeval.errors import DiffevalError
from diffeval.export import write_images
from diffeval.measured import Measured, open_measured
from diffeval.plan import SamplingPlan, Settings, plan_images, protocol_of
from diffeval.progress import Reporter, SilentReporter
from diffeval.prompting import Prompting, given_prompts
from diffeval.runs.directory import default_name
from diffeval.runs.files import require_writable

TASK = "images"


def draw_single(
    checkpoint: Measured | str | Path,
    indices: Sequence[int],
    *,
    settings: Settings,
    prompting: Prompting | None = None,
    out: Path | None = None,
    form: str = "png",
    reporter: Reporter | None = None,
) -> Path:
    """Draws the images of these indices, each as it is in a run of the same settings, and returns where they lie.

    They are drawn in batches of their own, so that one may differ by a level in one of a thousand pixels.

    Args:
        checkpoint: a Checkpoint, or what ``load`` takes.
        indices: of the images, each once.
        settings: how to sample; n is not read.
        prompting: the prompts of a text-to-image checkpoint.
        out: a folder that is no run; by default named after checkpoint, seed and protocol, under ``runs/``.
        form: ``png``, files in ``png/``, or ``npz``, ``samples.npz`` with the indices as ``indices``.
        reporter: hears of progress.

    Raises:
        DiffevalError: for whatever the user can mend.
    """
    reporter = reporter or SilentReporter()
    measured = given_prompts(open_measured(checkpoint), prompting)
    plan = plan_images(measured, settings)
    name = default_name(measured.name, measured.sha256, TASK, settings.seed, protocol_of(TASK, plan.generator))
    folder = out if out is not None else Path("runs") / name
    if (folder / "run.json").exists():
        raise DiffevalError(f"sample: {folder} is a run directory, and --indices makes no run; choose another --out")
    require_writable(folder)
    images = _drawn(plan, indices, reporter)
    return write_images(folder, indices, images, plan.generator.labels(indices), form)


def _drawn(plan: SamplingPlan, indices: Sequence[int], reporter: Reporter) -> Images:
    reporter.stage("sampling", len(indices), "images")
    parts = []
    for at in range(0, len(indices), plan.batch):
        parts.append(plan.generator.images(indices[at : at + plan.batch]))
        reporter.advance(len(parts[-1]))
    return np.concatenate(parts)
