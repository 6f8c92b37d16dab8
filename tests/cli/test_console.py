"""What a command says of its progress where nobody watches a terminal, by a clock that is made up."""

from collections.abc import Iterator

import pytest

from diffeval.cli import console
from diffeval.cli.console import PLAIN_EVERY_SECONDS, ConsoleReporter
from diffeval.progress import SHARE


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(console, "time", made)
    return made


@pytest.fixture
def reporter(clock: Clock) -> Iterator[ConsoleReporter]:
    made = ConsoleReporter(quiet=False)
    yield made
    made.release()


def _later(clock: Clock, seconds: float = PLAIN_EVERY_SECONDS + 1.0) -> None:
    clock.now += seconds


def test_the_rest_of_a_stage_is_told_at_its_rate(
    reporter: ConsoleReporter, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter.stage("sampling", 1000, "images", 200)
    _later(clock, 20.0)
    reporter.advance(100)
    # 100 images in 20 s, and 700 are left.
    assert capsys.readouterr().err.splitlines() == [
        "[sampling] 1000 images, 200 there already",
        "[sampling] 300/1000 30%  5 images/s  ETA 2:20",
    ]


def test_what_is_foretold_is_added_until_its_own_stage_begins(
    reporter: ConsoleReporter, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter.stage("sampling", 100, "images")
    reporter.ahead(70.0, lambda: {"features of digits@train": 20.0, "scoring": 3600.0, "pictures": 5.0})
    _later(clock, 50.0)
    reporter.advance(50)
    reporter.stage("features of digits@train", 10, "images")
    _later(clock, 20.0)
    reporter.advance(5)
    reporter.stage("scoring", 1000, SHARE)
    _later(clock, 20.0)
    reporter.advance(250, "kid at n = 500")
    assert capsys.readouterr().err.splitlines() == [
        "[sampling] 100 images",
        "after that about: features of digits@train 20 s, scoring 60 min, pictures 5 s",
        "[sampling] 50/100 50%  1 images/s  ETA 0:50  1:01:15 in all",
        "[features of digits@train] 10 images",
        "[features of digits@train] 5/10 50%  0.25 images/s  ETA 0:20  1:00:25 in all",
        "[scoring]",
        "[scoring] 25%  ETA 1:00  1:05 in all  kid at n = 500",
    ]


def test_nothing_is_said_to_whoever_wants_none(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = ConsoleReporter(quiet=True)
    try:
        quiet.stage("sampling", 100, "images")
        quiet.ahead(5.0, lambda: pytest.fail("nobody hears of it"))
        _later(clock)
        quiet.advance(50)
    finally:
        quiet.release()
    assert capsys.readouterr().err == ""
