"""What the points of a sweep say together: curves, choices with their rules, the front, and what goes wrong where."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diffeval.metrics.metric import METRICS
from diffeval.runs.files import replace_text
from diffeval.runs.provenance import command
from diffeval.runs.records import Param, Results, Score
from diffeval.sweeps.choices import Choice, Curve, best, indistinguishable, largest_keeping
from diffeval.sweeps.front import knee, pareto, pareto_share
from diffeval.sweeps.pathologies import Readings, find, unjudged
from diffeval.sweeps.run import Point, Swept, point_name

# Scores that a best point is quoted for; what the pixels look like has no best, only real images to be like.
JUDGED = (
    "fid_debiased",
    "kid",
    "precision",
    "recall",
    "density",
    "coverage",
    "class_accuracy",
    "clip_score",
    "within_class_distance",
)
# The two axes of the front, and what ``--keep-diversity`` keeps, in order of preference.
QUALITY, DIVERSITY = "precision", "recall"
KEPT = ("within_class_distance", "recall")

Row = Mapping[str, Param]


@dataclass(frozen=True, slots=True)
class Conclusions:
    """Tables of a sweep, as results hold them."""

    tables: Mapping[str, tuple[Row, ...]]
    choices: Mapping[str, Param]
    warnings: tuple[str, ...]


def scale_conclusions(swept: Swept, keep_diversity: float) -> Conclusions:
    """Of a sweep over guidance scales."""
    at = tuple(float(point.changes["w"]) for point in swept.points)
    curves = _curves(swept, at)
    made = [best(curves[name]) for name in JUDGED if name in curves and name != "within_class_distance"]
    kept = next((name for name in KEPT if name in curves), None)
    if kept is not None:
        made.append(largest_keeping(curves[kept], keep_diversity))
    tables: dict[str, tuple[Row, ...]] = {"curve": _tidy(swept)}
    if QUALITY in curves and DIVERSITY in curves:
        made.append(knee(curves[QUALITY], curves[DIVERSITY]))
        tables["front"] = _front(curves[QUALITY], curves[DIVERSITY])
    tables["choices"] = tuple(_choice_row(one) for one in made)
    found, not_judged = _pathologies(swept, at)
    if found:
        tables["pathologies"] = found
    named = (f"{row['name']} from w={row['starts_at']:g}: {row['summary']}" for row in found)
    return Conclusions(tables, {"keep_diversity": keep_diversity}, (*_disagreement(made), *named, *not_judged))


def settings_conclusions(swept: Swept, evaluations: Sequence[int]) -> Conclusions:
    """Of a sweep over sampling settings: which points are as good as the best, and what they cost.

    Args:
        swept: the sweep.
        evaluations: network evaluations per image, of each point.
    """
    curves = _curves(swept, tuple(map(float, range(len(swept.points)))))
    names = [point_name(point.changes) for point in swept.points]
    rows: list[Row] = []
    warnings = []
    for name in (name for name in JUDGED if name in curves and name != "within_class_distance"):
        choice = best(curves[name])
        alike = [int(place) for place in indistinguishable(curves[name])]
        cheapest = min(alike, key=lambda place: (evaluations[place], place))
        assert choice.at is not None, "a best point always is"
        top = int(choice.at)
        rows.append(
            {
                "curve": name,
                "best": names[top],
                "likely": "; ".join(names[int(place)] for place in choice.likely),
                "indistinguishable": "; ".join(names[place] for place in alike),
                "cheapest_of_them": names[cheapest],
                "evaluations": evaluations[cheapest],
            }
        )
        if name == "fid_debiased" and evaluations[cheapest] < evaluations[top]:
            warnings.append(
                f"{names[cheapest]} ({evaluations[cheapest]} network evaluations per image) is as good as "
                f"{names[top]} ({evaluations[top]}) within the error of {name}"
            )
    tables: dict[str, tuple[Row, ...]] = {
        "curve": _tidy(swept),
        "cost": _cost(swept, evaluations),
        "choices": tuple(rows),
    }
    return Conclusions(tables, {}, tuple(warnings))


def save(swept: Swept, found: Conclusions) -> Results:
    """Writes the results and ``sweep.csv`` into the sweep's directory."""
    first = swept.points[0].results
    seconds: dict[str, float] = {}
    for point in swept.points:
        for stage, spent in point.results.provenance.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    ranks = max(point.results.provenance.ranks for point in swept.points)
    provenance = replace(first.provenance, seconds=seconds, command=command(), ranks=ranks)
    every = [warning for point in swept.points for warning in point.results.warnings]
    results = Results(
        run=str(swept.run.path),
        protocol=swept.protocol,
        provenance=provenance,
        scores=tuple(_named(score, point) for point in swept.points for score in point.results.scores),
        tables=found.tables,
        choices=found.choices,
        warnings=tuple(dict.fromkeys((*every, *found.warnings))),
    )
    swept.run.save_results(results)
    replace_text(swept.run.path / "sweep.csv", _csv(found.tables["curve"]))
    grids = {"images": np.stack([point.grid for point in swept.points])}
    names = np.array([point_name(point.changes) for point in swept.points])
    labels = {} if swept.labels is None else {"labels": swept.labels}
    swept.run.save_arrays("matrix", {**grids, **labels, "points": names})
    return results


