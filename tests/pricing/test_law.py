"""Laws of made-up work, by a clock that is made up, too."""

from collections.abc import Callable

import numpy as np
import pytest

from diffeval.metrics.metric import FeatureSet
from diffeval.pricing import law, stage
from diffeval.pricing.law import find_law

Seconds = Callable[[int, int], float]


class Clock:
    """Stands still until work moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[int, int]] = []

    def perf_counter(self) -> float:
        return self.now

    def work(self, call: Seconds, once: Callable[[int], float]) -> Callable[[FeatureSet, FeatureSet], None]:
        def run(ours: FeatureSet, theirs: FeatureSet) -> None:
            n, m = len(ours), len(theirs)
            self.calls.append((n, m))
            self.now += call(n, m)

            def reference() -> bool:
                self.now += once(m)
                return True

            theirs.once("reference", reference)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(law, "time", made)
    monkeypatch.setattr(stage, "ENOUGH", 1.0)
    return made


def _made(n: int) -> FeatureSet:
    return FeatureSet(np.zeros((n, 1)))


@pytest.mark.parametrize(
    ("call", "once"),
    [
        (lambda n, m: 3.0, lambda m: 0.0),
        (lambda n, m: 0.01 + 1e-3 * n, lambda m: 2e-5 * m),
        (lambda n, m: 1e-8 * n * (n + m), lambda m: 1e-8 * m * m),
        (lambda n, m: 0.02 + 3e-9 * n * n + 2e-8 * n * m, lambda m: 1e-5 * m + 5e-9 * m * m),
    ],
)
def test_a_law_of_the_known_form_is_found_from_small_trials(clock: Clock, call: Seconds, once: Callable) -> None:  # type: ignore[type-arg]
    n, m = 5000, 60_000
    found = find_law(clock.work(call, once), _made, _made, n, m)
    assert max(size for size, _ in clock.calls) < n, "it was not tried in full"
    for images in (500, 2500, 5000):
        assert found.call(images, m) == pytest.approx(call(images, m), rel=1e-4)
    assert found.once(m) == pytest.approx(once(m), rel=1e-4, abs=1e-9)


def test_trials_grow_alike_until_they_are_long_enough(clock: Clock) -> None:
    find_law(clock.work(lambda n, m: 1e-3 * n, lambda m: 0.0), _made, _made, 100_000, 50_000)
    largest = max(n for n, _ in clock.calls)
    assert 0.5 <= 1e-3 * largest < 1.0 + 1e-9
    assert all(m == max(law.SMALL, largest // 2) for n, m in clock.calls if n == largest)


def test_what_is_brief_is_tried_in_full(clock: Clock) -> None:
    """Then nothing is extrapolated, whatever the law is."""
    find_law(clock.work(lambda n, m: 1e-6 * n**1.5, lambda m: 0.0), _made, _made, 3000, 1297)
    assert (3000, 1297) in clock.calls


def test_fewer_images_than_are_needed_cost_nothing(clock: Clock) -> None:
    found = find_law(clock.work(lambda n, m: 1.0 * n, lambda m: 0.0), _made, _made, 1000, 100, least=80)
    assert min(n for n, _ in clock.calls) >= 80
    assert found.call(79, 100) == 0.0
    assert found.call(80, 100) == pytest.approx(80.0, rel=1e-6)
