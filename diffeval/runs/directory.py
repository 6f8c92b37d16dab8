"""The run directory: one folder that holds a run whole, can be moved, and continues where it was stopped.

::

    run.json        status, protocol, who made it, where it stands
    results.json    scores with their errors (see document.py)
    terms.npz       per-seed terms and leave-group-out values, for paired comparison without torch
    grid.npz        the first images, uncurated, with their labels
    *_pictures.npz  images that were chosen by a rule: see ``diffeval.sample_pictures``
    feature_map.npz features of both sides along two axes, counted in bins
    images/         uint8 images by chunk (with --keep images)
    features/ID/    features by extractor and chunk (unless --keep none)
    report.html     the page
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from diffeval.errors import DiffevalError
from diffeval.runs.document import plain, read_results, results_document, to_json
from diffeval.runs.files import read_arrays, replace_arrays, replace_text, require_writable
from diffeval.runs.paths import regular
from diffeval.runs.protocol import fingerprint
from diffeval.runs.provenance import own_version
from diffeval.runs.records import Protocol, Results
from diffeval.runs.seal import require_whole, sealed
from diffeval.runs.typed import record

SCHEMA = "diffeval.run/1"

Status = Literal["running", "stopped", "failed", "done"]


@dataclass(frozen=True, slots=True)
class RunState:
    """What ``run.json`` says: enough to continue the run, or to refuse to.

    Attributes:
        task: what the run does, e.g. ``fid`` or ``train``.
        status: where it stands.
        version: of the diffeval that made it.
        checkpoint_sha256: of the checkpoint that is measured, or of the data that is trained on.
        seed: of the run.
        n: images asked for, or optimiser steps.
        batch: images per network call.
        chunk: image indices per chunk file.
        protocol: of what is measured; None for training.
        shard: which of how many parts of the images it holds, from 1; None for all.
        seconds: wall time per stage so far, over all continuations.
        warnings: what a reader must know.
        started: UTC, ISO 8601.
        compiled: whether its images are made by a compiled network; None before the first.
        ranks: processes that have shared its images, the most of any session.
    """

    task: str
    status: Status
    version: str
    checkpoint_sha256: str
    seed: int
    n: int
    batch: int
    chunk: int
    protocol: Protocol | None
    started: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    compiled: bool | None = None
    ranks: int = 1


# What lies in a run's directory beside its folders.
OWN_FILES = (
    "run.json", "results.json", "terms.npz", "grid.npz", "report.html", "samples.npz", "sweep.csv", "matrix.npz",
    "feature_map.npz", "sample_pictures.npz", "mode_pictures.npz", "prompt_pictures.npz", "prompts.csv",
)  # fmt: skip


def default_name(checkpoint: str, sha256: str, task: str, seed: int, protocol: Protocol) -> str:
    """Folder name of a run: the same command finds the same folder; neither the time nor n is part of it."""
    stem = re.sub(r"[^A-Za-z0-9_.]+", "-", Path(checkpoint).name or checkpoint).strip("-.") or "checkpoint"
    return f"{stem}-{sha256[:8]}-{task}-s{seed}-{fingerprint(protocol)}"


class RunDirectory:
    """Reads and writes one run directory.

    Args:
        path: of it.
        follows: whether another process, rank 0, holds it and writes its state; per-image arrays are written by all.
    """

    def __init__(self, path: Path | str, *, follows: bool = False) -> None:
        self.path, self.follows = Path(path), follows
        self._lock: FileLock | None = None

    @property
    def results_path(self) -> Path:
        """The results document."""
        return self.path / "results.json"

    def lock(self) -> None:
        """Takes the directory for this process until it ends; a killed process leaves no lock behind.

        Raises:
            DiffevalError: if it cannot be written, or another process holds it.
        """
        if self.follows:
            return
        require_writable(self.path)
        self._lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise DiffevalError(
                f"run: another process is working on {self.path}; wait for it, or choose another --out"
            ) from error

    def release(self) -> None:
        """Gives the directory back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def clear(self) -> None:
        """Removes what an earlier run left here; files that are not a run's own stay."""
        for name in OWN_FILES:
            (self.path / name).unlink(missing_ok=True)
        for pattern in (
            "images/*.npz",
            "features/*/*.npz",
            "left_out_*.npz",
            "pictures_*.npz",
            "png/*.png",
            "png/labels.csv",
            "png/dataset.json",
        ):
            for path in self.path.glob(pattern):
                path.unlink()

    def state(self) -> RunState | None:
        """What ``run.json`` says, or None where there is none.

        Raises:
            DiffevalError: if the file is damaged or of another schema.
        """
        path = self.path / "run.json"
        if not path.exists():
            return None
        try:
            data = json.loads(regular(path).read_text(encoding="utf-8"))
            if data.pop("schema") != SCHEMA:
                raise ValueError(f"its schema is not {SCHEMA}")
            return record(RunState, data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DiffevalError(f"run: cannot read {path}: {error}; remove the folder or give --fresh") from error

    def save_state(self, state: RunState) -> None:
        """Replaces ``run.json``, unless that is for another process."""
        if self.follows:
            return
        replace_text(self.path / "run.json", to_json({"schema": SCHEMA, **plain(state)}))

    def update(self, **changes: Any) -> RunState:
        """Replaces fields of the state that is on disk."""
        state = self.state()
        assert state is not None, "a run is created before it is updated"
        state = dataclasses.replace(state, **changes)
        self.save_state(state)
        return state

    def results(self) -> Results | None:
        """The finished results, naming this folder as it lies now; None where there are none."""
        if not self.results_path.exists():
            return None
        return dataclasses.replace(read_results(self.results_path), run=str(self.path))

    def readable_results(self) -> Results | None:
        """Like ``results``, but a damaged document counts as none: it can be computed again."""
        try:
            return self.results()
        except DiffevalError:
            return None

    def discard(self, *, images: bool, features: bool) -> None:
        """Removes per-image arrays that are not to be kept."""
        for pattern, unwanted in (("images/*.npz", images), ("features/*/*.npz", features)):
            for path in self.path.glob(pattern) if unwanted else ():
                path.unlink()

    def save_results(self, results: Results) -> None:
        """Writes the results document, sealed with the terms that lie beside it: these are written first.

        The folder's own name in it is relative, so that it may be moved.
        """
        document = results_document(dataclasses.replace(results, run="."))
        replace_text(self.results_path, to_json(sealed(document, self.path / "terms.npz")))

    def require_whole(self) -> None:
        """Refuses results, or terms, that are not as the run wrote them.

        Raises:
            DiffevalError: see ``diffeval.runs.seal.require_whole``.
        """
        require_whole(self.results_path, self.path / "terms.npz")

    def save_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Writes ``name``.npz."""
        replace_arrays(self.path / f"{name}.npz", arrays)

    def arrays(self, name: str) -> dict[str, Any] | None:
        """Reads ``name``.npz, or None."""
        return read_arrays(self.path / f"{name}.npz")


def matches(state: RunState, wanted: RunState) -> str | None:
    """Why a run on disk cannot be continued as the one that is wanted; None if it can."""
    if state.version != own_version():
        return f"was made by diffeval {state.version}, this is {own_version()}"
    for name in ("task", "checkpoint_sha256", "seed", "protocol", "shard"):
        if plain(getattr(state, name)) != plain(getattr(wanted, name)):
            return f"is a run of another {name.replace('_', ' ')}"
    return None
