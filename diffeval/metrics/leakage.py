"""Concept leakage: images that were asked for as one class and are taken for another."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import fisher_exact

from diffeval.metrics.class_accuracy import wilson
from diffeval.metrics.metric import FeatureSet
from diffeval.metrics.multiplicity import holm
from diffeval.runs.records import Param

# Probability that a leak is named where there is none, and share of a class below which it does not matter.
LEVEL, MATTERS = 0.02, 0.02
# Classes up to which every pair is listed; with more, those that hold ``MATTERS`` of their row.
FEW = 20
NAMED = 5

Row = Mapping[str, Param]


def leakage(generated: FeatureSet, reference: FeatureSet) -> tuple[tuple[Row, ...], str | None]:
    """The confusion matrix of asked and found classes, as rows, and a sentence on what is more than the classifier's.

    A classifier mixes up real images, too; a pair of classes leaks where held-out real images (those of the reference,
    without such) are mixed up less often: Fisher's test, one-sided, corrected by Holm for all pairs.

    Returns:
        Nothing without classes that were asked for, or a classifier that knows them.
    """
    ours = _confusion(generated)
    if ours is None:
        return (), None
    held_out = reference.held_out
    theirs = _confusion(held_out) if held_out is not None and held_out.classes == generated.classes else None
    if theirs is None and reference.classes == generated.classes:
        theirs = _confusion(reference)
    names, count = generated.classes, len(generated.classes)
    p = np.ones((count, count))
    if theirs is not None:
        for asked, got in np.argwhere(ours > 0).tolist():
            if asked != got:
                table = [[one[asked, got], one[asked].sum() - one[asked, got]] for one in (ours, theirs)]
                p[asked, got] = fisher_exact(table, alternative="greater").pvalue
        off = ~np.eye(count, dtype=np.bool_)
        p[off] = holm(p[off])
    totals = np.maximum(ours.sum(axis=1), 1)
    rows: list[Row] = []
    for asked in np.flatnonzero(ours.sum(axis=1)).tolist():
        for got in range(count):
            share = float(ours[asked, got] / totals[asked])
            if count > FEW and asked != got and share < MATTERS:
                continue
            low, high = wilson(share, int(totals[asked]))
            known = 0 if theirs is None else int(theirs[asked].sum())
            real = None if theirs is None or not known else float(theirs[asked, got] / known)
            leaks = bool(asked != got and p[asked, got] < LEVEL and share >= MATTERS)
            rows.append(
                {
                    "asked": names[asked], "got": names[got], "n": int(ours[asked, got]), "share": share, "low": low,
                    "high": high, "real_share": real, "p": float(p[asked, got]) if known else None, "leaks": leaks,
                }
            )  # fmt: skip
    return tuple(rows), _sentence(rows)


def _confusion(images: FeatureSet) -> npt.NDArray[np.int64] | None:
    """Images by label and by what the classifier takes them for, among the labels' classes, [K, K]."""
    if images.labels is None or images.logits is None or not images.classes:
        return None
    places = {name: place for place, name in enumerate(images.logit_classes)}
    if any(name not in places for name in images.classes):
        return None
    known = images.logits[:, [places[name] for name in images.classes]].argmax(axis=1)
    found = np.zeros((len(images.classes), len(images.classes)), dtype=np.int64)
    np.add.at(found, (images.labels, known), 1)
    return found


def _sentence(rows: list[Row]) -> str | None:
    leaks = sorted((row for row in rows if row["leaks"]), key=lambda row: -float(str(row["share"])))
    if not leaks:
        return None
    named = ", ".join(f"{row['asked']!r} shows {row['got']!r} in {row['share']:.0%}" for row in leaks[:NAMED])
    more = f" and {len(leaks) - NAMED} more" if len(leaks) > NAMED else ""
    return f"classes leak into others: asked for {named}{more}"
