"""How a network runs over images: layout, precision, batches that fit, and ``--fast``."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from diffeval.data.source import Images
from diffeval.diffusion.batching import is_out_of_memory
from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Extracted

Prepare = Callable[[Images], torch.Tensor]
# Features, and logits where the network has a classifier.
Outputs = tuple[torch.Tensor, torch.Tensor | None]

# Images per network call. Activations of more outgrow a CPU's caches; where a GPU's memory is short, it is halved.
BATCH = {"cpu": 8, "mps": 64, "cuda": 256}


@dataclass(frozen=True, slots=True)
class FastMode:
    """What ``--fast`` came to on this machine.

    Attributes:
        tag: part of the extractor's id.
        notes: what the user should hear.
    """

    tag: str
    notes: tuple[str, ...]


@torch.no_grad()
def fold_batch_norms(network: torch.nn.Module) -> int:
    """Folds batch norms that follow a convolution into its weights, in place; returns how many.

    Found are modules with the two as ``conv`` and ``bn``, in eval mode. The product is taken in float64 and rounded
    once, so that what comes out differs by rounding alone.
    """
    folded = 0
    for block in network.modules():
        conv, norm = getattr(block, "conv", None), getattr(block, "bn", None)
        if not isinstance(conv, torch.nn.Conv2d) or not isinstance(norm, torch.nn.BatchNorm2d):
            continue
        assert norm.running_mean is not None, "folded networks have statistics of their own"
        assert norm.running_var is not None, "folded networks have statistics of their own"
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.double()
        bias = -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean.double()
        shift = bias * scale if norm.bias is None else bias * scale + norm.bias.double()
        weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
        # New tensors: the old ones may lie in the file that they were read from.
        conv.weight = torch.nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
        conv.bias = torch.nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
        block.bn = torch.nn.Identity()
        folded += 1
    return folded


class NetworkRunner:
    """Runs a network over uint8 images in batches that fit.

    Args:
        owner: the extractor, for messages.
        network: maps what ``prepare`` returns to features and logits; a module on ``device``.
        prepare: resizes and normalises a batch, on ``device``.
        device: where the network is.
        fast: bfloat16, and compiled where a compiler is found; then every batch has the same size.
    """

    def __init__(
        self, owner: str, network: torch.nn.Module, prepare: Prepare, device: torch.device, *, fast: bool = False
    ) -> None:
        self.owner, self.prepare, self.device, self.fast = owner, prepare, device, fast
        self.batch = BATCH.get(device.type, 8)
        # Channels last is the layout that convolutions are fastest in; it moves features in their last digits only.
        self._network = network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self._forward: Callable[[torch.Tensor], Outputs] = self._network
        self.compiled = False

    def __call__(self, images: Images) -> Extracted:
        """Features and logits of uint8 images [n, C, H, W].

        Raises:
            DiffevalError: if even one image does not fit into memory, or a feature is not finite.
        """
        parts: list[Outputs] = []
        start = 0
        while start < len(images):
            try:
                parts.append(self._run(images[start : start + self.batch]))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.batch == 1:
                    raise
                self.batch //= 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            start += len(parts[-1][0])
        features = torch.cat([part[0] for part in parts]).numpy()
        if not np.isfinite(features).all():
            raise DiffevalError(f"extractor: {self.owner} gives NaN or infinity; look at its weights file")
        logits = [part[1] for part in parts if part[1] is not None]
        return Extracted(features, torch.cat(logits).numpy() if logits else None)

    @torch.inference_mode()
    def _run(self, images: Images) -> Outputs:
        count = len(images)
        if self.compiled and count < self.batch:  # another shape would be compiled anew
            images = np.concatenate([images, np.repeat(images[-1:], self.batch - count, axis=0)])
        with full_precision():
            x = self.prepare(images).contiguous(memory_format=torch.channels_last)
            with self._autocast():
                features, logits = self._forward(x)
        return features[:count].float().cpu(), None if logits is None else logits[:count].float().cpu()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.fast else nullcontext()

    def speed_up(self, example: Images) -> FastMode:
        """Compiles the network for ``--fast``; without a compiler it stays as it is, in bfloat16.

        Args:
            example: one image to compile with, uint8 [1, C, H, W].
        """
        reason = self.compile(example)
        if reason is None:
            return FastMode("fast", ())
        note = f"{self.owner}: not compiled ({reason}); --fast is bfloat16 alone"
        return FastMode("fast-uncompiled", (note,))

    def compile(self, example: Images) -> str | None:
        """Compiles the network, and says why it could not; None where it did. ``example`` is one image."""
        if self.device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            return "no C++ compiler is found"
        with torch.random.fork_rng(devices=[]):  # the compiler draws from the global generator
            try:
                self._forward, self.compiled = torch.compile(self._network), True
                self(example)
            except Exception as error:  # torch names no base for what its compilers raise
                self._forward, self.compiled = self._network, False
                return " ".join(f"{type(error).__name__}: {error}".split())[:120]
        return None
