"""Trains an entry of the table, and opens what came of it as a user of diffeval would."""

import copy
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from diffusers.training_utils import EMAModel

from diffeval.checkpoints.build import Found, build
from diffeval.checkpoints.checkpoint import Checkpoint, load
from diffeval.checkpoints.declaration import parse_preconditioning
from diffeval.checkpoints.factory import make_network
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource, Split, open_source
from diffeval.errors import DiffevalError
from diffeval.training.batches import Batch, Batches
from diffeval.training.losses import BUCKETS, gradient_norm
from zoo.table import RESPACING, Entry

WARM_UP, CLIP, PROBE_EVERY, PROBE_IMAGES = 100, 1.0, 100, 32
WEIGHTS = "weights.safetensors"
# Purposes of an entry's seed beside those of training.batches, by the upper half of Philox' counter.
_SUBSET, _SHUFFLE = 11, 12


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves.

    Attributes:
        weights: averaged ones behind ``ema.``, raw ones behind ``raw.``.
        log: one row per step, as ``diffeval train`` writes it.
        probes: loss and gradient norm by timestep bucket, every 100 steps, as ``diffeval train`` writes them.
        seconds: of one core.
        parameters: of the network.
        rows: numbers of the training images among the split's, where they were chosen; None for all.
        source: what it was trained on.
    """

    weights: Mapping[str, torch.Tensor]
    log: tuple[Mapping[str, float | int], ...]
    probes: tuple[Mapping[str, object], ...]
    seconds: float
    parameters: int
    rows: tuple[int, ...] | None
    source: ImageSource

    @property
    def final_loss(self) -> float:
        """Mean over the last 100 steps."""
        return float(np.mean([row["loss"] for row in self.log[-100:]]))


def open_data(entry: Entry, split: Split, mnist: str | None) -> ImageSource:
    """The images of an entry.

    Raises:
        DiffevalError: for MNIST, if its folder is not given.
    """
    if entry.data == "mnist" and not mnist:
        raise DiffevalError(f"{entry.name}: needs MNIST; give --mnist, or set DIFFEVAL_TEST_MNIST")
    return open_source(f"{'digits' if entry.data == 'digits' else f'mnist:{mnist}'}@{split}")


def open_entry(entry: Entry, folder: Path, *, raw: bool = False) -> Checkpoint:
    """The trained network as it is declared, right or wrong: averaged weights, or raw ones on request.

    Args:
        entry: of the table.
        folder: that the table was trained into.
        raw: the weights without averaging.

    Raises:
        DiffevalError: if it has not been trained yet.
    """
    path = folder / entry.name / WEIGHTS
    if not path.exists():
        raise DiffevalError(f"{entry.name}: is not in {folder}; train it first")
    return load(path, entry.options(raw=raw)).renamed(entry.name)


class Training:
    """A network in training, called through the very adapter that will be declared for it."""

    def __init__(self, entry: Entry, source: ImageSource) -> None:
        self.entry = entry
        self.source, self.rows = _chosen(entry, source)
        options = entry.options()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(entry.seed)
            network, declaration = make_network(str(options.model))
        found = Found(entry.name, Path(), "", network, None, "", declaration)
        self.checkpoint = build(found, options)
        self.network = network.requires_grad_(True).train()
        self.edm = parse_preconditioning(declaration.preconditioning)
        self.alpha_bar = torch.from_numpy(self.checkpoint.schedule.alpha_bar.astype(np.float32))
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=entry.lr, weight_decay=0.0)
        least = entry.ema if entry.ema_start == "full" else 0.0
        self.average = EMAModel(network.parameters(), decay=entry.ema, min_decay=least, foreach=True)
        self.batches = Batches(
            self.source,
            entry.seed,
            entry.batch,
            entry.timesteps,
            entry.drop_condition or 0.0,
            entry.drop_condition is not None,
        )

    def per_image(self, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean squared error of each image's prediction, float32 [b]."""
        entry, checkpoint = self.entry, self.checkpoint
        assert checkpoint.adapter is not None
        alpha_bar = self.alpha_bar[batch.t].view(-1, 1, 1, 1)
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        low, high = entry.trained_range
        x0 = low + (batch.x0 + 1) / 2 * (high - low)
        output = checkpoint.adapter(network)(alpha * x0 + sigma * batch.noise, self._told(batch.t), batch.condition)
        target = {"epsilon": batch.noise, "sample": x0, "v_prediction": alpha * batch.noise - sigma * x0}
        errors = (output - target[checkpoint.prediction]).square().flatten(1).mean(dim=1)
        return errors if self.edm is None else errors * self._weight(batch.t, self.edm.sigma_data)

    def _weight(self, t: torch.Tensor, sigma_data: float) -> torch.Tensor:
        """That makes every noise level's loss of EDM's network one of unit variance (Karras et al. 2022, table 1)."""
        squared = (1 - self.alpha_bar[t]) / self.alpha_bar[t]
        return (squared + sigma_data**2) / (squared * sigma_data**2)

    def _told(self, t: torch.Tensor) -> torch.Tensor:
        if self.entry.told == "reversed":
            return self.entry.timesteps - 1 - t
        return t // RESPACING if self.entry.told == "respaced" else t

    def _batch(self, step: int) -> Batch:
        """What step ``step`` sees, faults included."""
        entry, batch = self.entry, self.batches.at(step)
        least = entry.least_timestep
        if least:
            batch = dataclasses.replace(batch, t=least + batch.t * (entry.timesteps - least) // entry.timesteps)
        if entry.one_timestep:
            batch = dataclasses.replace(batch, t=batch.t[:1].expand(len(batch.t)))
        if entry.shuffled and batch.condition is not None:
            order = torch.from_numpy(_random(entry, _SHUFFLE, step).permutation(len(batch.condition)))
            batch = dataclasses.replace(batch, condition=batch.condition[order])
        return batch

    def advance(self, step: int) -> dict[str, float | int]:
        """One optimiser step; the row that the log keeps of it.

        Raises:
            DiffevalError: if the loss is no number.
        """
        entry = self.entry
        rate = entry.lr * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / entry.steps))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = self.per_image(self.network, self._batch(step)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = gradient_norm(self.network)
        if not math.isfinite(float(loss.detach()) + norm):
            raise DiffevalError(f"{entry.name}: the loss is not finite at step {step + 1}; lower its learning rate")
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimiser.step()
        if entry.ema_start != "never":
            self.average.step(self.network.parameters())
        return {"step": step + 1, "loss": float(loss.detach()), "gradient_norm": norm, "lr": rate}

    def probe(self, step: int) -> dict[str, object]:
        """Loss and gradient norm by timestep bucket on a fixed batch; on a copy, as BatchNorm would remember it."""
        network, losses, norms = copy.deepcopy(self.network), [], []
        for part in _parts(self.batches.probe(BUCKETS, PROBE_IMAGES)):
            network.zero_grad(set_to_none=True)
            loss = self.per_image(network, part).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
            norms.append(gradient_norm(network))
        return {"step": step, "loss": losses, "gradient_norm": norms}

    def weights(self) -> dict[str, torch.Tensor]:
        """Averaged and raw weights, with buffers as they are."""
        averaged = copy.deepcopy(self.network)
        self.average.copy_to(averaged.parameters())
        states = {"ema": averaged.state_dict(), "raw": self.network.state_dict()}
        return {f"{kind}.{name}": row.contiguous() for kind, state in states.items() for name, row in state.items()}


def train(entry: Entry, source: ImageSource) -> Trained:
    """Trains an entry from its first step to its last.

    Args:
        entry: of the table.
        source: the train split of its data.

    Raises:
        DiffevalError: if the loss stops being finite.
    """
    training, started = Training(entry, source), time.process_time()
    log, probes = [], [training.probe(0)]
    for step in range(entry.last_step):
        log.append(training.advance(step))
        if (step + 1) % PROBE_EVERY == 0:
            probes.append(training.probe(step + 1))
    return Trained(
        weights=training.weights(),
        log=tuple(log),
        probes=tuple(probes),
        seconds=time.process_time() - started,
        parameters=sum(parameter.numel() for parameter in training.network.parameters()),
        rows=training.rows,
        source=training.source,
    )


def _random(entry: Entry, purpose: int, number: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[entry.seed, number], counter=[0, 0, 0, purpose]))


def _chosen(entry: Entry, source: ImageSource) -> tuple[ImageSource, tuple[int, ...] | None]:
    """The images to train on, and their numbers where they are not all."""
    if entry.images is None:
        return source, None
    rows = np.sort(_random(entry, _SUBSET).permutation(len(source))[: entry.images])
    labels = None if source.labels is None else source.labels[rows]
    pixels = InMemory(source.pixels.read(rows))
    return dataclasses.replace(source, pixels=pixels, labels=labels), tuple(int(row) for row in rows)


def _parts(batch: Batch) -> Iterator[Batch]:
    """The probe's batch, a bucket at a time."""
    for rows in torch.arange(len(batch.t)).chunk(BUCKETS):
        condition = None if batch.condition is None else batch.condition[rows]
        yield Batch(batch.x0[rows], batch.noise[rows], batch.t[rows], condition)


def packed(weights: Mapping[str, torch.Tensor]) -> bytes:
    """As safetensors."""
    content: bytes = safetensors.torch.save(dict(weights))
    return content


def as_json(entry: Entry) -> dict[str, Any]:
    """The record as a file keeps it."""
    record: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(entry)))
    return record
