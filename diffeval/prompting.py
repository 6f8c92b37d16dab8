"""From the prompts that the user gives to what each image is judged by."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffeval.cache import cache_folder
from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.text import with_prompts
from diffeval.data.digits import CLASSES
from diffeval.data.pixels import Shape
from diffeval.data.prompts import Prompt, read_prompts
from diffeval.data.source import ImageSource
from diffeval.errors import DiffevalError
from diffeval.features.digits_judge import TEMPLATES, WORDS
from diffeval.features.digits_judge import VARIANT as DIGITS
from diffeval.features.extractor import Extractor, ExtractorRequest, Texts
from diffeval.features.opening import open_extractor
from diffeval.features.reference import held_out_source
from diffeval.measured import Measured, Real
from diffeval.metrics.clip_tables import HELD_OUT
from diffeval.metrics.metric import FeatureSet
from diffeval.metrics.prompted import Prompted, Rows
from diffeval.pairing import (
    CLASS_TEMPLATE,
    PLACE,
    Asked,
    Pairing,
    by_class,
    by_name,
    class_prompts,
    concepts_of,
    filled,
    names_classes,
)
from diffeval.plan import ImageMaker
from diffeval.progress import Reporter
from diffeval.ready import Shown
from diffeval.real import RealImages, features_of
from diffeval.runs.files import read_arrays, replace_arrays

# Texts that are embedded and kept together: what is lost when a run is stopped.
BLOCK = 1024
# How the triage begins what it says of images that were left out.
LEFT_OUT = "cannot be used and were left out"
NO_ROWS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Prompting:
    """Prompts and their judge, as the user says it.

    Attributes:
        prompts: file of prompts; None for the names of the classes.
        held_out: file of prompts that were never seen in training, scored as a group of their own.
        template: that prompts are put in, with ``{}`` in their place; None for the usual one.
        judge: an extractor that reads texts, too; None for the run's own extractor, or what the images call for.
        weights: of the judge.
        negative: prompt of what images are not to show, for prompts that have none of their own.
    """

    prompts: Path | None = None
    held_out: Path | None = None
    template: str | None = None
    judge: str | None = None
    weights: Path | None = None
    negative: str | None = None


def given_prompts(measured: Measured, prompting: Prompting | None) -> Measured:
    """A text-to-image checkpoint with the prompts that the user gives, or that lie beside it; all else as it is.

    Raises:
        DiffevalError: if there are none.
    """
    if not isinstance(measured, Checkpoint) or measured.text is None or measured.asked is not None:
        return measured
    given = _given(prompting or Prompting())
    if given is None and not measured.text.prompts:
        raise DiffevalError(f"prompts: {measured.name} makes images of text; give --prompts FILE")
    found, negative = given or measured.text.prompts, prompting.negative if prompting else None
    if negative is not None:
        found = tuple(one if one.negative else replace(one, negative=negative) for one in found)
    return with_prompts(measured, found)


def default_judge(shape: Shape) -> str:
    """The judge that images of this shape call for."""
    return f"clip:{DIGITS}" if shape == (1, 8, 8) else "clip"


def open_judge(
    prompting: Prompting, extractor: Extractor | None, shape: Shape, request: ExtractorRequest
) -> Extractor:
    """The judge that the user names; else the run's extractor if it reads texts, too; else what the images call for.

    Raises:
        DiffevalError: if there is none, or it reads no texts or no images of this shape.
    """
    if prompting.judge is None and prompting.weights is None and extractor is not None and extractor.texts is not None:
        return extractor
    judge = open_extractor(prompting.judge or default_judge(shape), replace(request, weights=prompting.weights))
    if judge.texts is None:
        raise DiffevalError(f"--judge {judge.name} reads no texts; give clip, clip:VARIANT, or leave it out")
    if judge.takes not in (None, shape):
        ours, theirs = ("x".join(map(str, one or ())) for one in (shape, judge.takes))
        raise DiffevalError(f"--judge {judge.name} takes {theirs} images, these are {ours}; give another --judge")
    for note in judge.notes:
        request.reporter.note(note)
    return judge


def ask(measured: Measured, maker: ImageMaker, prompting: Prompting, judge: Extractor, *, skipped: bool) -> Asked:
    """The prompt of every image.

    Args:
        measured: what is measured.
        maker: makes its images.
        prompting: as the user says it.
        judge: reads the prompts.
        skipped: whether images that could not be used were left out.

    Raises:
        DiffevalError: if there are no prompts, or they and the images do not belong together.
    """
    classes = measured.classes
    if isinstance(measured, Checkpoint) and measured.asked is not None:
        template = PLACE if prompting.template is None else prompting.template
        return Asked(judge, _of_text(measured, filled(template, measured.prompts)), template)
    given = _given(prompting)
    if isinstance(measured, Checkpoint) and not classes:
        raise DiffevalError(
            f"prompts: {measured.name} is unconditional, its images follow no words; give a checkpoint with classes"
        )
    if given is None and not classes:
        raise DiffevalError(f"prompts: {measured.name} has no classes that could be named; give --prompts FILE")
    spoken = dict(zip(CLASSES, WORDS, strict=True)) if judge.name == f"clip:{DIGITS}" else {}
    usual = (TEMPLATES[0] if spoken else CLASS_TEMPLATE) if given is None else PLACE
    template = usual if prompting.template is None else prompting.template
    prompts = class_prompts(classes, spoken) if given is None else given
    pairing = _paired(measured, maker, prompts, filled(template, prompts), skipped)
    return Asked(judge, pairing, template)


def _of_text(checkpoint: Checkpoint, texts: tuple[str, ...]) -> Pairing:
    """The pairs of a text-to-image checkpoint: each image has the prompt that it was made of."""
    asked, prompts = checkpoint.asked, checkpoint.prompts
    assert asked is not None, "asked before"
    if checkpoint.classes:  # for what real images of these classes read
        turns = by_class(prompts, texts, checkpoint.classes, lambda n: np.empty(n, dtype=np.int64)).turns
    else:
        turns = None
    return Pairing(
        prompts, texts, concepts_of(prompts), asked.rule, lambda n: asked.of(range(n)) if n else NO_ROWS, turns=turns
    )


def _given(prompting: Prompting) -> tuple[Prompt, ...] | None:
    """Those of both files; None without one."""
    if prompting.prompts is None and prompting.held_out is None:
        return None
    seen = () if prompting.prompts is None else read_prompts(prompting.prompts)
    unseen = () if prompting.held_out is None else read_prompts(prompting.held_out)
    apart = tuple(replace(one, group=f"{HELD_OUT}: {one.group}" if one.group else HELD_OUT) for one in unseen)
    twice = {one.id for one in seen} & {one.id for one in apart}
    if twice:
        first = min(twice)
        raise DiffevalError(f"prompts: {len(twice)} ids of --held-out are also in --prompts ({first[:40]!r} is one)")
    return (*seen, *apart)


def _paired(
    measured: Measured, maker: ImageMaker, prompts: tuple[Prompt, ...], texts: tuple[str, ...], skipped: bool
) -> Pairing:
    if not isinstance(maker, Shown):
        return by_class(prompts, texts, measured.classes, _labels(maker))
    source, labels = maker.source, maker.source.labels
    names = [maker.name(index) for index in range(len(source))]
    left_out = sum(one.count for one in source.triage.findings if one.what.startswith(LEFT_OUT)) if skipped else 0
    try:
        return by_name(prompts, texts, names, skipped=left_out)
    except DiffevalError:
        if labels is None or not names_classes(prompts, source.classes):
            raise
    paired = by_class(prompts, texts, source.classes, lambda n: labels[maker.order[:n]])
    return replace(paired, notes=(f"prompts: images are paired {paired.rule}",), whole=len(source))


def _labels(maker: ImageMaker) -> Callable[[int], Rows]:
    def first(n: int) -> Rows:
        found = maker.labels(range(n))
        assert found is not None, "a checkpoint with classes"
        return found

    return first


def embedded(asked: Asked, reporter: Reporter) -> Texts:
    """Features of the prompts, each distinct text once; from the cache where they are there."""
    texts = list(dict.fromkeys(asked.pairing.texts))
    blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
    cached = [_kept(asked.judge, block) for block in blocks]
    if any(one is None for one in cached):
        held = sum(len(block) for block, one in zip(blocks, cached, strict=True) if one is not None)
        reporter.stage("prompts", len(texts), "prompts", held)
    parts = [kept or _embed(asked.judge, block, reporter) for block, kept in zip(blocks, cached, strict=True)]
    place = {text: row for row, text in enumerate(texts)}
    rows = np.array([place[text] for text in asked.pairing.texts])
    return Texts(
        np.concatenate([part.features for part in parts])[rows], np.concatenate([part.cut for part in parts])[rows]
    )


def _embed(judge: Extractor, texts: Sequence[str], reporter: Reporter) -> Texts:
    assert judge.texts is not None, "a judge reads texts"
    found = judge.texts(texts)
    reporter.advance(len(texts))
    try:
        replace_arrays(_path(judge, texts), {"features": found.features, "cut": found.cut})
    except DiffevalError as error:
        reporter.note(f"the cache is not used: {error}")
    return found


def _path(judge: Extractor, texts: Sequence[str]) -> Path:
    digest = hashlib.sha256(judge.id.encode())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return cache_folder() / "texts" / f"{digest.hexdigest()[:32]}.npz"


def _kept(judge: Extractor, texts: Sequence[str]) -> Texts | None:
    held = read_arrays(_path(judge, texts)) or {}
    if not all(name in held and len(held[name]) == len(texts) for name in ("features", "cut")):
        return None
    return Texts(held["features"].astype(np.float32, copy=False), held["cut"].astype(bool))


def judged_images(images: FeatureSet, judged: np.ndarray, rows: Rows, asked: Asked, texts: Texts) -> FeatureSet:
    """The images with the prompts that they were to follow.

    Args:
        images: what is known of them.
        judged: their features by the judge, [n, e].
        rows: the prompt of each.
        asked: the prompts.
        texts: features of these.
    """
    pairing = asked.pairing
    assert len(rows) == len(judged), "every image has a prompt"
    prompted = Prompted(
        images=judged.astype(np.float64),
        texts=texts.features.astype(np.float64),
        rows=rows,
        concepts=pairing.concepts,
        ids=tuple(one.id for one in pairing.prompts),
        prompts=pairing.texts,
        groups=tuple(one.group for one in pairing.prompts),
        cut=texts.cut,
        judge=asked.judge.name,
        template=asked.template,
        missing=pairing.missing if len(rows) == pairing.whole else 0,
    )
    return replace(images, prompted=prompted)


def with_real_prompts(
    real: RealImages, known: Real | None, classes: tuple[str, ...], asked: Asked, texts: Texts, reporter: Reporter
) -> RealImages:
    """Held-out real images with the prompts of their classes: what the score reads where nothing is wrong.

    Real images of other classes, or without any, have no prompts; then nothing stands beside the score.
    """
    turns = asked.pairing.turns
    held_out = held_out_source(known) if isinstance(known, ImageSource) else None
    if real.held_out is None or held_out is None or turns is None:
        return real
    if held_out.labels is None or held_out.classes != classes or asked.judge.takes not in (None, held_out.shape):
        return real
    judged = features_of(held_out, asked.judge, reporter).features
    return replace(real, held_out=judged_images(real.held_out, judged, turns(held_out.labels), asked, texts))
