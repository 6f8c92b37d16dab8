"""A few damaged inputs of every kind, always the same ones; ``benchmarks/fuzz.py`` tries thousands."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _kinds() -> tuple[Any, ...]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from fuzzing.kinds import KINDS
    finally:
        sys.path.remove(str(BENCHMARKS))
    return KINDS


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.name)
def test_what_users_hand_in_is_read_or_refused_in_one_line(kind: Any) -> None:
    from fuzzing.outcome import attempt

    @settings(
        max_examples=max(1, 16 // kind.heavy), derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(kind.inputs)
    def tried(drawn: object) -> None:
        outcome = attempt(kind, drawn)
        assert outcome.ended != "crashed", outcome.said

    tried()
