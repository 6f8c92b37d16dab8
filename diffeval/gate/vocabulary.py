"""The names of scores and checks. What a run holds is known at once; all that diffeval has takes the slow way."""

import difflib
from collections.abc import Iterable

from diffeval.errors import DiffevalError
from diffeval.gate.classes import ERRORS, SHARES
from diffeval.gate.evidence import Evidence
from diffeval.registry import did_you_mean


def unknown_score(name: str, run: Evidence | None, *, by_class: bool) -> str:
    """What is wrong with the name of a score; empty where nothing is."""
    if by_class:
        known: set[str] = {*SHARES, *ERRORS}
        return "" if name in known else f"there is no {name} by class;{did_you_mean(name, known)}"
    held = set() if run is None else set(run.titles)
    if name in held:
        return ""
    known = held | _scores()
    return "" if name.split(" (")[0] in known else f"there is no score {name!r};{did_you_mean(name, known)}"


def unknown_check(name: str, run: Evidence | None) -> str:
    """What is wrong with the name of a check; empty where nothing is."""
    held = set() if run is None else {one.name for one in run.checks}
    if name in held:
        return ""
    known = held | _checks()
    return "" if name in known else f"there is no check {name!r};{did_you_mean(name, known)}"


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """The known name that was meant, if one is so near that it must have been; None otherwise."""
    names = set(known)
    near = [] if name in names else difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.8)
    return near[0] if near else None


def _scores() -> set[str]:
    try:
        from diffeval.metrics.metric import METRICS

        return {score for name in METRICS for score in METRICS[name].scores}
    except ImportError as error:
        raise DiffevalError(
            f"gate: lint looks names up in the whole of diffeval, which lacks a part: {error}"
        ) from error


def _checks() -> set[str]:
    try:
        # The registry lies in a part that imports torch; only names that the run does not hold come here.
        from diffeval.checks.check import CHECKS

        return set(CHECKS)
    except ImportError as error:
        raise DiffevalError(
            f"gate: lint looks names up in the whole of diffeval, which lacks a part: {error}"
        ) from error
