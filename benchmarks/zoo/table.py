"""The trainings: one factor varied at a time around a base, and one planted fault at a time."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffeval.checkpoints.options import LoadOptions
from diffeval.diffusion.prediction import PredictionType

NETWORKS = Path(__file__).with_name("networks.py")
UNIT = (-1.0, 1.0)

DataName = Literal["digits", "mnist"]
# How the average begins: with diffusers' warm-up, at its full decay, or it is never updated.
EmaStart = Literal["warm-up", "full", "never"]
# The timestep t as the network is told it in training: t, T - 1 - t, or its number among every 20th.
Told = Literal["index", "reversed", "respaced"]
RESPACING = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A training.

    Attributes:
        name: of its folder. Its averaged and raw weights are one cluster.
        network: factory in ``networks.py``.
        fault: what is planted; None for a healthy one.
        check: the check that must find it.
        time_agnostic: the network is declared to take no time.
        early: stopped at a tenth; nothing has to be known of it yet.
        data: what it is trained on.
        prediction: what the network predicts.
        schedule: diffusers' name, or ``karras`` for EDM's grid.
        timesteps: T.
        zero_snr: rescaled to zero terminal SNR.
        trained_range: that pixels were mapped to in training.
        declared_range: what is said of that.
        drop_condition: probability of training an image without its class; None without classes.
        shuffled: labels are exchanged among the images of every batch.
        told: how the network is told t.
        least_timestep: none below it is trained.
        one_timestep: every batch has a timestep of its own, the same for all its images.
        images: how many there are to train on; None for all.
        ema: decay of the weight average.
        ema_start: how the average begins.
        lr: peak learning rate, behind a warm-up, falling as a cosine to the last step.
        steps: that the learning rate is planned for.
        stop: the step at which training ends; None for the last.
        batch: images per step.
        seed: of initial weights, order of images, noise and timesteps.
    """

    name: str
    network: str = "unet"
    fault: str | None = None
    check: str | None = None
    time_agnostic: bool = False
    early: bool = False
    data: DataName = "digits"
    prediction: PredictionType = "epsilon"
    schedule: str = "squaredcos_cap_v2"
    timesteps: int = 1000
    zero_snr: bool = False
    trained_range: tuple[float, float] = UNIT
    declared_range: tuple[float, float] = UNIT
    drop_condition: float | None = 0.1
    shuffled: bool = False
    told: Told = "index"
    least_timestep: int = 0
    one_timestep: bool = False
    images: int | None = None
    ema: float = 0.995
    ema_start: EmaStart = "warm-up"
    lr: float = 2e-3
    steps: int = 1200
    stop: int | None = None
    batch: int = 128
    seed: int = 0

    @property
    def healthy(self) -> bool:
        """Whether nothing is planted."""
        return self.fault is None

    @property
    def last_step(self) -> int:
        """Optimiser steps in all."""
        return self.stop or self.steps

    def options(self, *, raw: bool = False) -> LoadOptions:
        """What is declared of the trained network, right or wrong; the rest its factory declares."""
        # Preconditioning, which the factory declares, says what is predicted and on which grid.
        edm = self.schedule == "karras"
        return LoadOptions(
            model=f"{NETWORKS}:{self.network}",
            raw=True if raw else None,
            schedule=None if edm else self.schedule,
            timesteps=self.timesteps,
            zero_snr=True if self.zero_snr else None,
            prediction=None if edm else self.prediction,
            value_range=self.declared_range,
            time="none" if self.time_agnostic else None,
        )


PREDICTIONS: dict[str, PredictionType] = {"epsilon": "epsilon", "sample": "sample", "v": "v_prediction"}
SCHEDULES = {
    "linear": "linear",
    "scaled-linear": "scaled_linear",
    "cosine": "squaredcos_cap_v2",
    "sigmoid": "sigmoid",
}
BASE = Entry("unet-epsilon-cosine")
# Narrower networks take a half of the U-Net's time per step.
LONGER = 1600


