"""What training takes: some steps of it, in a folder that is thrown away."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from diffeval.data.source import ImageSource
from diffeval.diffusion.batching import device_name, pick_device
from diffeval.errors import DiffevalError
from diffeval.pricing import stage
from diffeval.pricing.run import start
from diffeval.pricing.stage import Plan, Price, duration, finish, roomy
from diffeval.progress import Reporter
from diffeval.runs.directory import RunDirectory
from diffeval.training.recipe import Recipe
from diffeval.training.train import PROBE_EVERY, Training, at_hand, check_folder

# Steps that are not counted, and the fewest and most that are.
WARM, FEWEST, MOST = 3, 2, 50
# How many times as long as other pieces the counted steps take: they are most of what there is.
LONG = 2


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """Seconds of what a training repeats.

    Attributes:
        step: an optimiser step.
        probe: a look at the loss by timestep.
        save: writing the checkpoint and the state.
    """

    step: float
    probe: float
    save: float


def describe_training(
    source: ImageSource,
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    save_every: int = 500,
    keep_every: int | None = None,
    resume: bool = False,
    reporter: Reporter,
    begun: float | None = None,
) -> Plan:
    """What ``train`` would do, and about how long it takes here; see there. Nothing is written into ``out``.

    Raises:
        DiffevalError: as ``train`` does before its first step.
    """
    recipe.check()
    for name, value in (("--save-every", save_every), ("--keep-every", keep_every)):
        if value is not None and value < 1:
            raise DiffevalError(f"train: {name} is {value}, needs at least 1")
    check_folder(RunDirectory(out), resume)
    training = Training(at_hand(source, reporter), recipe, out, pick_device(device))
    if resume:
        training.restore()
    first, started = training.step, start(begun)
    left = max(0, recipe.steps - first)
    lines = (
        f"data        {source.spec} ({len(source)} images, {source.shape}, {len(source.classes)} classes)",
        f"network     {sum(one.numel() for one in training.network.parameters()) / 1e6:.3g} million parameters",
        f"recipe      {recipe.schedule}, {recipe.prediction}, {recipe.timesteps} timesteps, batches of {recipe.batch}",
        f"device      {device_name(training.device)}, {recipe.dtype}",
        f"checkpoint  {out} ({f'goes on at step {first}' if resume else 'new'})",
    )
    if not left:
        return Plan(lines, tuple(started))
    found = rehearse(training)
    steps = range(first + 1, recipe.steps + 1)
    probes = sum(step % PROBE_EVERY == 0 for step in steps) + (first == 0)
    saves = 1 + sum(step % save_every == 0 for step in steps)
    saves += 0 if keep_every is None else sum(step % keep_every == 0 for step in steps)
    beside = probes * found.probe + saves * found.save
    about = f"{left} steps, {1 / found.step:.3g} a second; {probes} probes and {saves} saves in {duration(beside)}"
    held = f"for the {left} steps that are left" if first else ""
    return Plan(lines, (*started, Price("training", left * found.step + beside, about)), held=held)


def rehearse(training: Training) -> Rehearsed:
    """Goes on with a training for some steps, and saves it elsewhere.

    Raises:
        DiffevalError: if there is no room for a batch.
    """
    with roomy(), tempfile.TemporaryDirectory() as folder:
        for _ in range(WARM):
            training.advance()
        finish(training.device)
        started, done = time.perf_counter(), 0
        while done < FEWEST or (done < MOST and time.perf_counter() - started < LONG * stage.ENOUGH):
            training.advance()
            finish(training.device)
            done += 1
        step = (time.perf_counter() - started) / done
        training.out = Path(folder)
        return Rehearsed(step, _once(training.probe, training.device), _once(training.save, training.device))


def _once(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of something that takes as long as many steps; these have paid for what is paid once."""
    started = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - started
