"""What a check reads and what it finds, and the registry that finds checks."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checkpoints.scheduler_config import SamplingScheduler
from diffeval.checks.made_images import Made
from diffeval.checks.probe import Probe, Reading
from diffeval.checks.real_images import ModelImages, held_out_images, model_images
from diffeval.checks.scan import LEVELS, Scan, scan
from diffeval.data.source import ImageSource
from diffeval.diffusion.guidance import Denoiser
from diffeval.diffusion.sampling import Generator
from diffeval.progress import Reporter, SilentReporter
from diffeval.registry import Registry
from diffeval.runs.records import CheckResult, CheckStatus, Param

Row = Mapping[str, Param]
# Calls of the network, about, by how many images go through it together.
Calls = Mapping[int, float]
# Timesteps that a level is read at, about.
EXPECTED_TIMES = 40
# Beside the network itself, which every check reads: real images; the risk probe's scan, which needs images, too, and
# a network that has learnt something; the log of its training; the configuration that others sample it with, which any
# check can do without.
Reads = Literal["images", "scan", "log", "scheduler", "made"]
# The check behind which all that read the scan are inconclusive.
GATE = "untrained"
# Those that name what may be wrong with a network or its declaration; whatever samples shows that, too.
CAUSES = (GATE, "prediction-type", "noise-schedule", "data-range", "timestep-embedding", "batch-norm")


class Memory(Protocol):
    """Keeps arrays by name, so that what was computed is not computed again: a run's directory."""

    def arrays(self, name: str) -> dict[str, Any] | None:
        """What was kept, or None."""

    def save_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keeps it."""


class Subject:
    """What a check may look at. What several checks need is made once, when the first one asks.

    Args:
        checkpoint: the model.
        generator: how it is sampled, as the user wants it, on its device.
        n: seeds, and real images, that a check may spend.
        source: real images that the checkpoint is held against; None without.
        reporter: hears of progress.
        log: of the training, one mapping per row, with step, loss and gradient_norm; empty without.
        memory: keeps what is expensive; None keeps it in this object alone.
        sampled_by: the scheduler that images are sampled with elsewhere; by default the one beside the weights.
        known: how checks ended that were looked at before.
        offline: whether weights of an extractor may not be fetched.
        made: images that another pipeline made of the checkpoint; None without.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        generator: Generator,
        n: int,
        source: ImageSource | None = None,
        reporter: Reporter | None = None,
        *,
        log: Sequence[Mapping[str, Any]] = (),
        memory: Memory | None = None,
        known: Mapping[str, CheckStatus] | None = None,
        sampled_by: SamplingScheduler | None = None,
        offline: bool = True,
        made: Made | None = None,
    ) -> None:
        self.checkpoint, self.generator, self.n, self.source = checkpoint, generator, n, source
        self.reporter = reporter or SilentReporter()
        self.log, self._memory, self.known = log, memory, known or {}
        self._sampled_by, self.offline, self.made = sampled_by, offline, made
        self._found: dict[str, Finding] = {}

    def with_n(self, n: int) -> "Subject":
        """The same with other seeds and images to spend; what was made of it already is not made anew."""
        other = copy.copy(self)
        other.n = n
        return other

    @property
    def sampled_by(self) -> SamplingScheduler | None:
        """The scheduler that images are sampled with elsewhere, as far as it is known."""
        return self._sampled_by or self.checkpoint.sampled_by

    @cached_property
    def images(self) -> ModelImages | None:
        """Real images as the network takes them, those it was trained on; None without."""
        return None if self.source is None else model_images(self.source, self.checkpoint)

    @cached_property
    def held_out(self) -> ModelImages | None:
        """Real images that it was not trained on; None where none are known."""
        return None if self.source is None else held_out_images(self.source, self.checkpoint, self.reporter)

    @property
    def probe_images(self) -> ModelImages:
        """The real images that the network is probed with: not those it was trained on, where there are others."""
        images = self.held_out or self.images
        assert images is not None, "a check that probes has images"
        return images.first(self.n)

    def probe(self, denoiser: Denoiser | None = None, images: ModelImages | None = None) -> Probe:
        """The risk probe of the network, or of another denoiser, and of its images, or of others."""
        images = images or self.probe_images
        return Probe(
            denoiser or self.checkpoint.denoiser,
            images.x0,
            _told(self.checkpoint, images),
            self.generator.device,
            _most_time(self.checkpoint),
            self.reporter.advance,
        )

    @cached_property
    def scan(self) -> Scan:
        """Risks over noise levels and timesteps; kept, level by level."""
        checkpoint, n = self.checkpoint, min(self.n, len(self.probe_images))
        self.reporter.stage("risk probe", len(LEVELS) * EXPECTED_TIMES * n, "forward passes")
        memory = self._memory

        def name(stage: str, level: float) -> str:
            return f"probe_{n}_{stage}_{level:g}"

        def kept(stage: str, level: float) -> Reading | None:
            held = None if memory is None else memory.arrays(name(stage, level))
            return None if held is None else Reading.from_arrays(level, held)

        def keep(stage: str, reading: Reading) -> None:
            if memory is not None:
                memory.save_arrays(name(stage, reading.log_snr), reading.to_arrays())

        return scan(self.probe(), checkpoint.schedule, checkpoint.prediction, kept=kept, keep=keep)

    def failed(self, name: str) -> bool:
        """Whether a check is known to have failed; it is not looked at for that."""
        held = self._found.get(name)
        return (held.status if held is not None else self.known.get(name)) == "fail"

    def found(self, name: str) -> "Finding":
        """What another check finds, looked at once."""
        if name not in self._found:
            self._found[name] = CHECKS[name].run(self)
        return self._found[name]


