"""Logs that were made up: smooth ones pass, and what is planted in them is found at its step."""

from types import SimpleNamespace

import numpy as np
import pytest

from diffeval.checks.check import CHECKS, Finding
from diffeval.checks.training_log import training_log
from diffeval.metrics.metric import Array


def _losses(count: int = 2000, seed: int = 0, spread: float = 0.15) -> Array:
    """From 1 to 0.15 as trainings fall, with log-normal noise."""
    random = np.random.Generator(np.random.Philox(seed))
    falling = 0.15 + 0.85 * np.exp(-np.arange(count) / (count / 20))
    losses: Array = falling * np.exp(spread * random.standard_normal(count))
    return losses


def _look(losses: Array, norms: Array | None = None) -> Finding:
    log = [{"step": 10 * row, "loss": float(loss)} for row, loss in enumerate(losses, 1)]
    if norms is not None:
        log = [row | {"gradient_norm": float(norm)} for row, norm in zip(log, norms, strict=True)]
    return training_log(SimpleNamespace(log=log))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [40, 41, 63, 200, 1000, 2000, 25_000])
def test_a_smooth_training_passes(count: int) -> None:
    finding = _look(_losses(count), 3 * _losses(count, seed=1))
    assert finding.status == "pass", finding.summary
    assert finding.values["rows"] == count
    assert finding.values["loss_spike"] < 7
    assert len(finding.rows) == min(count, 200)
    assert finding.rows[0]["step"] == 10


def test_a_spike_is_counted_in_deviations_of_the_logs() -> None:
    losses = _losses()
    losses[1499] = 0.15 * np.exp(0.15 * 12)
    finding = _look(losses)
    assert finding.status == "warn"
    assert finding.values["loss_spike"] == pytest.approx(12, rel=0.15)
    assert "1 loss spikes" in finding.summary
    assert "first at step 15000" in finding.summary


def test_a_spike_of_the_gradient_is_named_apart() -> None:
    norms = _losses(seed=1)
    norms[700] *= 20
    finding = _look(_losses(), norms)
    assert finding.status == "warn"
    assert "1 gradient spikes" in finding.summary
    assert "loss spike" not in finding.summary


@pytest.mark.parametrize(("factor", "status"), [(1.02, "pass"), (1.12, "warn"), (2.0, "fail")])
def test_a_loss_that_rises_and_stays_there_is_divergence(factor: float, status: str) -> None:
    losses = _losses()
    losses[1200:] *= factor
    finding = _look(losses)
    assert finding.status == status, finding.summary
    assert finding.values["rise"] == pytest.approx(factor, rel=0.04)
    if status != "pass":
        assert "the loss diverged: it ends at" in finding.summary
        assert "earlier checkpoint" in finding.fix


def test_a_rise_that_comes_back_is_none() -> None:
    losses = _losses()
    losses[1000:1300] *= 2
    assert "diverged" not in _look(losses).summary
    assert _look(losses).values["rise_least"] < 1.05


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_fails(value: float) -> None:
    losses = _losses()
    losses[1233:1236] = value
    finding = _look(losses)
    assert finding.status == "fail"
    assert "the loss is NaN or infinite at 3 of 2000 rows, first at step 12340" in finding.summary
    assert all(np.isfinite(list(finding.values.values())))


def test_infinite_gradients_which_scalers_skip_only_warn() -> None:
    norms = _losses(seed=1)
    norms[[5, 900]] = np.inf
    finding = _look(_losses(), norms)
    assert finding.status == "warn"
    assert "the gradient norm is NaN or infinite at 2 of 2000 rows, first at step 60" in finding.summary


def test_too_few_rows_show_nothing_but_that_they_are_finite() -> None:
    assert _look(_losses(39)).status == "inconclusive"
    assert _look(np.array([1.0, np.nan])).status == "fail"


@pytest.mark.parametrize("value", [0.0, 0.1, -1.0])
def test_a_loss_that_never_changes_has_neither_spikes_nor_a_rise(value: float) -> None:
    finding = _look(np.full(500, value))
    assert finding.status == "pass", finding.summary
    assert (finding.values["loss_spike"], finding.values["rise"]) == (0, 1)


def test_losses_below_zero_are_taken_as_they_are() -> None:
    losses = _losses() - 0.3
    losses[1500] = 5.0
    assert _look(losses).status == "warn"


def test_it_is_found_by_its_name_and_reads_the_log() -> None:
    assert CHECKS["training-log"].reads == ("log",)
