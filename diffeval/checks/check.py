"""What a check reads and what it finds, and the registry that finds checks."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from diffeval.checkpoints.checkpoint import Checkpoint
from diffeval.checks.real_images import ModelImages, held_out_images, model_images
from diffeval.data.source import ImageSource
from diffeval.diffusion.sampling import Generator
from diffeval.progress import Reporter, SilentReporter
from diffeval.registry import Registry
from diffeval.runs.records import CheckResult, CheckStatus, Param

Row = Mapping[str, Param]
# Beside the network itself, which every check reads.
Reads = Literal["images"]


class Subject:
    """What a check may look at. What several checks need is made once, when the first one asks.

    Args:
        checkpoint: the model.
        generator: how it is sampled, as the user wants it, on its device.
        n: seeds, and real images, that a check may spend.
        source: real images that the checkpoint is held against; None without.
        reporter: hears of progress.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        generator: Generator,
        n: int,
        source: ImageSource | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.checkpoint, self.generator, self.n, self.source = checkpoint, generator, n, source
        self.reporter = reporter or SilentReporter()

    @cached_property
    def images(self) -> ModelImages | None:
        """Real images as the network takes them, those it was trained on; None without."""
        return None if self.source is None else model_images(self.source, self.checkpoint)

    @cached_property
    def held_out(self) -> ModelImages | None:
        """Real images that it was not trained on; None where none are known."""
        return None if self.source is None else held_out_images(self.source, self.checkpoint, self.reporter)


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
        pictures: what to look at; None without.
    """

    status: CheckStatus
    summary: str
    values: Mapping[str, float] = field(default_factory=dict)
    fix: str = ""
    ruled_out: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    pictures: Pictures | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: in kebab case.
        run: looks, and says what it found.
        about: what it looks at, for ``--list``.
        reads: what it needs beside the network.
        params: its configuration, the keyword-only parameters of ``run``.
    """

    name: str
    run: Callable[[Subject], Finding]
    about: str
    reads: tuple[Reads, ...]
    params: Mapping[str, Param]


CHECKS: Registry[Check] = Registry("check", "diffeval.checks")


def check(
    name: str, *, about: str, reads: tuple[Reads, ...] = ()
) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Decorator that files a function as a check.

    Args:
        name: in kebab case, as its file.
        about: what it looks at, in one line.
        reads: what it needs beside the network; without that it is not applicable, and is not called.
    """

    def add(run: Callable[..., Finding]) -> Callable[..., Finding]:
        parameters = inspect.signature(run).parameters.values()
        params = {one.name: one.default for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
        CHECKS.register(name)(Check(name, run, about, reads, params))
        return run

    return add


def look(name: str, subject: Subject) -> tuple[CheckResult, Finding]:
    """Runs a check; one that lacks what it reads is not applicable, and says what is missing."""
    one = CHECKS[name]
    if "images" in one.reads and subject.source is None:
        finding = Finding("not-applicable", "needs real images to hold the model against; give --ref")
    else:
        finding = one.run(subject)
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
