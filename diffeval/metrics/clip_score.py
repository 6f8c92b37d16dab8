"""CLIP score: whether a picture follows its prompt, beside what another prompt would read."""

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

import numpy as np
import numpy.typing as npt

from diffeval.metrics.clip_reading import (
    SCALES,
    Reading,
    diversities,
    flat_images,
    hold_against_all,
    refuse_deaf,
    texts_of,
)
from diffeval.metrics.clip_tables import group_rows, held_out, image_rows, leakage_rows, prompt_rows, warnings
from diffeval.metrics.clustered import Mean, clustered_mean, fixed_error, left_out_mean
from diffeval.metrics.metric import METRICS, Estimate, FeatureSet, LackingError, Metric
from diffeval.metrics.prompted import Prompted, Rows
from diffeval.metrics.shares import share_interval
from diffeval.runs.records import Param

SCORES = ("clip_score", "clip_margin", "r_precision", "within_prompt_diversity", "unscored_images")
LEAST = 2


def clip_score(
    generated: FeatureSet, reference: FeatureSet, independent: bool, *, scale: str = "100"
) -> tuple[Estimate, ...]:
    """100 times the cosine of an image's embedding and its prompt's, averaged over images. From -100 to 100.

    Unbiased. What is high depends on the judge and its template, so the number alone says little. Beside it stand:
    ``clip_margin``, by how much the image fits its own prompt better than the mean of the prompts that ask for
    something else (what shuffling the prompts would take away: 0 where the words do not matter); ``r_precision``, the
    share of images that fit their own prompt better than any of these (it falls with the number of prompts);
    ``within_prompt_diversity``, 1 less the mean cosine between two images of one prompt, averaged over the prompts;
    and ``unscored_images``, the share of images of a single colour or without features, which have no score: a black
    image can fit a prompt better than many a good one.

    Errors are clustered by prompt: they say how the score would move with other prompts of the same kind. What stands
    on other prompts, too, has the error of leaving each out as a text and with its images.
    ``fixed_prompts_std_error`` in the parameters is the error if these prompts are all there are.

    Args:
        generated: with its prompts.
        reference: not read.
        independent: not read.
        scale: ``100``, ``hessel`` (2.5 times the cosine, not below 0) or ``raw``.

    Source: Hessel et al. 2021 (eq. 1; 2.5 and the template "A photo depicts" are theirs); Park et al. 2021 and Xu et
    al. 2018 for the retrieval. Agrees with torchmetrics and open_clip on the same network to 1e-4
    (``benchmarks/clip_score.py``).

    Raises:
        LackingError: without prompts, or where the judge tells no two of them, or no two images, apart.
    """
    if generated.prompted is None:
        raise LackingError("clip_score needs prompts, which this run does not have; give --prompts FILE")
    _known(0, (), scale=scale)
    prompted = generated.prompted
    flat = flat_images(generated)
    refuse_deaf(prompted, flat)
    unscored = _unscored(prompted, flat)
    read = hold_against_all(prompted, np.flatnonzero(~flat), scale)
    if not len(read.own):
        reason = f"all {len(flat)} images are of a single colour or without features"
        lost = tuple(Estimate(one, None, higher_is_better=True, params={"error": reason}) for one in SCORES[:-1])
        return (*lost, unscored)
    clusters = texts_of(prompted)[read.rows]
    shared = _shared(prompted, scale, len(flat) - len(read.own))
    return (
        _score(prompted, read, clusters, shared, flat),
        _margin(read, clusters, len(set(prompted.prompts)), shared),
        _retrieval(read, clusters, len(set(prompted.prompts)), shared),
        _diversity(prompted, read, shared),
        unscored,
    )


def _known(images: int, classes: tuple[str, ...], *, scale: str = "100") -> None:
    """Refuses a scale that there is not."""
    if scale not in SCALES:
        raise LackingError(f"unknown scale {scale!r}; one of {', '.join(SCALES)}")


def _shared(prompted: Prompted, scale: str, unscored: int) -> dict[str, Param]:
    return {
        "judge": prompted.judge,
        "scale": scale,
        "template": prompted.template,
        "prompts": len(prompted.prompts),
        "cut_prompts": int(prompted.cut.sum()),
        "unscored": unscored + prompted.missing,
    }


def _estimate(name: str, mean: Mean, params: Mapping[str, Param], **more: object) -> Estimate:
    told = {**params, "std_error_method": mean.method}
    return Estimate(name, mean.value, True, mean.std_error, mean.ci95, told, **more)  # type: ignore[arg-type]


