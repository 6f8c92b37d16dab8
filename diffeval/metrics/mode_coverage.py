"""Mode coverage: which modes of the real images are missing among the generated ones, which are thin, which too many.

Modes are classes by the extractor's classifier (``labels``), or clusters of real features (``clusters``). Real images
that did not make the modes are counted in them, and generated ones beside these.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from diffeval.metrics.feature_map import feature_map
from diffeval.metrics.leakage import leakage
from diffeval.metrics.metric import METRICS, Estimate, FeatureSet, LackingError, Metric
from diffeval.metrics.mode_readings import readings
from diffeval.metrics.modes import LEAST_OF_CLUSTER, Modes, by_class, by_cluster, labels_of, sides, usual_count
from diffeval.metrics.occupancy import Occupancy, Side, least_missing, occupancy
from diffeval.metrics.stability import unstable
from diffeval.metrics.within_mode import Spread, repeats, spread
from diffeval.runs.records import Null, Param

KINDS = ("labels", "clusters")
SCORES = ("mode_coverage", "missing_mass", "js_divergence")
LEAST = 200
# Splits of held-out images that their null is the mean of, and what keys them.
SPLITS, _NULL = 10, 0x5EED6
# Named in a sentence, at most.
NAMED = 5

Row = Mapping[str, Param]


def mode_coverage(
    generated: FeatureSet, reference: FeatureSet, independent: bool, *, modes: str = "both", clusters: int = 0
) -> tuple[Estimate, ...]:
    """Which modes of real images are missing, thin or over-produced. Scores for ``labels`` come before ``clusters``.

    mode_coverage: share of real images in modes that are generated at a fifth of their real rate or more; 0 to 1,
    best 1. missing_mass: sum over modes of max(0, real share - generated share), less what two samples of one
    distribution read; 0 to 1, best 0, may fall below. js_divergence: Jensen-Shannon divergence of the shares in nats,
    less the same; 0 to log 2, best 0. Of these two, redraws of both multinomials give bias and error; a defect that is
    spread over many modes is taken for chance in part, and the interval reaches up to the plain value. Beside each
    stands what held-out real images read, as many as there are, up to n; without such, what redraws do.

    The table ``modes`` names what differs: p-values are Fisher's, corrected by Holm, and hold 2% for all modes
    together; missing is below a fifth of the real share, thin below 0.8, over above 1.25 of it. Clusters are found
    again with other seeds and numbers of them; what is not found so is marked unstable.

    Args:
        generated: images of the run.
        reference: real ones; its first half, by a fixed draw, makes the clusters.
        independent: without effect, as real images are counted with their sampling error in any case.
        modes: ``labels``, ``clusters`` or ``both``.
        clusters: how many; 0 for one per 50 images of the reference, up to 100.

    Raises:
        LackingError: where modes by labels are asked for, and the extractor has no classifier.
        ValueError: for other words.

    Source: bins as Richardson and Weiss 2018 (NDB), with multiplicity and sampling error accounted for.
    """
    if modes not in (*KINDS, "both"):
        raise ValueError(f"modes is {modes!r}, must be labels, clusters or both")
    held_out = reference.held_out
    if held_out is not None and generated.features is held_out.features:
        # Real images in the generated ones' place: they cannot be on both sides.
        generated = held_out.at(slice(0, None, 2))
        reference = replace(reference, held_out=held_out.at(slice(1, None, 2)))
    possible(len(reference), generated.logit_classes, modes=modes, clusters=clusters)
    count = clusters or usual_count(reference, len(generated))
    found: list[Estimate] = []
    for kind in KINDS if modes == "both" else (modes,):
        try:
            one = by_class(generated, reference) if kind == "labels" else by_cluster(generated, reference, count)
        except LackingError:
            if modes == "both":
                continue
            raise
        found += _estimates(one, generated, reference)
    return _with_tables(found, generated, reference)


def possible(images: int, classes: Sequence[str], *, modes: str = "both", clusters: int = 0) -> None:
    """Refuses modes by class without a classifier, and more clusters than the reference can fill.

    Raises:
        LackingError: for these.
    """
    if modes == "labels" and not classes:
        raise LackingError("modes by class need an extractor with a classifier, and this one has none")
    if modes != "labels" and 2 * LEAST_OF_CLUSTER * clusters > images:
        raise LackingError(
            f"{clusters} clusters need {2 * LEAST_OF_CLUSTER * clusters} real images, the reference has {images}: "
            f"give fewer --clusters"
        )


def _estimates(modes: Modes, generated: FeatureSet, reference: FeatureSet) -> Iterator[Estimate]:
    """The three scores of one kind of modes."""
    counted = occupancy(*sides(modes, generated, reference), len(modes), modes.mixed_up)
    nulls = _nulls(modes, counted, reference, generated.asked)
    rows = tuple(_rows(modes, counted, generated, reference))
    named = {
        status: ", ".join(str(row["mode"]) for row in rows if row["status"] == status)
        for status in ("missing", "thin", "over")
    }
    g = counted.g_test() or (None, None)
    least = least_missing(counted.n, counted.size, len(modes))
    params: dict[str, Param] = {
        "modes": modes.kind, "count": len(modes), **named, "g": g[0], "g_p": g[1], "least_missing": least,
        "label_agreement": modes.agreement, "std_error_method": "redraws of both multinomials",
    }  # fmt: skip
    for name, reading in readings(counted).items():
        first = name == SCORES[0]
        yield Estimate(
            name,
            reading.value,
            higher_is_better=first,
            std_error=reading.std_error,
            ci95=reading.ci95,
            params={**params, "plain": reading.plain},
            terms={f"{modes.kind}_{term}": array for term, array in _terms(modes).items()} if first else {},
            null=nulls[name],
            warnings=tuple(_sentences(modes, rows, least)) if first else (),
            tables={"modes": rows} if first else {},
        )


def _terms(modes: Modes) -> dict[str, npt.NDArray[np.generic]]:
    """What pictures and paired comparisons are made of."""
    return {"generated": modes.generated, "reference": modes.reference, "medoids": modes.medoids}


def _nulls(modes: Modes, counted: Occupancy, reference: FeatureSet, asked: bool) -> dict[str, Null]:
    """What held-out real images read in the generated ones' place; without such, what redraws of one sample do.

    Where held-out images are the real side themselves, one random half of them stands against the other, on average.
    """
    labels, held_out, n = (labels_of(modes, reference) if asked else None), reference.held_out, counted.n
    if modes.held_out is not None and held_out is not None:
        ours = Side(modes.held_out[:n], None if held_out.labels is None else held_out.labels[:n])
        pairs = [(ours, Side(modes.real, labels))]
    elif modes.rows is None:
        pairs = [_halves(Side(modes.real, labels), n, key) for key in range(SPLITS)]
    else:
        return {name: Null(one.null, one.null_error, n) for name, one in readings(counted).items()}
    read = [readings(occupancy(*pair, len(modes), modes.mixed_up)) for pair in pairs]
    return {
        name: Null(float(np.mean([one[name].value for one in read])), read[0][name].null_error, len(pairs[0][0].modes))
        for name in SCORES
    }


def _halves(side: Side, n: int, key: int) -> tuple[Side, Side]:
    """Up to n of one half of some images, and the other half."""
    order = np.random.Generator(np.random.Philox([_NULL, key])).permutation(len(side.modes))
    middle = len(order) // 2
    first, second = (
        Side(side.modes[rows], None if side.labels is None else side.labels[rows])
        for rows in (order[:middle][:n], order[middle:])
    )
    return first, second


def _rows(modes: Modes, counted: Occupancy, generated: FeatureSet, reference: FeatureSet) -> Iterator[Row]:
    """One for each mode, the largest deficit first."""
    doubtful = unstable(modes, counted, generated, reference)
    real_side = reference if modes.rows is not None else reference.held_out
    assert real_side is not None, "real images without rows of the reference are held-out ones"
    rows = np.arange(len(real_side)) if modes.rows is None else modes.rows
    deficits, residuals = counted.real_shares - counted.shares, counted.residuals()
    for mode in np.argsort(-deficits, kind="stable").tolist():
        low, high = counted.interval(mode)
        wide = spread(generated.features[modes.generated == mode], real_side.features[rows[modes.real == mode]])
        yield {
            "modes": modes.kind, "mode": modes.names[mode], "status": counted.status(mode),
            "unstable": bool(doubtful[mode]), "generated": int(counted.generated[mode]),
            "real": int(counted.real[mode]), "generated_share": float(counted.shares[mode]),
            "real_share": float(counted.real_shares[mode]), "ratio": _finite(float(counted.ratios[mode])), "low": low,
            "high": _finite(high), "residual": float(residuals[mode]), "p": float(counted.p[mode]),
            "diversity": None if wide is None else wide.ratio, "diversity_low": None if wide is None else wide.low,
            "diversity_high": None if wide is None else wide.high, "collapsed": _collapsed(wide), "index": mode,
        }  # fmt: skip


def _finite(value: float) -> float | None:
    """None of what real images have none of."""
    return value if np.isfinite(value) else None


def _collapsed(wide: Spread | None) -> bool | None:
    return None if wide is None else wide.collapsed


def _sentences(modes: Modes, rows: Sequence[Row], least: float) -> Iterator[str]:
    """What a reader must not miss."""
    for status, said in (("missing", "missing"), ("thin", "thin"), ("over", "over-produced")):
        named = [row for row in rows if row["status"] == status]
        if named:
            yield f"{len(named)} of {len(rows)} modes ({modes.kind}) {_be(named)} {said}: {_listed(named)}"
    collapsed = [row for row in rows if row["collapsed"]]
    if collapsed:
        told = ", ".join(f"{row['mode']} ({row['diversity']:.2f})" for row in collapsed[:NAMED])
        yield (
            f"{len(collapsed)} of {len(rows)} modes ({modes.kind}) {_be(collapsed)} there, but too alike within "
            f"(distance over real images'): {told}{_more(collapsed)}"
        )
    yield f"modes ({modes.kind}) with less than {least:.2g} of all real images could be missing unseen at this n"


def _listed(rows: Sequence[Row]) -> str:
    return ", ".join(
        f"{row['mode']} ({_share(row)}{', unstable' if row['unstable'] else ''})" for row in rows[:NAMED]
    ) + _more(rows)


def _be(rows: Sequence[Row]) -> str:
    return "is" if len(rows) == 1 else "are"


def _share(row: Row) -> str:
    return "real images have none" if row["ratio"] is None else f"{row['ratio']:.2f} of its real share"


def _more(rows: Sequence[Row]) -> str:
    return f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""


def _with_tables(found: Sequence[Estimate], generated: FeatureSet, reference: FeatureSet) -> tuple[Estimate, ...]:
    """The first estimate holds what concerns all of them: every row of modes, repeats, leaks, the map."""
    if not found:
        return ()
    rows = tuple(row for one in found for row in one.tables.get("modes", ()))
    same = repeats(generated.features, reference.features)
    leaks, leaking = leakage(generated, reference)
    tables = {"modes": rows, **({"leakage": leaks} if leaks else {})}
    said = list(found[0].warnings)
    if same.support is not None:
        said.append(
            f"{same.generated} pairs of {same.searched} generated images are the same or nearly (real ones: "
            f"{same.real}): about {same.support:.0f} different ones"
        )
    if leaking and same.support is None:  # images that are the same are one image, and no evidence each
        said.append(leaking)
    first = replace(
        found[0],
        tables=tables,
        params={**found[0].params, "repeats": same.generated, "repeats_real": same.real, "support": same.support},
        terms={**found[0].terms, **feature_map(generated.features, reference.features)},
        warnings=tuple(said),
    )
    return (first, *(replace(one, tables={}) for one in found[1:]))


METRICS.register("mode_coverage")(
    Metric(SCORES, lambda dim: LEAST, mode_coverage, higher_is_better=True, opposed=SCORES[1:], possible=possible)
)
