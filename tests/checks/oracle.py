"""A model whose best predictions are known: images of a mixture of Gaussians around a few templates."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from diffeval.checkpoints.checkpoint import Checkpoint, identity
from diffeval.checks.real_images import ModelImages
from diffeval.diffusion.noise import initial_noise
from diffeval.diffusion.schedule import NoiseSchedule, named_schedule

COMPONENTS, SPREAD = 12, 0.1
SHAPE = (1, 4, 4)


@dataclass(frozen=True)
class Mixture:
    """Equal parts of N(m_k, SPREAD^2 I)."""

    means: torch.Tensor

    def images(self, n: int, seed: int) -> ModelImages:
        """Drawn from it."""
        random = np.random.Generator(np.random.Philox(key=[seed, 1]))
        chosen = torch.from_numpy(random.integers(0, COMPONENTS, n))
        noise = torch.from_numpy(random.standard_normal((n, *SHAPE), dtype=np.float32))
        return ModelImages(self.means[chosen] + SPREAD * noise, None, "mixture")

    def clean(self, x: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """E[x_0 | x], by Bayes' rule over the components; alpha and sigma are [b, 1, 1, 1]."""
        variance = alpha**2 * SPREAD**2 + sigma**2
        gaps = x[:, None] - alpha[:, None] * self.means[None]
        logits = -(gaps**2).sum(dim=(2, 3, 4)) / (2 * variance[:, :, 0, 0])
        weights = torch.softmax(logits, dim=1)[:, :, None, None, None]
        each = self.means[None] + (alpha * SPREAD**2 / variance)[:, None] * gaps
        return (weights * each).sum(dim=1)


def mixture(seed: int = 0) -> Mixture:
    """Templates drawn once."""
    return Mixture(0.7 * initial_noise(seed, range(COMPONENTS), SHAPE).clamp(-1.2, 1.2))


def perfect(
    mixed: Mixture, trained: NoiseSchedule, prediction: str, declared: NoiseSchedule | None = None
) -> Checkpoint:
    """A network that minimises its own loss on the schedule it was trained with, whatever is declared."""
    alpha_bar = torch.tensor(trained.alpha_bar)

    def denoise(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        a = alpha_bar[t.long().clamp(0, len(alpha_bar) - 1)].reshape(-1, 1, 1, 1)
        alpha, sigma = a.sqrt(), (1 - a).sqrt()
        clean = mixed.clean(x, alpha, sigma)
        if prediction == "sample":
            return clean
        epsilon = (x - alpha * clean) / sigma
        return epsilon if prediction == "epsilon" else alpha * epsilon - sigma * clean

    return Checkpoint(
        name="oracle", path=Path("oracle"), sha256="0" * 64, network=torch.nn.Identity(), denoiser=denoise, raw=None,
        schedule=declared or trained, prediction=prediction,  # type: ignore[arg-type]
        shape=SHAPE, value_range=(-1.0, 1.0), classes=(), null_class=None, decode=identity, sampler=None, steps=None,
        reference=None,
    )  # fmt: skip


LINEAR, COSINE = named_schedule("linear"), named_schedule("squaredcos_cap_v2")