def _score(
    prompted: Prompted, read: Reading, clusters: Rows, shared: dict[str, Param], flat: npt.NDArray[np.bool_]
) -> Estimate:
    mean = clustered_mean(read.own, clusters)
    alone = {"fixed_prompts_std_error": fixed_error(read.own, clusters), **_shuffled(read, clusters)}
    groups = group_rows(prompted, read, clusters)
    own, others = np.full(len(flat), np.nan), np.full(len(flat), np.nan)
    own[read.kept], others[read.kept] = read.own, read.others
    return _estimate(
        "clip_score",
        mean,
        {**shared, **alone, **held_out(prompted, read, clusters)},
        terms={
            "term": own,
            "others": others,
            "prompt": prompted.rows,
            "text": texts_of(prompted),
            "ids": np.array(prompted.ids),
            **mean.by_cluster(clusters, len(set(prompted.prompts))),
        },
        tables={
            "prompts": prompt_rows(prompted, read),
            "clip_groups": groups,
            "follow_least": image_rows(prompted, read),
            "prompt_leakage": leakage_rows(prompted, read),
        },
        warnings=warnings(prompted, read, flat, clusters),
    )


def _shuffled(read: Reading, clusters: Rows) -> dict[str, Param]:
    """What the score would be, were every image held against the prompts of others: no chance is in it."""
    if np.isnan(read.others).any():
        return {"shuffled": None, "shuffled_std_error": None}
    mean = left_out_mean(read.others, clusters, read.shift)
    return {"shuffled": mean.value, "shuffled_std_error": mean.std_error}


ALONE = "needs prompts that ask for different things, and all ask for the same"


def _margin(read: Reading, clusters: Rows, texts: int, shared: Mapping[str, Param]) -> Estimate:
    if np.isnan(read.others).any():
        return Estimate("clip_margin", None, True, params={"error": ALONE})
    mean = _gain(read, clusters)
    return _estimate("clip_margin", mean, shared, terms=mean.by_cluster(clusters, texts))


def _gain(read: Reading, clusters: Rows) -> Mean:
    return left_out_mean(read.own - read.others, clusters, -read.shift)


def _retrieval(read: Reading, clusters: Rows, texts: int, shared: Mapping[str, Param]) -> Estimate:
    if (read.best < 0).any():
        return Estimate("r_precision", None, True, params={"error": ALONE})
    hits = read.found.astype(np.float64)
    mean = clustered_mean(hits, clusters, 0.0, 1.0)
    if not mean.std_error:  # all, or none: where nothing scatters, only the count tells
        exact = share_interval(int(hits.sum()), len(hits))
        mean = replace(mean, ci95=exact, method="binomial, exact interval")
    return _estimate("r_precision", mean, shared, terms=mean.by_cluster(clusters, texts))


def _diversity(prompted: Prompted, read: Reading, shared: Mapping[str, Param]) -> Estimate:
    found = diversities(prompted, read)
    texts = np.array([text for text, value in enumerate(found) if value is not None], dtype=np.int64)
    values = np.array([value for value in found if value is not None])
    if not len(values):
        reason = "needs two images of a prompt, and no prompt has them"
        return Estimate("within_prompt_diversity", None, True, params={"error": reason})
    mean = clustered_mean(values, texts, 0.0, 2.0)
    return _estimate(
        "within_prompt_diversity",
        mean,
        {**shared, "prompts": len(values)},
        terms=mean.by_cluster(texts, len(found)),
    )


def _unscored(prompted: Prompted, flat: npt.NDArray[np.bool_]) -> Estimate:
    hits, of = int(flat.sum()) + prompted.missing, len(flat) + prompted.missing
    share = hits / of
    return Estimate(
        "unscored_images",
        share,
        higher_is_better=False,
        std_error=sqrt(share * (1.0 - share) / of),
        ci95=share_interval(hits, of),
        params={
            "single_colour": int(flat.sum()),
            "left_out": prompted.missing,
            "std_error_method": "binomial, exact interval",
        },
        terms={} if prompted.missing else {"term": flat.astype(np.float32)},
    )


METRICS.register("clip_score")(
    Metric(
        SCORES, lambda dim: LEAST, clip_score, from_moments=True, higher_is_better=True,
        opposed=("unscored_images",), prompted=True, alone=True, possible=_known,
    )
)  # fmt: skip