def _told(checkpoint: Checkpoint, images: ModelImages) -> torch.Tensor | None:
    """The class of each image as the network takes it; without labels the null class, where there is one."""
    if not checkpoint.classes:
        return None
    if images.labels is None and checkpoint.null_class is not None:
        return torch.full((len(images),), checkpoint.null_class, dtype=torch.int64)
    return images.labels


def _most_time(checkpoint: Checkpoint) -> int | None:
    """The last row of a table that may be one of timesteps: telling a network more could end the process."""
    sizes = [one.num_embeddings for one in checkpoint.network.modules() if isinstance(one, torch.nn.Embedding)]
    tables = [size for size in sizes if size >= checkpoint.schedule.timesteps]
    return min(tables) - 1 if tables else None


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images that a check shows, with what their rows and columns are.

    Attributes:
        images: uint8 [rows, columns, C, H, W].
        rows: what stands in each row.
        columns: what stands in each column.
        sentence: what there is to see.
    """

    images: npt.NDArray[np.uint8]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        status: pass, warn, fail, inconclusive, or not-applicable.
        summary: one sentence: the number and its limit.
        values: the numbers.
        fix: what to change, where something is wrong.
        ruled_out: what was looked at and is not the cause, one phrase each.
        rows: a curve, as a table whose first column is what it is drawn against; empty without one.
        tables: more of them, by name.
        pictures: what to look at; None without.
        proven: whether no other fault can be the cause, as it was seen without reading the network's risks.
    """

    status: CheckStatus
    summary: str
    values: Mapping[str, float] = field(default_factory=dict)
    fix: str = ""
    ruled_out: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    tables: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    pictures: Pictures | None = None
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: in kebab case.
        run: looks, and says what it found.
        about: what it looks at, for ``--list``.
        reads: what it needs beside the network.
        params: its configuration, the keyword-only parameters of ``run``.
        symptom_of: checks whose faults show in this one, too; where one of them fails, this one accuses nobody,
            unless what it found is proven (see ``Finding``).
        lint: the part of ``run`` that reads configurations alone, and so needs nothing; None without.
        calls: of the network, about, beyond what it shares with other checks; none of a check that reads no more.
    """

    name: str
    run: Callable[[Subject], Finding]
    about: str
    reads: tuple[Reads, ...]
    params: Mapping[str, Param]
    symptom_of: tuple[str, ...] = ()
    lint: Callable[[Subject], Finding | None] | None = None
    calls: Callable[[Subject], Calls] = lambda subject: {}


CHECKS: Registry[Check] = Registry("check", "diffeval.checks")


def check(
    name: str,
    *,
    about: str,
    reads: tuple[Reads, ...] = (),
    symptom_of: tuple[str, ...] = (),
    lint: Callable[[Subject], Finding | None] | None = None,
    calls: Callable[[Subject], Calls] = lambda subject: {},
) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Decorator that files a function as a check.

    Args:
        name: in kebab case, as its file.
        about: what it looks at, in one line.
        reads: what it needs beside the network; without that it is not applicable, and is not called.
        symptom_of: checks whose faults show in this one, too.
        lint: what it finds by configuration alone; None where that is nothing. It counts where ``run`` cannot be
            called, and ``run`` calls it, too.
        calls: of the network, about, as ``Check`` has them: what a look is priced by before it is taken.
    """

    def add(run: Callable[..., Finding]) -> Callable[..., Finding]:
        parameters = inspect.signature(run).parameters.values()
        params = {one.name: one.default for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
        CHECKS.register(name)(Check(name, run, about, reads, params, symptom_of, lint, calls))
        return run

    return add


def ordered() -> tuple[str, ...]:
    """All checks: the gate as early as may be, causes before what they show in, else by name."""

    def depth(name: str) -> int:
        return 1 + max((depth(cause) for cause in CHECKS[name].symptom_of if cause in CHECKS), default=-1)

    before = CHECKS[GATE].symptom_of if GATE in CHECKS else ()
    return tuple(sorted(CHECKS, key=lambda name: (name not in before, name != GATE, depth(name), name)))


def _hindrance(one: Check, subject: Subject) -> Finding | None:
    """Why a check cannot be called; None where it can."""
    if {"images", "scan"} & set(one.reads) and subject.source is None:
        return Finding("not-applicable", "needs real images to hold the model against; give --ref")
    if "made" in one.reads and subject.made is None:
        return Finding("not-applicable", "needs images that another pipeline made of the checkpoint; give --made")
    if "log" in one.reads and not subject.log:
        return Finding("not-applicable", "needs the log of the training; give --training-log")
    if "scan" in one.reads and one.name != GATE and subject.found(GATE).status == "fail":
        return Finding("inconclusive", f"the network has learnt nothing that could be read (see {GATE})")
    return None


def look(name: str, subject: Subject) -> tuple[CheckResult, Finding]:
    """Runs a check; one that lacks what it reads is not applicable, and says what is missing."""
    one = CHECKS[name]
    finding = _hindrance(one, subject)
    if finding is None:
        finding = subject.found(name)
    elif one.lint is not None:
        finding = one.lint(subject) or finding
    cause = next((other for other in one.symptom_of if subject.failed(other)), None)
    if cause is not None and finding.status in ("fail", "warn") and not finding.proven:
        told = f"{finding.summary}; {cause} fails, and does this to it"
        finding = replace(finding, status="inconclusive", summary=told, fix="")
    result = CheckResult(
        name=name,
        status=finding.status,
        summary=finding.summary,
        values=finding.values,
        params=one.params,
        fix=finding.fix,
        ruled_out=finding.ruled_out,
    )
    return result, finding
