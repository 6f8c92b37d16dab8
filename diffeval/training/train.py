"""The training loop."""

import copy
import dataclasses
import math
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel

from diffeval.checkpoints.card import Card, DeclaredSampler
from diffeval.data.pixels import InMemory
from diffeval.data.source import ImageSource, absolute
from diffeval.diffusion.batching import is_out_of_memory, pick_device
from diffeval.errors import DiffevalError, StoppedError
from diffeval.progress import Reporter, SilentReporter
from diffeval.runs import provenance
from diffeval.runs.directory import RunDirectory, RunState
from diffeval.runs.logs import append_log, cut_log
from diffeval.training.batches import Batches
from diffeval.training.losses import BUCKETS, Objective, gradient_norm, probe, require_finite
from diffeval.training.recipe import Preset, Recipe, make_network, preset_for
from diffeval.training.state import (
    LOG,
    PROBE_LOG,
    STATE,
    load_state,
    save_checkpoint,
    save_state,
)

PROBE_EVERY = 200
# Where checkpoints of single steps are kept.
KEPT = "steps"
PROBE_IMAGES = 32
# Steps of the sampler that a checkpoint trained here declares: few where images are tiny, and a divisor of T.
SMALL_IMAGE, FEW_STEPS, USUAL_STEPS = 16, 10, 50


