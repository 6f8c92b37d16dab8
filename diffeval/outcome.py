"""From the images of a run to its results on disk."""

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from diffeval.data.source import ImageSource
from diffeval.features.extractor import Extractor
from diffeval.harvest import timed
from diffeval.job import Job, holds_more, provenance_of, warnings_of
from diffeval.metrics.clip_reading import FLAT
from diffeval.metrics.feature_map import feature_map
from diffeval.metrics.metric import FeatureSet
from diffeval.mode_pictures import PICTURES as MODE_PICTURES
from diffeval.mode_pictures import mode_pictures
from diffeval.per_class import read_classes, worst_sentence
from diffeval.plan import ImageMaker
from diffeval.pricing.scoring import measured_weights
from diffeval.progress import Reporter
from diffeval.prompt_tables import prompt_pictures, save_prompts
from diffeval.ready import Shown
from diffeval.real import RealImages
from diffeval.runs.records import Keep, Param, Results
from diffeval.sample_pictures import PICTURES, Setting, sample_pictures
from diffeval.scoring import Choices, Scoring, score_counts
from diffeval.work import Work

# The file in the run that holds the map of features, without its suffix.
MAP = "feature_map"
# Pairs of images from which on scores take long enough for their parts to be tried beforehand.
LONG = 5 * 10**8
Tables = dict[str, tuple[Mapping[str, Param], ...]]


def score_and_save(work: Work, real: RealImages, counts: Sequence[int], choices: Choices) -> Results:
    """Scores the images of a run at every count, and writes what was found into it."""
    started = time.monotonic()
    job, generated = work.job, work.generated
    params = _params(job, real)
    weights = measured_weights(work.known, choices.suite, counts, real) if _is_long(counts, real) else None
    scoring = score_counts(generated, real, counts, choices, params=params, reporter=work.reporter, weights=weights)
    readings = (
        read_classes(generated, real.reference, real.held_out, real.independent) if choices.suite.classes else ()
    )
    timed(job.run, "scoring", started)
    state = job.run.state()
    assert state is not None, "the run was opened"
    tables: Tables = {**scoring.tables, "extractor": (_extractor_row(work.known.extractor),)}
    if readings:
        tables["per_class"] = tuple(one.row() for one in readings)
    tables = _with_pictures(work, generated, real, tables, scoring.terms)
    worst = worst_sentence(readings)
    said = (
        *warnings_of(job, work.reporter),
        *real.warnings,
        *scoring.warnings,
        *flat_sentence(generated),
        *((worst,) if worst else ()),
    )
    results = Results(
        run=str(job.run.path),
        protocol=job.protocol,
        provenance=provenance_of(job, state.batch),
        scores=scoring.scores,
        tables=tables,
        choices=choices.recorded(),
        warnings=tuple(dict.fromkeys(said)),
    )
    if holds_more(job) is None and len(real.reference):
        job.run.save_arrays(MAP, feature_map(generated.features, real.reference.features))
    _save(job, results, scoring, choices.keep, generated.labels, work.reporter)
    return results


def _is_long(counts: Sequence[int], real: RealImages) -> bool:
    """Whether scores take so long that it pays to find out how long each does."""
    n, m = counts[-1], len(real.reference)
    return n * (n + m) + m * m > LONG


def flat_sentence(images: FeatureSet) -> tuple[str, ...]:
    """How many images are of a single colour, where any is: black frames are no samples, whatever scores say."""
    if images.appearance is None or images.prompted is not None:  # with prompts the score counts them
        return ()
    channels = (images.appearance.shape[1] - 2) // 2
    flat = int((images.appearance[:, 2 : 2 + channels].max(axis=1) < FLAT).sum())
    return (f"{flat} of {len(images)} images are of a single colour",) if flat else ()


def _with_pictures(
    work: Work,
    generated: FeatureSet,
    real: RealImages,
    tables: Tables,
    terms: Mapping[str, npt.NDArray[np.generic]],
) -> Tables:
    """Tables that name images, with where these lie; the images themselves go into the run, if it holds no more."""
    run, maker = work.job.run, work.job.plan.generator
    for name in ("raises_fid", "follow_least"):
        if name in tables:
            tables = {**tables, name: _named(tables[name], maker)}
    if holds_more(work.job) is not None:
        return tables
    started = time.monotonic()
    _save_pictures(work, generated, real, tables, terms)
    timed(run, "pictures", started)
    return {**tables, "prompts": save_prompts(run, tables["prompts"])} if "prompts" in tables else tables


def _save_pictures(
    work: Work,
    generated: FeatureSet,
    real: RealImages,
    tables: Tables,
    terms: Mapping[str, npt.NDArray[np.generic]],
) -> None:
    """Pictures of what was found; most are remembered, the rest is made anew, as a run keeps no pixels."""
    job, run, maker = work.job, work.job.run, work.job.plan.generator
    reference = work.known.reference if isinstance(work.known.reference, ImageSource) else None
    state = run.state()
    draw = partial(work.harvest.drawn, maker=maker, batch=job.plan.batch if state is None else state.batch)
    if reference is not None and "modes" in tables:
        run.save_arrays(MODE_PICTURES, mode_pictures(tables["modes"], terms, draw, maker.image_shape, reference))
    if "prompts" in tables:
        prompt_pictures(run, tables["prompts"], terms, draw, maker.image_shape)
    setting = Setting(generated, real, reference, maker, work.known.asked, job.checkpoint.reference, tables)
    run.save_arrays(PICTURES, sample_pictures(setting, draw, run.arrays(PICTURES)))


def _save(
    job: Job,
    results: Results,
    scoring: Scoring,
    keep: Keep,
    labels: npt.NDArray[np.int64] | None,
    reporter: Reporter,
) -> None:
    """Writes the results, unless the run holds those of more images: these stay the run's own."""
    held = holds_more(job)
    if held is not None:
        reporter.note(f"the run holds {held} images; the first {job.settings.n} are shown, and not stored")
        job.run.update(status="done", n=held)
        return
    terms = dict(scoring.terms) if labels is None else {**scoring.terms, "labels": labels}
    job.run.save_arrays("terms", terms)
    job.run.save_results(results)
    job.run.discard(images=keep != "images", features=keep == "none")
    # What the scores were warned of belongs to this count, not to the run.
    job.run.update(status="done", n=job.settings.n, warnings=warnings_of(job, reporter))


def _named(rows: Sequence[Mapping[str, Param]], maker: ImageMaker) -> tuple[Mapping[str, Param], ...]:
    """Rows about single images with where these lie, if they are ready-made."""
    if not isinstance(maker, Shown):
        return tuple(rows)
    return tuple({"image": maker.name(int(str(row["index"]))), **row} for row in rows)


def _extractor_row(extractor: Extractor) -> Mapping[str, Param]:
    return {
        "extractor": extractor.name,
        "id": extractor.id,
        "layer": extractor.layer or None,
        "dimensions": extractor.dim,
        "resize": extractor.resize,
        "normalisation": extractor.normalisation or None,
        "notes": "; ".join(extractor.notes) or None,
    }


def _params(job: Job, real: RealImages) -> Mapping[str, Param]:
    return {
        "w": job.protocol.w,
        "sampler": job.protocol.sampler,
        "steps": job.protocol.steps,
        "extractor": real.extractor,
        "reference": real.spec or None,
    }
