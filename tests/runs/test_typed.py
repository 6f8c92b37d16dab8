"""Plain data becomes a record only where every field is of its type."""

import dataclasses
from typing import Any

import pytest

from diffeval.runs.directory import RunState
from diffeval.runs.document import plain
from diffeval.runs.records import CheckResult, Null, Protocol, Score
from diffeval.runs.typed import record

SCORE = Score("fid", 1.5, 0.1, (1.3, 1.7), 100, Null(1.0, None, 50), False, {"w": 1, "biased": True, "error": None})
PROTOCOL = Protocol("fid", "ddim", {"eta": 0.0}, 20, 1.0, "none", "nearest", "fp32", interval=(0.3, 5.0))


def test_a_record_comes_back_as_it_was() -> None:
    state = RunState("fid", "done", "0.1.0", "ab", 2**64 - 1, 100, 50, 250, PROTOCOL, "now", {"a": 1.5}, ("careful",))
    for one in (SCORE, PROTOCOL, state, CheckResult("x", "pass", "fine", {"a": 1}, {}, "", ("this",))):
        assert record(type(one), plain(one)) == one


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": "100"}, "Score.n is a str, needs int"),
        ({"n": 1.0}, "Score.n is a float, needs int"),
        ({"n": True}, "Score.n is a bool, needs int"),
        ({"n": 10**30}, "Score.n has 31 digits"),
        ({"value": [1]}, "Score.value is a list, needs float or null"),
        ({"value": float("nan")}, "Score.value is nan"),
        ({"value": 10**400}, "Score.value has 401 digits"),
        ({"ci95": [1.0]}, "needs tuple"),
        ({"ci95": [1.0, "2"]}, "needs tuple"),
        ({"name": None}, "Score.name is a NoneType, needs str"),
        ({"higher_is_better": 0}, "needs bool"),
        ({"params": {"w": [1]}}, "Score.params.w is a list"),
        ({"params": []}, "Score.params is a list, needs an object"),
        ({"null": {"value": 1.0}}, "needs Null or null"),
        ({"more": 1}, "has no field 'more'"),
    ],
)
def test_a_field_of_another_type_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        record(Score, {**plain(SCORE), **changes})


def test_what_is_missing_or_no_object_is_refused() -> None:
    with pytest.raises(TypeError, match="n"):
        record(Null, {"value": 1.0})
    with pytest.raises(TypeError, match="Null is a list"):
        record(Null, [1.0, None, 5])
    with pytest.raises(TypeError, match="one of pass, warn"):
        record(CheckResult, {**plain(CheckResult("x", "pass", "fine")), "status": "green"})
    assert dataclasses.is_dataclass(record(Null, {"value": 1, "std_error": None, "n": 5}))
