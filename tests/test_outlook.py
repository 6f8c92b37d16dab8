"""What is foretold of a run while it makes its images, by a clock that is made up."""

from collections.abc import Mapping

import pytest

from diffeval import outlook
from diffeval.outlook import Foretelling
from diffeval.progress import Later, SilentReporter


class Heard(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, Mapping[str, float]]] = []
        self.units = 0

    def advance(self, units: int, detail: str = "") -> None:
        self.units += units

    def ahead(self, left: float, later: Later) -> None:
        self.told.append((left, later()))


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(outlook, "time", made)
    return made


def _sampled(clock: Clock, each: float, dim: int = 64, stage: str = "sampling") -> tuple[Heard, list[int]]:
    """A hundred images, at ``each`` second; and at how many of them the rest was priced."""
    heard, priced = Heard(), list[int]()

    def later() -> Mapping[str, float]:
        priced.append(heard.units)
        return {"scoring": 7.0}

    reporter = Foretelling(heard, later, dim)
    reporter.stage(stage, 100, "images")
    for _ in range(100):
        clock.now += each
        reporter.advance(1)
    return heard, priced


def test_the_rest_is_priced_once_where_images_take_long(clock: Clock) -> None:
    heard, priced = _sampled(clock, 1.0)
    assert priced == [5], "as soon as the rate is known"
    assert heard.told == [(pytest.approx(95.0), {"scoring": 7.0})]
    assert heard.units == 100


@pytest.mark.parametrize(
    ("each", "dim", "stage"), [(0.5, 64, "sampling"), (1.0, 2048, "sampling"), (1.0, 64, "prompts")]
)
def test_and_not_where_they_do_not(clock: Clock, each: float, dim: int, stage: str) -> None:
    """Nor of features so many that their price takes long itself, nor in another stage."""
    assert _sampled(clock, each, dim, stage)[1] == []


def test_wishes_and_warnings_pass_both_ways(clock: Clock) -> None:
    heard = Heard()
    reporter = Foretelling(heard, dict, 64)
    reporter.warn("heed this")
    assert heard.warnings == reporter.warnings == ["heed this"]
    heard.stop_requested = True
    assert reporter.stop_requested