def _named(score: Score, point: Point) -> Score:
    """With the settings of its point, whatever they are."""
    return replace(score, params={**score.params, **point.changes})


def _curves(swept: Swept, at: tuple[float, ...]) -> dict[str, Curve]:
    """The scores that every point has, with and without each group."""
    names = [
        name for name in swept.points[0].left_out.values if all(name in one.left_out.values for one in swept.points)
    ]
    directions = {score: METRICS[name].higher_is_better for name in METRICS for score in METRICS[name].scores}
    return {
        name: Curve(
            name,
            at,
            np.array([one.left_out.values[name] for one in swept.points]),
            np.stack([one.left_out.without[name] for one in swept.points], axis=1),
            directions[name],
        )
        for name in names
    }


def _tidy(swept: Swept) -> tuple[Row, ...]:
    """One row per point and score: what pandas and spreadsheets take."""
    return tuple(
        {
            **point.changes,
            "score": score.name,
            "n": score.n,
            "value": score.value,
            "std_error": score.std_error,
            "low": None if score.ci95 is None else score.ci95[0],
            "high": None if score.ci95 is None else score.ci95[1],
            "real": None if score.null is None else score.null.value,
            "higher_is_better": score.higher_is_better,
        }
        for point in swept.points
        for score in point.results.scores
    )


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _choice_row(choice: Choice) -> Row:
    return {
        "rule": choice.rule,
        "curve": choice.curve,
        "w": choice.at,
        "likely": ", ".join(f"{one:g}" for one in choice.likely),
        "reason": choice.reason,
    }


def _front(quality: Curve, diversity: Curve) -> tuple[Row, ...]:
    kept, share = pareto(quality, diversity), pareto_share(quality, diversity)
    return tuple(
        {
            "w": w,
            quality.name: float(quality.values[row]),
            diversity.name: float(diversity.values[row]),
            "non_dominated": kept[row],
            "share_of_draws": share[row],
        }
        for row, w in enumerate(quality.at)
    )


def _disagreement(made: Sequence[Choice]) -> tuple[str, ...]:
    """Scores do not agree on a best w, and a page that shows one number would hide it."""
    at = {choice.curve: choice.at for choice in made if choice.rule.startswith(("the highest", "the lowest"))}
    if len(set(at.values())) < 2:
        return ()
    return (
        "the best w depends on the score: " + ", ".join(f"{name} {w:g}" for name, w in at.items() if w is not None),
    )


def _cost(swept: Swept, evaluations: Sequence[int]) -> tuple[Row, ...]:
    rows = []
    for point, count in zip(swept.points, evaluations, strict=True):
        origin = point.results.provenance
        spent = origin.seconds.get("sampling")
        fid = next((one for one in point.results.scores if one.name == "fid_debiased"), None)
        rows.append(
            {
                **point.changes,
                "evaluations": count,
                "seconds_per_image": None if spent is None else spent / origin.n,
                "fid_debiased": None if fid is None else fid.value,
                "std_error": None if fid is None else fid.std_error,
            }
        )
    return tuple(rows)


def _pathologies(swept: Swept, at: tuple[float, ...]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """What goes wrong, and what could not be looked for."""
    scores = {name: [_find(point, name) for point in swept.points] for name in _every_score(swept)}
    nulls = {name: row[0].null for name, row in scores.items() if row[0] is not None}
    readings = Readings(
        at=at,
        values={name: [None if one is None else one.value for one in row] for name, row in scores.items()},
        real={name: null.value for name, null in nulls.items() if null is not None},
        colour=swept.points[0].grid.shape[1] == 3,
        intervals={name: [None if one is None else one.ci95 for one in row] for name, row in scores.items()},
        moved=_moved(swept, at),
    )
    rows: tuple[Row, ...] = tuple(
        {"name": one.name, "starts_at": one.starts_at, "severity": one.severity, "summary": one.summary}
        for one in find(readings)
    )
    return rows, unjudged(readings)


def _every_score(swept: Swept) -> list[str]:
    return list(dict.fromkeys(score.name for point in swept.points for score in point.results.scores))


def _find(point: Point, name: str) -> Score | None:
    return next((score for score in point.results.scores if score.name == name), None)


def _moved(swept: Swept, at: tuple[float, ...]) -> tuple[float, ...]:
    """Mean absolute difference of the first images to those of w = 1, in grey levels; empty without w = 1."""
    if 1.0 not in at:
        return ()
    plain = swept.points[at.index(1.0)].grid.astype(np.float64)
    return tuple(float(np.abs(point.grid - plain).mean()) for point in swept.points)
