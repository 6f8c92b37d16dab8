"""A run under way: its images on disk, and what metrics know of them."""

import time
from dataclasses import dataclass

import numpy as np

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.compiling import compiled, worth_it
from diffeval.diffusion.sampling import Generator
from diffeval.features.extractor import Extractor, Texts
from diffeval.harvest import Harvest, open_harvest, reap, timed
from diffeval.job import Job
from diffeval.measured import Measured
from diffeval.metrics.metric import FeatureSet
from diffeval.plan import ImageMaker
from diffeval.prepared import Prepared
from diffeval.progress import Reporter
from diffeval.prompting import judged_images
from diffeval.ranks import here


@dataclass(frozen=True, slots=True)
class Work:
    """A run under way.

    Attributes:
        job: the planned run.
        known: extractor, reference and prompts.
        harvest: where its images and their features lie.
        texts: features of the prompts; None without prompts.
        reporter: hears of progress.
    """

    job: Job
    known: Prepared
    harvest: Harvest
    texts: Texts | None
    reporter: Reporter

    def sample(self) -> None:
        """Makes the images of the job complete, with their features."""
        sample_images(self.job, self.harvest, self.reporter, self.known.extractor, self.known.judge)

    @property
    def generated(self) -> FeatureSet:
        """What a metric knows of the run's images."""
        return stored_images(self.harvest, self.job.checkpoint, self.known, self.texts, self.job.settings.n)


def begin(job: Job, known: Prepared, texts: Texts | None, reporter: Reporter, *, keep_images: bool) -> Work:
    """Opens the stores of a run."""
    harvest = open_harvest(job.run, job.state.chunk, known.extractor, known.judge, keep_images=keep_images)
    return Work(job, known, harvest, texts, reporter)


def sample_images(
    job: Job, harvest: Harvest, reporter: Reporter, extractor: Extractor | None, judge: Extractor | None = None
) -> int:
    """Makes the images of a job complete; returns the batch that was last used."""
    state = job.run.update(status="running", n=max(job.settings.n, job.state.n))
    size = harvest.stores[0].size
    lacking = harvest.missing(job.settings.n, job.settings.shard)
    if lacking and here().world > state.ranks:  # written down now: once all images are there, rank 0 goes on alone
        job.run.update(ranks=here().world)
    maker = _maker(job, sum(min(size, job.settings.n - start) - rows for start, rows in lacking), reporter)
    started = time.monotonic()
    try:
        plan = job.plan
        return reap(
            job.run,
            harvest,
            maker,
            extractor,
            job.settings.n,
            plan.batch,
            reporter,
            judge,
            job.settings.shard,
        )
    finally:
        timed(job.run, "sampling", started)


def _maker(job: Job, left: int, reporter: Reporter) -> ImageMaker:
    """What makes the images that are left: the plan's generator, compiled where that was decided for the run."""
    generator, checkpoint, settings = job.plan.generator, job.checkpoint, job.settings
    if not isinstance(generator, Generator) or not isinstance(checkpoint, Checkpoint) or not left:
        return generator
    ranks, state = here(), job.run.state()
    before = state.compiled if state is not None else None
    if before is not None and settings.compile not in ("auto", "on" if before else "off"):
        reporter.note(f"this run was begun {'' if before else 'un'}compiled and goes on so")
    wanted = settings.compile == "on" if before is None else before
    # Shards know nothing of each other, and must be alike.
    if before is None and settings.compile == "auto" and settings.shard is None and ranks.first:
        wanted = worth_it(generator, checkpoint, job.plan.batch, -(-left // ranks.world))
    if not ranks.tell(wanted, reporter):
        job.run.update(compiled=False)
        return generator
    started = time.monotonic()
    made = compiled(
        generator,
        checkpoint,
        job.plan.batch,
        reporter,
        anyway=before is True or settings.compile == "on",
        offload=settings.offload,
    )
    timed(job.run, "compiling", started)
    job.run.update(compiled=made is not None)
    return made or generator


def stored_images(harvest: Harvest, measured: Measured, known: Prepared, texts: Texts | None, n: int) -> FeatureSet:
    """Features, logits, appearance, labels and prompts of images 0 to n - 1, which lie in a run."""
    assert harvest.features is not None, "an evaluation extracts features"
    held = {name: harvest.features.gather(name, n).astype(np.float64) for name in harvest.features.names}
    labels = known.plan.generator.labels(range(n))
    images = FeatureSet(
        held["features"],
        labels,
        held.get("logits"),
        () if labels is None else measured.classes,
        known.extractor.classes,
        known.extractor.name,
        held["appearance"],
        asked=isinstance(known.plan.generator, Generator),
    )
    if known.asked is None or texts is None:
        return images
    judged = held["features"] if harvest.judged is None else harvest.judged.gather("features", n)
    return judged_images(images, judged, known.asked.pairing.rows(n), known.asked, texts)
