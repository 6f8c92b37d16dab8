"""The progress of scoring is that of its time."""

import numpy as np
import pytest

from diffeval.metrics.metric import FeatureSet
from diffeval.progress import SHARE, SilentReporter
from diffeval.real import RealImages
from diffeval.scoring import PARTS, Choices, Weights, score_counts
from diffeval.suite import choose


class Heard(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.stages: list[tuple[str, int, str]] = []
        self.steps: list[tuple[str, int]] = []

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> None:
        self.stages.append((name, total, unit))

    def advance(self, units: int, detail: str = "") -> None:
        self.steps.append((detail, units))


def _features(n: int) -> FeatureSet:
    return FeatureSet(np.random.Generator(np.random.Philox(n)).standard_normal((n, 4)))


def _heard(weights: Weights | None) -> Heard:
    heard = Heard()
    real = RealImages("made up", "test", _features(60), _features(40), independent=True, warnings=())
    choices = Choices(choose(["fid", "kid"]), "none", None)
    score_counts(_features(200), real, (100, 200), choices, params={}, reporter=heard, weights=weights)
    return heard


def test_parts_are_told_by_what_they_take() -> None:
    seconds = {("fid", None): 1.0, ("fid", 100): 1.0, ("fid", 200): 2.0, ("kid", None): 0.0, ("kid", 100): 4.0,
               ("kid", 200): 8.0}  # fmt: skip
    heard = _heard(seconds)
    assert heard.stages == [("scoring", PARTS, SHARE)]
    assert [detail for detail, _ in heard.steps] == [
        "fid", "fid at n = 100", "fid at n = 200", "kid", "kid at n = 100", "kid at n = 200"
    ]  # fmt: skip
    told = np.cumsum([units for _, units in heard.steps])
    assert told == pytest.approx(PARTS * np.cumsum(list(seconds.values())) / 16.0, abs=0.5)
    assert told[-1] == PARTS


def test_without_seconds_larger_counts_weigh_more() -> None:
    units = dict(_heard(None).steps)
    assert sum(units.values()) == PARTS
    assert 0 < units["kid at n = 100"] < units["kid at n = 200"]
