"""A small part of the planted-fault matrix: the digits model as it is, and with each fault that can be planted in it.

``benchmarks/fault_matrix.py`` has all of it, over networks of other kinds; here is what can be run with every change.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Subject, look, ordered
from diffeval.data.source import ImageSource
from diffeval.plan import Settings, plan_sampling

N = 16
# A row of random numbers is nearly as good as the mean of the classes: it takes more images to tell.
MORE = {"null-row-random": 32}
# Those that are told apart by images, and not by samples: they are quick.
LEFT_OUT = ("trajectory", "training-log", "step-convergence", "determinism", "receptive-field", "memorization")
FAULTS = (
    "random-weights", "embedding-zeroed", "declared-linear", "declared-50-timesteps", "declared-sample",
    "declared-v_prediction", "index-turned", "declared-range-unit", "null-row-random",
)  # fmt: skip


@pytest.fixture(scope="module")
def planted(digits: Checkpoint) -> dict[str, Any]:
    """Faults by name."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    try:
        from zoo.planted import planted
    finally:
        sys.path.pop(0)
    return {one.fault: one for one in planted(digits)}


def _statuses(checkpoint: Checkpoint, source: ImageSource, n: int = N) -> dict[str, str]:
    generator = plan_sampling(checkpoint, Settings(n=n)).generator
    subject = Subject(checkpoint, generator, n, source)  # type: ignore[arg-type]  # a checkpoint is sampled
    return {name: look(name, subject)[0].status for name in ordered() if name not in LEFT_OUT}


def test_nothing_is_wrong_with_the_digits_model(digits: Checkpoint, digit_images: ImageSource) -> None:
    assert "fail" not in _statuses(digits, digit_images).values()


def test_every_fault_is_tried(planted: dict[str, Any]) -> None:
    assert tuple(planted) == FAULTS


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught_by_its_own_check_and_by_no_other(
    fault: str, planted: dict[str, Any], digit_images: ImageSource
) -> None:
    one = planted[fault]
    found = _statuses(one.checkpoint, digit_images, MORE.get(fault, N))
    assert found[one.check] == "fail"
    assert {name for name, status in found.items() if status == "fail"} <= {one.check, *one.also}
