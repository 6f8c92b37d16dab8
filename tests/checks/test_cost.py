"""What looking costs is counted at the network."""

import copy
import dataclasses
from functools import partial

import pytest
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import CHECKS, Subject
from diffeval.checks.cost import PROBE, counting, forecast, told
from diffeval.data.source import ImageSource
from diffeval.plan import Settings, plan_sampling


class _Plain(torch.nn.Module):
    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x * t.view(-1, 1)


def test_every_image_through_the_network_or_a_copy_counts_once() -> None:
    network = _Plain()
    with counting(network) as cost:
        cost.spend(
            "two calls", lambda: [network(torch.ones(3, 2), t=torch.ones(3)), network(torch.ones(4, 2), torch.ones(4))]
        )
        copied = copy.deepcopy(network)
        cost.spend("a copy", lambda: copied(torch.ones(5, 2), torch.ones(5)))
        cost.spend("nothing", lambda: None)
    network(torch.ones(6, 2), torch.ones(6))
    assert [(row["spent_on"], row["forward_passes"]) for row in cost.rows] == [
        ("two calls", 7),
        ("a copy", 5),
        ("nothing", 0),
    ]
    assert all(float(row["seconds"] or 0) >= 0 for row in cost.rows)


def test_a_sentence_names_the_probes_part() -> None:
    rows = (
        {"spent_on": PROBE, "forward_passes": 1200, "seconds": 2.04},
        {"spent_on": "ema", "forward_passes": 34, "seconds": 1.0},
    )
    assert told(rows) == "1,234 forward passes, 3 s; of these 1,200 and 2.0 s for the risk probe"
    assert told(rows[1:]) == "34 forward passes, 1 s"


def test_the_forecast_is_near_what_looks_take(digits: Checkpoint, digit_images: ImageSource) -> None:
    """In forward passes, of every check that says how many it makes, and of the risk probe that they share."""
    network = copy.deepcopy(digits.network)
    assert digits.adapter is not None
    one = dataclasses.replace(digits, network=network, denoiser=digits.adapter(network))
    subject = Subject(one, plan_sampling(one, Settings(n=8)).generator, 8, digit_images)  # type: ignore[arg-type]
    found = {one.spent_on: one for one in forecast(subject, tuple(CHECKS))}
    assert {"data-range", "loss-profile", "memorization", "guidance-branch", "step-convergence"} <= set(found)
    with counting(network) as cost:
        cost.spend(PROBE, lambda: subject.scan)
        for name in found:
            if name != PROBE:
                cost.spend(name, partial(CHECKS[name].run, subject))
    for row in cost.rows:
        expected = found[str(row["spent_on"])]
        assert expected.passes == pytest.approx(row["forward_passes"], rel=0.3), row["spent_on"]
        assert expected.seconds > 0


def test_without_real_images_what_needs_them_costs_nothing(digits: Checkpoint) -> None:
    subject = Subject(digits, plan_sampling(digits, Settings(n=4)).generator, 4)  # type: ignore[arg-type]
    found = [one.spent_on for one in forecast(subject, tuple(CHECKS))]
    assert PROBE not in found
    assert set(found) == {"determinism", "receptive-field", "step-convergence", "trajectory"}


def test_many_images_are_not_tried_where_fewer_take_long(
    digits: Checkpoint, digit_images: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def slow(self: object, images: int) -> float:
        tried.append(images)
        return 0.5 * images

    monkeypatch.setattr("diffeval.checks.cost._Clock._timed", slow)
    subject = Subject(digits, plan_sampling(digits, Settings(n=4)).generator, 4, digit_images)  # type: ignore[arg-type]
    (probe,) = forecast(subject, ("noise-schedule",))
    assert probe.seconds == 0.5 * probe.passes
    assert tried == [8]
