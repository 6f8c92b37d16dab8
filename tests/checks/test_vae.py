"""The autoencoder's check: numbers worked out by hand, and every planted fault by its name."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from diffeval.checkpoints.checkpoint import load
from diffeval.checkpoints.latents import Latents
from diffeval.checks.check import Subject
from diffeval.checks.round_trip import delta_e, gamma, psnr, ssim
from diffeval.checks.vae import vae
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource
from diffeval.plan import Settings, plan_images


class Blocks(torch.nn.Module):
    """An autoencoder that loses nothing: each block of 2 x 2 pixels becomes channels, and goes back."""

    def __init__(self, spread: float = 0.5) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(spread), requires_grad=False)
        self.config = type("Config", (), {"scaling_factor": 1 / spread})

    def encode(self, x: torch.Tensor) -> Any:
        return type("Encoded", (), {"latents": torch.nn.functional.pixel_unshuffle(x, 2) * self.weight})

    def decode(self, z: torch.Tensor) -> Any:
        return type("Decoded", (), {"sample": torch.nn.functional.pixel_shuffle(z / self.weight, 2)})


def _source(channels: int = 3) -> ImageSource:
    """Blurred coloured noise over the whole range of levels."""
    random = np.random.Generator(np.random.Philox(2))
    base = random.uniform(0.0, 1.0, (80, channels, 4, 4)) ** np.array([0.9, 1.0, 1.1])[:channels, None, None]
    images = np.kron(base, np.ones((4, 4))) * 0.8 + 0.2 * random.uniform(0, 1, (80, channels, 16, 16))
    return ImageSource("made", "all", InMemory((images * 255).astype(np.uint8)))


def _subject(latents: Latents | None, source: ImageSource) -> Subject:
    checkpoint = load("digits")
    generator: Any = plan_images(checkpoint, Settings(n=2, device="cpu")).generator
    return Subject(replace(checkpoint, latents=latents), generator, 8, source)


def _healthy(source: ImageSource) -> Latents:
    pixels = torch.from_numpy(source.images).float() / 127.5 - 1.0
    spread = float(pixels.std())
    return Latents(Blocks(), 2.0 / spread, float(pixels.mean()) * 0.5, (3, 16, 16))


def test_a_healthy_autoencoder_passes_with_all_its_numbers() -> None:
    source = _source()
    found = vae(_subject(_healthy(source), source))
    assert found.status == "pass", found.summary
    assert found.values["psnr"] > 60
    assert found.values["ssim"] == pytest.approx(1.0, abs=1e-6)
    assert found.values["latent_std"] == pytest.approx(1.0, abs=0.02)
    assert found.values["gamma"] == pytest.approx(1.0, abs=0.011)
    assert found.values["delta_e"] < 0.1
    assert abs(found.values["psnr_loss_5"]) < 1.0
    assert found.pictures is not None


class _Bgr(Blocks):
    def decode(self, z: torch.Tensor) -> Any:
        return type("Decoded", (), {"sample": super().decode(z).sample.flip(1)})


class _Bent(Blocks):
    def decode(self, z: torch.Tensor) -> Any:
        unit = (super().decode(z).sample / 2 + 0.5).clamp(0, 1)
        return type("Decoded", (), {"sample": unit**1.1 * 2 - 1})


class _Broken(Blocks):
    def decode(self, z: torch.Tensor) -> Any:
        sample = super().decode(z).sample
        return type("Decoded", (), {"sample": sample if z.dtype == torch.float32 else sample * float("inf")})


@pytest.mark.parametrize(
    ("plant", "status", "said"),
    [
        (lambda one: replace(one, vae=_Bgr()), "fail", "channels come back in reverse: with BGR for RGB"),
        (
            lambda one: replace(one, vae=_Bent()),
            "fail",
            "tones are bent: images come back as real ones to the power 1.1",
        ),
        (lambda one: replace(one, scale=1.4 * one.scale), "fail", "have a standard deviation of 1.4"),
        (lambda one: replace(one, scale=one.scale / 1.4), "fail", "have a standard deviation of 0.71"),
        (lambda one: replace(one, shift=one.shift + 0.2), "warn", "a channel of the latents has a mean of"),
        (lambda one: replace(one, vae=_Broken()), "warn", "decoded in fp16, bf16 images end in NaN"),
    ],
)
def test_every_planted_fault_is_named(plant: Any, status: str, said: str) -> None:
    source = _source()
    found = vae(_subject(plant(_healthy(source)), source))
    assert found.status == status, found.summary
    assert said in found.summary
    assert found.fix


def test_blurred_images_are_a_warning_about_detail() -> None:
    class Blurred(Blocks):
        def decode(self, z: torch.Tensor) -> Any:
            sample = torch.nn.functional.avg_pool2d(super().decode(z).sample, 8)
            return type("Decoded", (), {"sample": torch.nn.functional.interpolate(sample, scale_factor=8)})

    source = _source()
    found = vae(_subject(replace(_healthy(source), vae=Blurred()), source))
    assert found.status == "warn"
    assert "a round trip keeps" in found.summary


def test_it_does_not_apply_to_pixels_or_to_images_of_another_shape() -> None:
    source = _source()
    assert vae(_subject(None, source)).status == "not-applicable"
    assert "are 1x16x16, the autoencoder takes 3x16x16" in vae(_subject(_healthy(source), _source(1))).summary


def test_numbers_by_hand() -> None:
    real = np.full((1, 3, 16, 16), 0.5)
    assert psnr(real, real + 0.1)[0] == pytest.approx(20.0)
    # Of constant images only the term of the means is left.
    first = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    assert ssim(real, real + 0.1)[0] == pytest.approx(first)
    random = np.random.Generator(np.random.Philox(1)).uniform(0.02, 1, (4, 3, 16, 16))
    assert gamma(random, random**1.2) == pytest.approx(1.2)
    # White to black is L* from 100 to 0; sRGB's red is L* a* b* = 53.24, 80.09, 67.20.
    white, black = np.ones((1, 3, 1, 1)), np.zeros((1, 3, 1, 1))
    assert delta_e(white, black) == pytest.approx(100.0, abs=1e-3)
    red = np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert delta_e(red, black) == pytest.approx(np.sqrt(53.24**2 + 80.09**2 + 67.20**2), abs=0.02)


def test_a_precision_that_cannot_be_tried_is_said() -> None:
    class Whole(Blocks):
        def encode(self, x: torch.Tensor) -> Any:
            if x.dtype == torch.float16:
                raise RuntimeError("no such kernel for Half")
            return super().encode(x)

    source = _source()
    found = vae(_subject(replace(_healthy(source), vae=Whole()), source))
    assert "fp16 could not be tried (no such kernel for Half)" in found.summary
    assert "non_finite_fp16" not in found.values
    assert found.values["non_finite_bf16"] == 0
