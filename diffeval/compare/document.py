"""A comparison as JSON: schema ``diffeval.compare/1``."""

from typing import Any

from diffeval.compare.difference import Difference
from diffeval.compare.records import Compared, Comparison, Pair
from diffeval.compare.side import Side
from diffeval.runs.document import plain

SCHEMA = "diffeval.compare/1"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def label(place: int) -> str:
    """What a run is called in a comparison: A, B, C and so on; AA after Z."""
    turn, rest = divmod(place, len(LETTERS))
    return (label(turn - 1) if turn else "") + LETTERS[rest]


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """The one document that ``--json`` prints, as plain data; runs go by their labels."""
    count = len(comparison.sides)
    return {
        "schema": SCHEMA,
        "runs": [_run(label(place), side) for place, side in enumerate(comparison.sides)],
        "same_images": [[label(run) for run in pair] for pair in comparison.same],
        "differing": {key: plain(values) for key, values in comparison.differing.items()},
        "may_differ": list(comparison.tested),
        "scores": [_score(one) for one in comparison.scores],
        "only_in": {name: label(run) for name, run in comparison.lone.items()},
        "checks": [
            {"name": one.name, **{label(run): plain(one.results[run]) for run in range(count)}}
            for one in comparison.checks
        ],
        "checks_that_agree": comparison.agreeing,
        "scores_expected_to_differ_by_chance": comparison.expected_by_chance,
    }


def _run(name: str, side: Side) -> dict[str, Any]:
    origin = side.results.provenance
    return {
        "label": name,
        "run": side.name,
        "checkpoint": origin.checkpoint,
        "checkpoint_sha256": origin.checkpoint_sha256,
        "seed": origin.seed if side.sampled else None,
        "n": origin.n,
        "protocol": plain(side.results.protocol),
    }


def _score(one: Compared) -> dict[str, Any]:
    return {
        "name": one.score,
        "higher_is_better": one.higher_is_better,
        "values": {label(run): value for run, value in enumerate(one.values)},
        "ci95": {label(run): plain(interval) for run, interval in enumerate(one.ci95)},
        "n": {label(run): n for run, n in enumerate(one.counts)},
        "pairs": [_pair(pair) for pair in one.pairs],
        "ranks": {label(run): list(rank) for run, rank in enumerate(one.ranks)} or None,
        "tied": {label(run): letters for run, letters in enumerate(one.tied)} or None,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "runs": [label(run) for run in pair.runs],
        "difference": None if pair.difference is None else _difference(pair.difference),
        "p_value": pair.p_value,
        "better": None if pair.better is None else label(pair.better),
        "n_needed": pair.needed,
        "no_verdict": pair.why or None,
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "values": list(one.values),
        "value": one.value,
        "std_error": one.std_error,
        "ci95": list(one.ci95),
        "paired": one.paired,
        "how": one.how,
        "n": list(one.counts),
    }
