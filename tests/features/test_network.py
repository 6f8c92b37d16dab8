"""How networks run over images: batches, memory, --fast and what it costs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffeval.data.pixels import Images
from diffeval.data.source import open_source
from diffeval.drift import drift_sentence
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extracted, Extractor
from diffeval.features.network import NetworkRunner, Outputs, fold_batch_norms
from diffeval.progress import SilentReporter

CPU = torch.device("cpu")


class _Means(torch.nn.Module):
    """Channel means, as features and as logits; of more images than ``fits`` memory runs out."""

    def __init__(self, fits: int = 1000, factor: float = 1.0) -> None:
        super().__init__()
        self.fits, self.factor = fits, factor
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> Outputs:
        self.sizes.append(len(x))
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("no memory")
        means = x.mean(dim=(2, 3)) * self.factor
        return means, means * 2


def _runner(network: torch.nn.Module, *, fast: bool = False) -> NetworkRunner:
    return NetworkRunner("means", network, lambda images: torch.from_numpy(images).float(), CPU, fast=fast)


def test_all_images_come_out_in_order_whatever_the_batch(draw: Callable[..., Images]) -> None:
    images = draw(21)
    runner = _runner(_Means())
    found = runner(images)
    np.testing.assert_allclose(found.features, images.mean(axis=(2, 3)), rtol=1e-5)
    assert found.logits is not None
    np.testing.assert_allclose(found.logits, 2 * found.features)
    assert max(runner._network.sizes) == runner.batch  # type: ignore[arg-type, union-attr]


def test_the_batch_is_halved_until_it_fits_and_stays_so(draw: Callable[..., Images]) -> None:
    network = _Means(fits=3)
    runner = _runner(network)
    images = draw(9)
    np.testing.assert_allclose(runner(images).features, images.mean(axis=(2, 3)), rtol=1e-5)
    assert network.sizes == [8, 4, 2, 2, 2, 2, 1]
    with pytest.raises(torch.OutOfMemoryError):
        _runner(_Means(fits=0))(images)


def test_features_that_are_not_finite_are_an_error(draw: Callable[..., Images]) -> None:
    with pytest.raises(DiffevalError, match="means gives NaN or infinity"):
        _runner(_Means(factor=float("nan")))(draw(2))


def test_fast_without_a_compiler_is_bfloat16_alone_and_said(
    draw: Callable[..., Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    runner = _runner(torch.nn.Sequential(torch.nn.Flatten(), _Linear()), fast=True)
    mode = runner.speed_up(draw(1, height=4, width=4))
    assert mode.tag == "fast-uncompiled"
    assert mode.notes == ("means: not compiled (no C++ compiler is found); --fast is bfloat16 alone",)
    features = runner(draw(3, height=4, width=4)).features
    rounded = torch.from_numpy(features).bfloat16().float().numpy()
    np.testing.assert_array_equal(features, rounded)


def test_a_compiler_that_fails_is_said_and_done_without(
    draw: Callable[..., Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(network: torch.nn.Module) -> Callable[..., Outputs]:
        def run(x: torch.Tensor) -> Outputs:
            raise RuntimeError("no backend\nat all")

        return run

    monkeypatch.setattr("torch.compile", broken)
    monkeypatch.setattr("shutil.which", lambda name: name)
    runner = _runner(_Means(), fast=True)
    mode = runner.speed_up(draw(1))
    assert mode.tag == "fast-uncompiled"
    assert "RuntimeError: no backend at all" in mode.notes[0]
    assert len(runner(draw(3)).features) == 3


def test_a_compiled_network_sees_batches_of_one_size(
    draw: Callable[..., Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.compile", lambda network: network)
    monkeypatch.setattr("shutil.which", lambda name: name)
    network = _Means()
    runner = _runner(network, fast=True)
    assert runner.speed_up(draw(1)).tag == "fast"
    assert len(runner(draw(11)).features) == 11
    assert set(network.sizes) == {runner.batch}


class _Block(torch.nn.Module):
    """A convolution and its batch norm, whose statistics are far from 0 and 1."""

    def __init__(self, *, bias: bool, affine: bool) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3, bias=bias)
        self.bn = torch.nn.BatchNorm2d(5, affine=affine)
        assert self.bn.running_mean is not None
        assert self.bn.running_var is not None
        self.bn.running_mean.normal_(2.0)
        self.bn.running_var.uniform_(0.01, 30.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norms_are_folded_to_rounding(bias: bool, affine: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(_Block(bias=bias, affine=affine), torch.nn.Conv2d(5, 5, 1)).eval()
        x = torch.randn(4, 3, 9, 9)
    held = network[0].conv.weight
    before = held.clone()
    expected = network(x)
    assert fold_batch_norms(network) == 1
    assert torch.equal(held, before), "what was read from a file is left as it is"
    assert isinstance(network[0].bn, torch.nn.Identity)
    found = network(x)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-6
    assert fold_batch_norms(network) == 0


class _Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 48 * 2).reshape(2, 48))

    def forward(self, x: torch.Tensor) -> Outputs:
        return torch.nn.functional.linear(x, self.weight), None


def _extractor(factor: float, exact: Extractor | None) -> Extractor:
    def run(images: Images) -> Extracted:
        flat = images.reshape(len(images), -1).astype(np.float32)
        return Extracted((flat[:, 18:22] * factor).astype(np.float32), None)

    made = None if exact is None else lambda: exact
    return Extractor("four", f"four/{factor}", 4, "none", (), run, exact=made)


def test_the_drift_of_features_that_double_is_threefold() -> None:
    """Features times 2 make every Frechet distance 4 times as large."""
    source = open_source("digits")
    exact = _extractor(1.0, None)
    assert drift_sentence(source, exact, SilentReporter()) is None
    said = drift_sentence(source, _extractor(2.0, exact), SilentReporter())
    assert said is not None
    numbers = said.split("(")[1]
    slow = float(numbers.split(" in full")[0])
    fast = float(numbers.split("precision, ")[1].split(" fast")[0])
    assert slow > 0
    assert fast == pytest.approx(4 * slow, rel=1e-3)
    assert f"moves FID by {3 * slow:+.2g}" in said