def _healthy() -> list[Entry]:
    entries = [
        Entry(f"unet-{prediction}-{schedule}", prediction=PREDICTIONS[prediction], schedule=SCHEDULES[schedule])
        for prediction in PREDICTIONS
        for schedule in SCHEDULES
    ]
    entries += [
        Entry(f"unet-v-{name}-zero-snr", prediction="v_prediction", schedule=SCHEDULES[name], zero_snr=True)
        for name in ("cosine", "linear")
    ]
    entries += [Entry(f"unet-timesteps-{count}", timesteps=count) for count in (100, 250, 4000)]
    entries += [
        Entry("dit", "dit"),
        Entry("batchnorm", "batchnorm_unet"),
        Entry("cnn", "cnn", steps=LONGER),
        Entry("cnn-table", "cnn_table", steps=LONGER),
        Entry("cnn-fourier", "cnn_fourier", steps=LONGER),
        Entry("cnn-edm", "cnn_edm", prediction="sample", schedule="karras", steps=LONGER),
        Entry("unet-fraction", "unet_fraction"),
        Entry("dit-v-linear", "dit", prediction="v_prediction", schedule="linear"),
        Entry("batchnorm-v-linear", "batchnorm_unet", prediction="v_prediction", schedule="linear"),
        Entry("cnn-v-linear", "cnn", prediction="v_prediction", schedule="linear", steps=LONGER),
    ]
    entries += [Entry(f"unet-seed-{seed}", seed=seed) for seed in (1, 2, 3)]
    entries += [Entry(f"unet-drop-{share}", drop_condition=share) for share in (0.05, 0.3)]
    return [
        *entries,
        Entry("unet-unconditional", "unet_unconditional", drop_condition=None),
        Entry("unet-range-unit", trained_range=(0.0, 1.0), declared_range=(0.0, 1.0)),
        Entry("cnn-timeless", "cnn_timeless", time_agnostic=True, steps=LONGER),
        Entry("unet-early", early=True, stop=BASE.steps // 10, seed=4),
        Entry("unet-long", steps=2 * BASE.steps, seed=5),
    ]


def _on_both(fault: str, check: str, first: Entry, second: Entry) -> list[Entry]:
    """A fault on two networks or prediction types, named after both."""
    return [dataclasses.replace(one, name=f"{fault}-{one.name}", fault=fault, check=check) for one in (first, second)]


def _unets(**changes: object) -> tuple[Entry, Entry]:
    """The same change in a U-Net that predicts noise and in one that predicts velocity."""
    first = dataclasses.replace(BASE, name="unet", **changes)  # type: ignore[arg-type]
    return first, dataclasses.replace(first, name="unet-v", prediction="v_prediction")


def _unet_and(network: str, **changes: object) -> tuple[Entry, Entry]:
    """The same change in a U-Net and in another network, both of the base's recipe."""
    steps = LONGER if network.startswith("cnn") else BASE.steps
    first = dataclasses.replace(BASE, name="unet", **changes)  # type: ignore[arg-type]
    return first, dataclasses.replace(first, name=network.replace("_", "-"), network=network, steps=steps)


def _by_network(network: str, **changes: object) -> tuple[Entry, Entry]:
    """A network that cannot do better, as a predictor of noise and of velocity."""
    first = dataclasses.replace(BASE, name="epsilon", network=network, **changes)  # type: ignore[arg-type]
    return first, dataclasses.replace(first, name="v", prediction="v_prediction")


def _faulty() -> list[Entry]:
    half, unit = (-0.5, 0.5), (0.0, 1.0)
    silent = dataclasses.replace(BASE, name="unet", network="unet_silent")
    slow = {"ema": 0.9999, "ema_start": "full"}
    overfit_unet, overfit_cnn = _unet_and("cnn", images=100)
    return [
        *_on_both(
            "silent-embedding",
            "timestep-embedding",
            silent,
            Entry("cnn", "cnn_silent", steps=LONGER),
        ),
        *_on_both("range-half", "data-range", *_unet_and("cnn", trained_range=half)),
        *_on_both("range-unit", "data-range", *_unets(trained_range=unit)),
        *_on_both("null-untrained", "guidance-branch", *_unet_and("cnn", drop_condition=0.0)),
        *_on_both("condition-ignored", "guidance-branch", *_unet_and("dit", shuffled=True)),
        *_on_both("ema-too-slow", "ema", *_unet_and("cnn", **slow)),
        *_on_both("ema-never-updated", "ema", *_unets(ema_start="never")),
        # A sinusoid is continued smoothly to what was not trained, the rows of a table are not.
        *_on_both(
            "low-timesteps-untrained", "loss-profile", *_unet_and("cnn_table", schedule="linear", least_timestep=100)
        ),
        *_on_both("short-linear", "terminal-snr", *_unets(schedule="linear", timesteps=200)),
        *_on_both("affine", "loss-profile", *_by_network("affine", drop_condition=None, steps=4000)),
        *_on_both("near-sighted", "receptive-field", *_by_network("cnn_near", steps=LONGER)),
        *_on_both(
            "overfit",
            "memorization",
            dataclasses.replace(overfit_unet, steps=2000),
            dataclasses.replace(overfit_cnn, steps=3000),
        ),
        # Running statistics of the last two or three noise levels are nobody else's.
        *_on_both(
            "hasty-batchnorm",
            "batch-norm",
            *_by_network("batchnorm_unet_hasty", batch=8, one_timestep=True, steps=4000, lr=1e-3),
        ),
        *_on_both("index-reversed", "noise-schedule", *_unet_and("cnn", told="reversed")),
        *_on_both("index-respaced", "noise-schedule", *_unet_and("dit", told="respaced")),
    ]


def _mnist() -> list[Entry]:
    base = Entry("mnist-epsilon-cosine", "mnist_unet", data="mnist", batch=64)
    return [
        base,
        dataclasses.replace(base, name="mnist-v-linear", prediction="v_prediction", schedule="linear"),
        dataclasses.replace(base, name="mnist-sample-scaled-linear", prediction="sample", schedule="scaled_linear"),
        dataclasses.replace(
            base,
            name="mnist-silent-embedding",
            network="mnist_unet_silent",
            fault="silent-embedding",
            check="timestep-embedding",
        ),
        dataclasses.replace(
            base, name="mnist-range-half", fault="range-half", check="data-range", trained_range=(-0.5, 0.5)
        ),
        dataclasses.replace(
            base, name="mnist-null-untrained", fault="null-untrained", check="guidance-branch", drop_condition=0.0
        ),
    ]


ENTRIES: tuple[Entry, ...] = (*_healthy(), *_faulty(), *_mnist())
