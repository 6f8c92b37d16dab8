"""Records for run directories whose numbers are chosen by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffeval.runs.records import CheckResult, CheckStatus, Protocol, Score

MakeRun = Callable[..., Path]
WriteGate = Callable[..., Path]
SHA = "ab" * 32
HIGHER = ("recall", "precision", "class_accuracy")


def protocol(**changes: Any) -> Protocol:
    """A protocol; ``source=True`` is that of ready-made images."""
    made: dict[str, Any] = {
        "task": "eval",
        "sampler": "ddim",
        "sampler_config": {"eta": 0.0},
        "steps": 10,
        "w": 1.0,
        "labels": "balanced-blocks/1",
        "rounding": "nearest",
        "dtype": "fp32",
        "extractor": "digits/penultimate/12e3",
        "resize": "none",
        "reference": "digits@train",
        "reference_hash": "cd" * 32,
    }
    if changes.pop("source", False):
        made |= {"sampler": None, "sampler_config": {}, "steps": None, "w": None, "rounding": None, "dtype": None}
    return Protocol(**{**made, **changes})


def score(name: str, value: float | None, std_error: float | None, n: int = 1000, **params: Any) -> Score:
    """A score with a normal interval."""
    interval = (
        None if value is None or std_error is None else (value - 1.959964 * std_error, value + 1.959964 * std_error)
    )
    return Score(name, value, std_error, interval, n, None, name in HIGHER, params)


def checks(**statuses: CheckStatus) -> tuple[CheckResult, ...]:
    """Checks by their names, with underscores for hyphens."""
    return tuple(CheckResult(name.replace("_", "-"), status, f"it is {status}") for name, status in statuses.items())