class Training:
    """A DDPM in training: network, average, optimiser, and the step they are at."""

    def __init__(self, source: ImageSource, recipe: Recipe, out: Path, device: torch.device) -> None:
        recipe.check()
        self.source, self.recipe, self.out, self.device = source, recipe, out, device
        self.conditional = recipe.conditional and source.labels is not None
        classes = len(source.classes) if self.conditional else 0
        preset = preset_for(source.shape[1], recipe.preset)
        self.network = self._initialised(preset, classes).to(device).train()
        self.average = EMAModel(self.network.parameters(), decay=recipe.ema, foreach=True)
        self.average.to(device)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=recipe.lr, weight_decay=0.0)
        self.scheduler = DDPMScheduler(
            num_train_timesteps=recipe.timesteps,
            beta_schedule=recipe.schedule,
            prediction_type=recipe.prediction,
            rescale_betas_zero_snr=recipe.zero_snr,
            timestep_spacing="trailing",
        )
        self.objective = Objective(self.scheduler, recipe.prediction, device, recipe.dtype)
        self.batches = Batches(
            source, recipe.seed, recipe.batch, recipe.timesteps, recipe.drop_condition, self.conditional
        )
        self.step = 0
        self.recent_norms: deque[float] = deque(maxlen=50)

    def _initialised(self, preset: Preset, classes: int) -> UNet2DModel:
        """Initial weights from the recipe's seed; torch initialises from its global state, which is put back."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            return make_network(preset, self.source.shape, classes)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then the recipe's schedule."""
        recipe = self.recipe
        warm = min(1.0, (step + 1) / max(1, recipe.warmup))
        if recipe.lr_schedule == "constant":
            return recipe.lr * warm
        return recipe.lr * warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))

    def advance(self) -> dict[str, float | int]:
        """One optimiser step; the row that the log keeps of it.

        Raises:
            DiffevalError: if loss or gradient stop being finite.
        """
        batch = self.batches.at(self.step).to(self.device)
        rate = self.learning_rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        errors = self.objective.per_image(self.network, batch)
        loss = errors.mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = gradient_norm(self.network)
        self.recent_norms.append(norm)
        require_finite(self.step + 1, errors.detach(), batch, self.recipe.timesteps, norm, self._recent)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.average.step(self.network.parameters())
        self.step += 1
        return {"step": self.step, "loss": float(loss.detach()), "gradient_norm": norm, "lr": rate}

    def _recent(self) -> str:
        finite = [norm for norm in self.recent_norms if math.isfinite(norm)]
        reached = f"gradient norms reached {max(finite):.3g} just before" if finite else "from the first step on"
        return f"{reached}, learning rate {self.recipe.lr:g}"

    def probe(self) -> dict[str, object]:
        """Loss and gradient norm by timestep bucket on the fixed probe batch."""
        batch = self.batches.probe(BUCKETS, PROBE_IMAGES).to(self.device)
        losses, norms = probe(self.network, self.objective, batch)
        return {"step": self.step, "loss": losses, "gradient_norm": norms}

    def keep(self) -> None:
        """Writes the checkpoint of this step into a folder of its own, where it stays."""
        self._write(self.out / KEPT / f"{self.step:06d}")

    def _write(self, folder: Path) -> None:
        averaged = copy.deepcopy(self.network)
        self.average.copy_to(averaged.parameters())
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder, self.network, averaged, self.scheduler, self._card())

    def save(self) -> None:
        """Writes the state, then the checkpoint that belongs to it.

        In this order, so that whatever comes between leaves a training that ``--resume`` can continue.
        """
        save_state(
            self.out,
            {
                "step": self.step,
                "recipe": asdict(self.recipe),
                "version": provenance.own_version(),
                "data_hash": self.source.content_hash(),
                "network": self.network.state_dict(),
                "average": [parameter.clone() for parameter in self.average.shadow_params],
                "average_step": self.average.optimization_step,
                "optimiser": self.optimiser.state_dict(),
            },
        )
        self._write(self.out)

    def restore(self) -> None:
        """Goes on where ``save`` left off.

        Raises:
            DiffevalError: if there is nothing, or it is a run of another recipe or other data.
        """
        state = load_state(self.out, self.device)
        if state is None:
            raise DiffevalError(f"train: {self.out} holds no state to resume; leave --resume out")
        if state.get("version") != provenance.own_version():
            made, now = state.get("version"), provenance.own_version()
            raise DiffevalError(f"train: {self.out} was made by diffeval {made}, this is {now}; train anew elsewhere")
        reason = self.recipe.differs_from(Recipe(**state["recipe"]))
        if reason is None and state["data_hash"] != self.source.content_hash():
            reason = "the images are others"
        if reason is not None:
            raise DiffevalError(f"train: cannot resume {self.out}: {reason}; give the same options, or another --out")
        self.network.load_state_dict(state["network"])
        for shadow, kept in zip(self.average.shadow_params, state["average"], strict=True):
            shadow.copy_(kept)
        self.average.optimization_step = state["average_step"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def _card(self) -> Card:
        recipe, classes = self.recipe, self.source.classes if self.conditional else ()
        steps = FEW_STEPS if self.source.shape[1] <= SMALL_IMAGE else USUAL_STEPS
        while recipe.timesteps % steps:
            steps -= 1
        return Card(
            schema="diffeval.checkpoint/1",
            data=f"{absolute(self.source.name)}@{self.source.split}",
            data_hash=self.source.content_hash(),
            schedule=recipe.schedule,
            zero_snr=recipe.zero_snr,
            timesteps=recipe.timesteps,
            prediction=recipe.prediction,
            classes=classes,
            null_class=len(classes) if classes and recipe.drop_condition > 0 else None,
            drop_condition=recipe.drop_condition if classes else 0.0,
            ema_decay=recipe.ema,
            step=self.step,
            sampler=DeclaredSampler(name="ddim", steps=steps),
            provenance={"versions": provenance.versions(), "git": provenance.git_commit(), "recipe": asdict(recipe)},
        )


def train(
    source: ImageSource,
    recipe: Recipe,
    out: Path,
    *,
    device: str = "auto",
    save_every: int = 500,
    keep_every: int | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> RunDirectory:
    """Trains a DDPM into ``out``, which becomes a diffusers folder and a run.

    A continued run has the losses of an unbroken one, step by step, on the same hardware. With ``keep_every`` the
    checkpoints of those steps stay, in ``steps/`` under ``out``, each a diffusers folder by itself.

    Raises:
        DiffevalError: for an impossible recipe, images that are not square or not of one size, a folder in use, or a
            loss that is not finite.
        StoppedError: when the reporter asked to stop; ``resume`` continues.
    """
    reporter = reporter or SilentReporter()
    recipe.check()
    if save_every < 1:
        raise DiffevalError(f"train: --save-every is {save_every}, needs at least 1")
    if keep_every is not None and keep_every < 1:
        raise DiffevalError(f"train: --keep-every is {keep_every}, needs at least 1")
    source = at_hand(source, reporter)
    run = RunDirectory(out)
    run.lock()
    try:
        check_folder(run, resume)
        training = Training(source, recipe, out, pick_device(device))
        if resume:
            training.restore()
        for name in (LOG, PROBE_LOG):
            cut_log(out / name, training.step if resume else -1)
        before = run.state() if resume else None
        seconds = before.seconds if before is not None else {}
        run.save_state(dataclasses.replace(_state(source, recipe, "running"), seconds=seconds))
        _loop(training, run, save_every, keep_every, reporter)
        run.update(status="done", warnings=tuple(getattr(reporter, "warnings", ())))
    except (StoppedError, KeyboardInterrupt):
        _mark(run, "stopped")
        raise
    except BaseException as error:
        _mark(run, "failed")
        if is_out_of_memory(error):
            raise DiffevalError(
                f"train: out of memory with a batch of {recipe.batch}; give a smaller --batch or --preset"
            ) from error
        raise
    finally:
        run.release()
    return run


def at_hand(source: ImageSource, reporter: Reporter) -> ImageSource:
    """The training images, decoded once where they fit into memory.

    Raises:
        DiffevalError: if they are not of one size, or not square.
    """
    _, height, width = source.shape
    if height != width:
        raise DiffevalError(f"train: {source.spec} holds images of {height} x {width}; crop them to squares first")
    held = source.in_memory()
    if not isinstance(held.pixels, InMemory):
        reporter.note(f"{source.spec}: too large for memory when decoded; images are read anew for every batch")
    return held


# What only a training run or a checkpoint has; a folder that holds any of it is not overwritten.
_TAKEN = ("unet", "unet_raw", "scheduler", "diffeval.json", "run.json", STATE, KEPT)


def check_folder(run: RunDirectory, resume: bool) -> None:
    """Refuses a folder that holds something else, or nothing to resume."""
    held = [name for name in _TAKEN if (run.path / name).exists()]
    state = run.state()
    if resume and (state is None or state.task != "train" or STATE not in held):
        raise DiffevalError(f"train: {run.path} holds no training run to resume; leave --resume out")
    if not resume and STATE in held:
        raise DiffevalError(
            f"train: {run.path} holds a training run already; give --resume to continue it, or another --out"
        )
    # A training that ended before its first save leaves a run.json and a log, and nothing worth keeping.
    unsaved = held == ["run.json"] and state is not None and state.task == "train"
    if not resume and held and not unsaved:
        raise DiffevalError(f"train: {run.path} holds {', '.join(held)} already; give another --out")


def _state(source: ImageSource, recipe: Recipe, status: str) -> RunState:
    return RunState(
        task="train",
        status=status,  # type: ignore[arg-type]
        version=provenance.own_version(),
        checkpoint_sha256=source.content_hash(),
        seed=recipe.seed,
        n=recipe.steps,
        batch=recipe.batch,
        chunk=1,
        protocol=None,
        started=provenance.now(),
    )


def _mark(run: RunDirectory, status: str) -> None:
    state = run.state()
    if state is not None and state.status == "running":
        run.save_state(dataclasses.replace(state, status=status))  # type: ignore[arg-type]


def _loop(training: Training, run: RunDirectory, save_every: int, keep_every: int | None, reporter: Reporter) -> None:
    """Steps until the recipe's end, or until asked to stop between two steps; whatever ends it, the log has it.

    A Ctrl-C that no handler turned into a request may strike in the middle of a step. What is in memory is then not
    trusted; the run falls back to its last save.
    """
    recipe, out = training.recipe, training.out
    started = time.monotonic()
    rows: list[dict[str, float | int]] = []
    if training.step == 0:
        append_log(out / PROBE_LOG, [training.probe()])
    reporter.stage("training", recipe.steps, "steps", training.step)
    try:
        while training.step < recipe.steps and not reporter.stop_requested:
            rows.append(training.advance())
            reporter.advance(1, f"loss {rows[-1]['loss']:.4f}")
            if training.step % PROBE_EVERY == 0:
                append_log(out / PROBE_LOG, [training.probe()])
            if keep_every is not None and training.step % keep_every == 0:
                training.keep()
            if training.step % save_every == 0:
                append_log(out / LOG, rows)
                rows.clear()
                training.save()
        training.save()
    finally:
        append_log(out / LOG, rows)
        state = run.state()
        if state is not None:
            seconds = state.seconds.get("training", 0.0) + time.monotonic() - started
            run.update(seconds={**state.seconds, "training": seconds})
    if training.step < recipe.steps:
        raise StoppedError(f"train: stopped at step {training.step} of {recipe.steps}; add --resume to continue")
