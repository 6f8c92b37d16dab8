"""Every class by itself, so that a broken one cannot hide in a mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from diffeval.compare.side import Side
from diffeval.compare.uncertain import CONFIDENCE, Uncertain
from diffeval.errors import NoEvidenceError
from diffeval.gate.evidence import PER_CLASS
from diffeval.metrics.student import quantile
from diffeval.runs.records import Param

# Columns that are shares of the class's images, and the column that holds the error of another.
SHARES = ("class_accuracy",)
ERRORS = {"kid": "std_error"}
HIGHER_IS_BETTER = ("class_accuracy",)


@dataclass(frozen=True, slots=True)
class Change:
    """What a class reads in two runs.

    Attributes:
        found: by how much it is worse in the first, positive is worse.
        parts: both values.
        lower_is_better: the direction.
    """

    found: Uncertain
    parts: tuple[Uncertain, Uncertain]
    lower_is_better: bool


def class_values(side: Side, column: str) -> dict[str, Uncertain]:
    """What every class reads.

    Raises:
        NoEvidenceError: if a class has no value, or its error is not known.
    """
    n = side.results.provenance.n
    return {str(row["class"]): _read(row, column, n) for row in side.results.tables[PER_CLASS]}


def require_classes(side: Side, other: Side | None) -> None:
    """Refuses a table without some class: what is not in it, too few images or none, nobody looks at.

    Args:
        side: a run with a table of classes.
        other: that of the baseline, whose classes must be there. Without one it is the classes that the run's images
            were made of, where it stored those.

    Raises:
        NoEvidenceError: if a class is missing.
    """
    rows = side.results.tables[PER_CLASS]
    if other is not None:
        lost = sorted(set(_names(other)) - set(_names(side)))
        if lost:
            raise NoEvidenceError(_alone("baseline", lost))
        return
    labels = side.arrays.get("labels")
    made = 0 if labels is None else len(np.unique(labels))
    if made > len(rows):
        raise NoEvidenceError(
            f"the run's images are of {made} classes, of which {made - len(rows)} had too few to be looked at: "
            "a class needs 20 images of the run, and 20 of the reference"
        )


def _names(side: Side) -> list[str]:
    return [str(row["class"]) for row in side.results.tables.get(PER_CLASS, ())]


def _alone(where: str, names: Sequence[str]) -> str:
    """That only one of two runs has a class."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"only the {where} has the class {names[0]!r}{more}, with images enough to say something of it (20)"


def class_regressions(side: Side, other: Side, column: str) -> dict[str, Change]:
    """How much worse every class is than in another run; the images of a class are taken for independent.

    Raises:
        NoEvidenceError: if the runs do not hold the same classes, or a class has no value.
    """
    ours, theirs = class_values(side, column), class_values(other, column)
    lost, gained = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    if lost or gained:
        raise NoEvidenceError(_alone("baseline", lost) if lost else _alone("run", gained))
    higher = column in HIGHER_IS_BETTER
    changes = {}
    for name, found in ours.items():
        moved = found.less(theirs[name])
        changes[name] = Change(moved.turned() if higher else moved, (found, theirs[name]), not higher)
    return changes


def _read(row: Mapping[str, Param], column: str, run: int) -> Uncertain:
    """One class of a run of so many images."""
    value, n = row.get(column), row["n"]
    if not isinstance(value, int | float) or not isinstance(n, int):
        raise NoEvidenceError(f"{column} is not known for the class {row['class']!r}")
    if column in SHARES and not 0 <= value <= 1:
        raise NoEvidenceError(f"{column} of the class {row['class']!r} is {value:g}, and no share")
    if column in SHARES:
        return _share(float(value), n, n / run)
    error = row.get(ERRORS.get(column, f"{column}_std_error"))
    if not isinstance(error, int | float):
        raise NoEvidenceError(f"{column} has no standard error by class, so that no bound is known")
    return Uncertain(float(value), float(error), float(error), float(error), None, n, part=n / run)


def _share(value: float, n: int, part: float) -> Uncertain:
    """A share with Wilson's one-sided bounds, which claim no certainty where all images agree. Source: Wilson 1927."""
    z = quantile(CONFIDENCE, None)
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return Uncertain(
        value,
        sqrt(value * (1 - value) / n),
        below=max(0.0, value - (centre - half)) / z,
        above=max(0.0, centre + half - value) / z,
        freedom=None,
        n=n,
        part=part,
    )
