"""What was asked for, against what was measured; what is missed is said to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.study import Row, Table

Rows = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal.

    Attributes:
        said: what is to reach it.
        asked: the number.
        measured: None before it was.
        most: whether the number is the most that is allowed, and not the least.
        percent: whether they are shares.
    """

    said: str
    asked: float
    measured: float | None
    most: bool = False
    percent: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None before it was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.asked if self.most else self.measured >= self.asked

    def row(self) -> tuple[str, str, str, str]:
        """Cells of the table."""
        words = {True: "yes", False: "**no**", None: ""}
        measured = "not measured" if self.measured is None else self._told(self.measured, 2)
        return (
            self.said,
            f"{'at most' if self.most else 'at least'} {self._told(self.asked, 1)}",
            measured,
            words[self.met],
        )

    def _told(self, value: float, digits: int) -> str:
        return f"{value:.0%}" if self.percent else f"{value:.{digits}f} times"


def goals(found: Rows) -> list[Goal]:
    """All of them, by the results that there are."""
    return [
        *(
            Goal(f"sampling at {network}, {way}, compiled, against diffusers", asked, _sampling(found, network, way))
            for network in ("8x8", "32x32")
            for way, asked in (("float32", 1.3), ("bf16", 2.0))
        ),
        Goal("sampling at 32x32 on a GPU, against diffusers", 3.0, None),
        Goal(
            "from a checkpoint to its FID, equal n, against diffusers, PNGs and torch-fidelity", 2.0, _equal_n(found)
        ),
        Goal("the same, to an FID within 2% of the truth", 10.0, _equal_error(found)),
        Goal("Inception, of the rate of its own convolutions", 0.8, _inception(found), percent=True),
        *(
            Goal(
                f"seconds of {said} as --dry-run tells them, off by",
                0.3,
                _estimates(found, cases),
                most=True,
                percent=True,
            )
            for said, cases in (("the demo", ("demo",)), ("an MNIST run", ("train mnist", "fid mnist")))
        ),
    ]


def table(found: Rows) -> Table:
    """All of them, as people read them."""
    return Table(("goal", "asked", "measured", "reached"), [goal.row() for goal in goals(found)])


def _sampling(found: Rows, network: str, way: str) -> float | None:
    wanted = (network, f"diffeval, {way}, compiled")
    return next(
        (row["times diffusers"] for row in found.get("sampling", ()) if (row["network"], row["contestant"]) == wanted),
        None,
    )


def _equal_n(found: Rows) -> float | None:
    return next(
        (
            row["times the other (median of ratios)"]
            for row in found.get("end_to_end", ())
            if row["path"] == "diffeval"
        ),
        None,
    )


def _equal_error(found: Rows) -> float | None:
    last = next((row for row in found.get("end_to_end_errors", ()) if "n" not in row), None)
    theirs, ours = (last["seconds, peers, plain"], last["seconds, diffeval, debiased"]) if last else (None, None)
    return None if theirs is None or ours is None else theirs / ours


def _inception(found: Rows) -> float | None:
    key = "share of the convolution rate (median of ratios)"
    return next(
        (row.get(key) for row in found.get("extractors_speed", ()) if row["path"] == "diffeval, compiled"), None
    )


def _estimates(found: Rows, cases: Sequence[str]) -> float | None:
    """How far the total of the worst of these is from the truth."""
    rows = [row for row in found.get("estimates", ()) if row["case"] in cases and row["stage"] == "total"]
    return max(abs(row["ratio"] - 1) for row in rows) if len(rows) == len(cases) else None
