"""The records that results are made of: frozen, typed, and the same in Python as in the JSON.

A number is never alone. A ``Score`` carries its error, the number of images behind it, which direction is better and
every parameter that shaped it; one that could not be computed carries the reason instead of a value.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Param = str | int | float | bool | None

# What stays of a run's images once its results exist.
Keep = Literal["images", "features", "none"]

CheckStatus = Literal["pass", "warn", "fail", "inconclusive", "not-applicable"]


@dataclass(frozen=True, slots=True)
class Null:
    """What the same score reads where nothing is wrong: real images against the reference, at ``n`` images."""

    value: float
    std_error: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Score:
    """One number about the generated images.

    Attributes:
        name: in snake case, e.g. ``fid_debiased``.
        value: the number; None if it could not be computed, and then ``params["error"]`` says why.
        std_error: its standard error, None where the method gives none.
        ci95: a 95% confidence interval of the estimand, None where the estimator aims at something else.
        n: the number of generated images it was computed from.
        null: the same score for real images, where one is known.
        higher_is_better: the direction.
        params: w, sampler, steps, extractor, the metric's own parameters, and marks such as ``biased``.
    """

    name: str
    value: float | None
    std_error: float | None
    ci95: tuple[float, float] | None
    n: int
    null: Null | None
    higher_is_better: bool
    params: Mapping[str, Param] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A number that is not one must never travel as one."""
        numbers = [self.value, self.std_error, *(self.ci95 or ())]
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise ValueError(f"score {self.name}: {numbers} is not finite; report an error instead")
        if self.value is None and "error" not in self.params:
            raise ValueError(f"score {self.name}: without a value it needs params['error']")

    @property
    def error(self) -> str | None:
        """Why there is no value, or None."""
        reason = self.params.get("error")
        return None if reason is None else str(reason)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one health check.

    Attributes:
        name: in kebab case, e.g. ``noise-schedule``.
        status: how it ended.
        summary: one sentence with the number and its limit.
        values: the numbers.
        params: its configuration.
        fix: what to change, where something is wrong.
        ruled_out: what was looked at and is not the cause, one phrase each.
    """

    name: str
    status: CheckStatus
    summary: str
    values: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Param] = field(default_factory=dict)
    fix: str = ""
    ruled_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """A number that is not one must never travel as one."""
        bad = [name for name, value in self.values.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(f"check {self.name}: {', '.join(bad)} is not finite; leave it out and say so")


@dataclass(frozen=True, slots=True)
class Protocol:
    """The settings and data that define the quantity estimated; two numbers compare only where these agree.

    Attributes:
        task: what is measured, e.g. ``fid`` or ``sample``.
        sampler: name of the sampler, e.g. ``ddim``; this and what follows is None for ready-made images.
        sampler_config: its full configuration; the noise schedule itself is the checkpoint's.
        steps: sampling steps.
        w: guidance scale in eps_uncond + w (eps_cond - eps_uncond); None for an unconditional model.
        labels: how condition i is chosen.
        rounding: how float pixels become uint8.
        dtype: of the network while sampling.
        extractor: name of the feature extractor, with the hash of its weights; None where no features are made.
        resize: how images reach the extractor's size.
        reference: the reference and its split, e.g. ``digits@train``.
        reference_hash: sha256 over the reference's images, or over its moments.
        interval: noise levels at which guidance acts; None for all.
        rescale: phi of guidance rescaling; None for none.
        sampling_scheduler: class and sha256 of the configuration that a check holds against the training's schedule,
            where the user names one; else None.
        judge: the extractor that reads the prompts, with the hash of its weights; None without prompts.
        prompts: sha256 over the prompts, in their template, and how images were paired with them.
        template: that the prompts were put in.
        clip_scale: of the CLIP score.
    """

    task: str
    sampler: str | None
    sampler_config: Mapping[str, Any]
    steps: int | None
    w: float | None
    labels: str
    rounding: str | None
    dtype: str | None
    extractor: str | None = None
    resize: str | None = None
    reference: str | None = None
    reference_hash: str | None = None
    interval: tuple[float, float] | None = None
    rescale: float | None = None
    sampling_scheduler: str | None = None
    judge: str | None = None
    prompts: str | None = None
    template: str | None = None
    clip_scale: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the numbers come from: what may differ between two runs of one protocol.

    Attributes:
        checkpoint: the name the user gave.
        checkpoint_path: where it lay.
        checkpoint_sha256: over its files.
        seed: keys the noise of every image.
        n: images the scores stand on.
        batch: images per network call, as last used.
        device: as torch names it, with the hardware's own name.
        threads: CPU threads of torch.
        versions: of diffeval and the libraries that touch the numbers.
        git: commit of the working directory, with ``+dirty`` where it has changes; None outside a repository.
        host: machine and operating system.
        command: as typed.
        started: UTC, ISO 8601.
        seconds: wall time per stage, summed over continued runs.
        training_step: optimiser steps behind the weights, where the checkpoint says so.
        compiled: whether the network was compiled: its images then agree to rounding with those of one that was not.
        ranks: processes that shared the images; the most, where sessions of the run had different numbers.
    """

    checkpoint: str
    checkpoint_path: str
    checkpoint_sha256: str
    seed: int
    n: int
    batch: int
    device: str
    threads: int
    versions: Mapping[str, str]
    git: str | None
    host: str
    command: tuple[str, ...]
    started: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    training_step: int | None = None
    compiled: bool = False
    ranks: int = 1


@dataclass(frozen=True, slots=True)
class Results:
    """Everything a run has found: what ``--json`` prints and ``results.json`` holds."""

    run: str
    protocol: Protocol
    provenance: Provenance
    scores: tuple[Score, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    tables: Mapping[str, tuple[Mapping[str, Param], ...]] = field(default_factory=dict)
    choices: Mapping[str, Param] = field(default_factory=dict)
    verdict: Mapping[str, Param] | None = None
    warnings: tuple[str, ...] = ()

    def score(self, name: str, n: int | None = None) -> Score:
        """The score called ``name`` at ``n`` images, or at the largest count.

        Raises:
            KeyError: if there is none.
        """
        found = [score for score in self.scores if score.name == name and n in (None, score.n)]
        if not found:
            raise KeyError(f"no score {name!r}" + (f" at n={n}" if n is not None else ""))
        return max(found, key=lambda score: score.n)
