"""A network with BatchNorm passes with statistics that suit it, and is told what is wrong with others."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.batch_norm import batch_norm, norm_layers
from diffeval.checks.check import Finding, Subject
from diffeval.data.source import ImageSource
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.schedule import named_schedule
from diffeval.plan import Settings, plan_sampling

S = 0.25  # of the Gaussian model, see conftest
ALPHA_BAR = torch.tensor(named_schedule("linear").alpha_bar)


class Normed(nn.Module):
    """The exact denoiser of the Gaussian model behind a BatchNorm whose running statistics should be 0.01 and 1."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = norm or nn.BatchNorm2d(1, affine=False)
        self.norm.get_buffer("running_mean").fill_(0.01)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a = ALPHA_BAR[t].view(-1, 1, 1, 1)
        out: torch.Tensor = (1 - a).sqrt() * self.norm(x) / (a * S**2 + 1 - a)
        return out


def _adapter(network: nn.Module) -> Denoiser:
    return lambda x, t, condition: network(x, t.expand(len(x)))  # type: ignore[no-any-return]


@pytest.fixture
def look(gaussian: Callable[..., Checkpoint], gaussian_images: ImageSource) -> Callable[..., Finding]:
    def run(network: nn.Module, *, images: bool = True, copies: bool = True) -> Finding:
        checkpoint = dataclasses.replace(
            gaussian(), network=network, denoiser=_adapter(network), adapter=_adapter if copies else None
        )
        plan = plan_sampling(checkpoint, Settings(n=32, device="cpu"))
        return batch_norm(Subject(checkpoint, plan.generator, 32, gaussian_images if images else None))  # type: ignore[arg-type]

    return run


def test_statistics_that_suit_pass(look: Callable[..., Finding]) -> None:
    finding = look(Normed().eval())
    assert finding.status == "pass", finding.summary
    assert finding.values["composition"] == 0
    assert finding.values["layers"] == 1
    # A batch of one noise level is normalised to variance 1, which x has but for (1 - S^2) of its signal power.
    assert finding.values["risk_ratio"] < 1.01
    assert [row["log_snr"] for row in finding.rows][:2] == [4.0, 3.0]
    for row in finding.rows:
        signal = S**2 / (1 + np.exp(-float(row["log_snr"])))
        exact = signal / (signal + 1 / (1 + np.exp(float(row["log_snr"]))))
        assert row["running"] == pytest.approx(exact, rel=0.05, abs=2e-4), "the exact denoiser's risk"


def test_statistics_of_something_else_fail(look: Callable[..., Finding]) -> None:
    network = Normed().eval()
    network.norm.get_buffer("running_mean").fill_(2.0)
    finding = look(network)
    assert finding.status == "fail"
    assert "the running statistics are not those of what the network normalises" in finding.summary
    assert "momentum=None" in finding.fix
    assert finding.values["bad_levels"] > 0.5
    assert sum(row["running"] > 1.2 * row["batch"] for row in finding.rows) == 9 * finding.values["bad_levels"]


def test_training_mode_fails_and_leaves_the_network_as_it_was(look: Callable[..., Finding]) -> None:
    network = Normed().train()
    before = copy.deepcopy(network.state_dict())
    finding = look(network)
    assert finding.status == "fail"
    assert finding.summary.startswith("left in training mode or uses batch statistics: exchanging the other images")
    assert "eval()" in finding.fix
    assert finding.values["composition"] > 1e-3
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.norm.training


def test_batch_statistics_in_eval_mode_fail_too(look: Callable[..., Finding]) -> None:
    class Untracked(Normed):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1, affine=False, track_running_stats=False)

    finding = look(Untracked().eval())
    assert finding.status == "fail"
    assert "uses batch statistics" in finding.summary


def test_buffers_that_were_not_saved_fail(look: Callable[..., Finding]) -> None:
    network = Normed().eval()
    network.norm.get_buffer("running_mean").zero_()
    finding = look(network)
    assert finding.status == "fail"
    assert "1 of 1 BatchNorm layers hold the running statistics that they were made with" in finding.summary
    assert "norm the first" in finding.summary


def test_without_images_or_copies_nothing_is_claimed(look: Callable[..., Finding]) -> None:
    finding = look(Normed().eval(), images=False)
    assert (finding.status, "--ref" in finding.summary) == ("inconclusive", True)
    assert look(Normed().train(), images=False).status == "fail"
    assert look(Normed().eval(), copies=False).status == "inconclusive"


def test_networks_without_it_do_not_apply(look: Callable[..., Finding], digits: Checkpoint) -> None:
    assert look(nn.Sequential(nn.GroupNorm(1, 1), nn.InstanceNorm2d(1))).status == "not-applicable"
    assert not norm_layers(digits.network)
    tracked = nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), nn.SyncBatchNorm(1))
    assert set(norm_layers(tracked)) == {"0", "1"}
