"""What looking costs is counted at the network."""

import copy
import dataclasses

import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.check import Subject
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


def test_the_forecast_is_near_what_the_probe_takes(digits: Checkpoint, digit_images: ImageSource) -> None:
    network = copy.deepcopy(digits.network)
    assert digits.adapter is not None
    one = dataclasses.replace(digits, network=network, denoiser=digits.adapter(network))
    subject = Subject(one, plan_sampling(one, Settings(n=4)).generator, 4, digit_images)  # type: ignore[arg-type]
    passes, seconds = forecast(subject)
    with counting(network) as cost:
        cost.spend(PROBE, lambda: subject.scan)
    assert abs(int(cost.rows[0]["forward_passes"] or 0) / passes - 1) < 0.2  # type: ignore[call-overload]
    assert seconds > 0
