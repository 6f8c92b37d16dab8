"""Ready-made images in the place of a checkpoint: what can be checked of samples alone."""

import numpy as np

from diffeval.checks.check import CHECKS, Finding
from diffeval.checks.memorization import judge, no_held_out
from diffeval.checks.sampled import SAMPLES_PER_SEED, look_at_samples
from diffeval.data.source import ImageSource
from diffeval.errors import DiffevalError, StoppedError
from diffeval.features.reference import held_out_source
from diffeval.progress import Reporter
from diffeval.ready import Shown
from diffeval.runs.records import CheckResult

MEMORIZATION = "memorization"
# Keys which held-out images are taken, where there are more than are needed.
_ORDER = 0


def look_at_images(
    name: str, images: Shown, n: int, source: ImageSource | None, reporter: Reporter, *, offline: bool
) -> tuple[CheckResult, Finding]:
    """Runs a check on ready-made images; all but ``memorization`` need a network, and are not applicable.

    Args:
        name: of the check.
        images: in the place of samples.
        n: eight times so many are looked at, as of a checkpoint.
        source: the images that whatever made them was trained on.
        reporter: hears of progress.
        offline: whether weights of an extractor may not be fetched.
    """
    if name != MEMORIZATION:
        finding = Finding("not-applicable", "needs a network, and these are ready-made images")
    else:
        assert source is not None, "without it ready-made images are refused"
        finding = _memorization(images, n, source, reporter, offline)
    one = CHECKS[name]
    result = CheckResult(name, finding.status, finding.summary, finding.values, one.params, finding.fix)
    return result, finding


def _memorization(images: Shown, n: int, source: ImageSource, reporter: Reporter, offline: bool) -> Finding:
    held_out = held_out_source(source, reporter)
    if held_out is None:
        return no_held_out(source.spec)
    most = int(str(CHECKS[MEMORIZATION].params["samples"]))
    rows = np.random.Generator(np.random.Philox(_ORDER)).permutation(len(held_out))[:most]
    samples = images.images(range(min(images.limit, most, SAMPLES_PER_SEED * n)))
    unseen = held_out.pixels.read(rows)
    without = "ready-made images have no network"
    try:
        return judge(
            without, look_at_samples(samples, unseen, source, images.device, reporter, offline=offline), network=False
        )
    except StoppedError:
        raise
    except DiffevalError as error:
        return judge(without, str(error), network=False)
