"""What is foretold of the points of a sweep, by a clock that is made up."""

from collections.abc import Mapping

import pytest

from diffeval.progress import Later, SilentReporter
from diffeval.sweeps import outlook
from diffeval.sweeps.outlook import OTHERS, Points


class Heard(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, Mapping[str, float]]] = []

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


def test_points_that_are_done_foretell_the_others(clock: Clock) -> None:
    """An evaluation takes 2 s, scores take 5 s and what follows them 1 s."""
    heard, evaluations = Heard(), (10, 20, 20)
    points = Points(heard, evaluations)
    for place, count in enumerate(evaluations):
        points.begin(place)
        points.stage("sampling", 500, "images")
        clock.now += 2.0 * count
        points.stage("scoring", 1000, "%")
        clock.now += 6.0
    assert heard.told == [
        (40.0, {"scoring": 6.0, OTHERS: 46.0}),
        (40.0, {"scoring": 6.0, OTHERS: 0.0}),
    ]


def test_until_one_is_done_what_is_foretold_of_the_first_holds_for_all(clock: Clock) -> None:
    heard = Heard()
    points = Points(heard, (10, 20))
    points.begin(0)
    points.stage("sampling", 500, "images")
    clock.now += 30.0
    points.ahead(70.0, lambda: {"scoring": 4.0, "pictures": 1.0})
    # 100 s of images for 10 evaluations.
    assert heard.told == [(70.0, {"scoring": 4.0, "pictures": 1.0, OTHERS: 205.0})]


def test_a_point_that_was_there_tells_nothing(clock: Clock) -> None:
    heard = Heard()
    points = Points(heard, (10, 10, 10))
    points.begin(0)
    clock.now += 1.0
    points.begin(1)
    points.stage("sampling", 500, "images", 300)
    clock.now += 8.0
    points.stage("scoring", 1000, "%")
    points.begin(2)
    points.stage("sampling", 500, "images")
    assert heard.told == []
