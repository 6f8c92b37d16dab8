"""Joins the parts of a run that were made apart (``--shard I/N``) into one directory."""

import dataclasses
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffeval.errors import DiffevalError
from diffeval.runs.directory import RunDirectory, RunState, matches
from diffeval.runs.files import read_arrays
from diffeval.runs.protocol import differing_keys

# Where per-image arrays lie in a run, and its runs within: the points of a sweep.
STORES, POINTS = ("images", "features/*"), "points"
SHARDS = "shard-*-of-*"


@dataclass(frozen=True, slots=True)
class Merged:
    """Parts that were joined.

    Attributes:
        run: the whole.
        parts: how many there were.
        n: images.
    """

    run: Path
    parts: int
    n: int


@dataclass(frozen=True, slots=True)
class _Part:
    run: RunDirectory
    state: RunState

    @property
    def name(self) -> str:
        return str(self.run.path)


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Joins parts of one run; the command that made them, without ``--shard``, then finds all images and scores them.

    Chunks of images are taken as they are: the whole is bit-equal to a run that was never parted.

    Args:
        folders: run directories of the parts, or folders that hold such.
        out: where the whole goes; it may hold a part of it already.

    Raises:
        DiffevalError: if they are not of one run, if images are missing, or if two parts hold different ones.
    """
    parts = [_opened(path) for folder in folders for path in _expanded(folder)]
    if not parts:
        raise DiffevalError("merge: no parts are given; name the folders that --shard wrote")
    for part in parts[1:]:
        _refuse_other(parts[0], part)
    points = sorted({path.name for part in parts for path in (part.run.path / POINTS).glob("*") if path.is_dir()})
    for point in points:
        inside = [part.run.path / POINTS / point for part in parts]
        merge([path for path in inside if path.is_dir()], out / POINTS / point)
    whole = RunDirectory(out)
    whole.lock()
    try:
        _join(parts, whole)
    finally:
        whole.release()
    return Merged(out, len(parts), parts[0].state.n)


def _expanded(folder: Path) -> list[Path]:
    """The folder, or the shards in it."""
    return sorted(folder.glob(SHARDS)) or [folder]


def _opened(folder: Path) -> _Part:
    run = RunDirectory(folder)
    state = run.state() if folder.is_dir() else None
    if state is None:
        raise DiffevalError(f"merge: {folder} holds no run; name the folders that --shard wrote")
    return _Part(run, state)


def _refuse_other(first: _Part, other: _Part) -> None:
    """Refuses parts that are not of one run; the message names what differs."""
    for name in ("task", "version", "checkpoint_sha256", "seed", "n", "chunk"):
        one, two = (getattr(part.state, name) for part in (first, other))
        if one != two:
            told = "; give all parts the same --batch" if name == "chunk" else ""
            raise DiffevalError(
                f"merge: {first.name} and {other.name} are not of one run: {name.replace('_', ' ')} is {one} and "
                f"{two}{told}"
            )
    if first.state.protocol is not None and other.state.protocol is not None:
        differing = differing_keys(first.state.protocol, other.state.protocol)
        for name, (one, two) in differing.items():
            raise DiffevalError(
                f"merge: {first.name} and {other.name} have different protocols: {name.replace('_', ' ')} is {one!r} "
                f"and {two!r}"
            )
    counts = {part.state.shard[1] for part in (first, other) if part.state.shard is not None}
    if len(counts) > 1:
        raise DiffevalError(
            f"merge: {first.name} and {other.name} are parts of {min(counts)} and of {max(counts)}; give parts of one "
            f"division"
        )


def _join(parts: Sequence[_Part], whole: RunDirectory) -> None:
    """Puts the chunks of all parts into one directory, and says there what is known of it."""
    first = parts[0].state
    batches = sorted({part.state.batch for part in parts})
    said = (
        [f"parts were made with batches of {' and '.join(map(str, batches))}: their pixels may differ by one level"]
        if len(batches) > 1
        else []
    )
    stages = {stage for part in parts for stage in part.state.seconds}
    state = dataclasses.replace(
        first,
        status="stopped",
        batch=batches[0],
        ranks=max(part.state.ranks for part in parts),
        shard=None,
        seconds={stage: sum(part.state.seconds.get(stage, 0.0) for part in parts) for stage in sorted(stages)},
        warnings=tuple(dict.fromkeys((*(one for part in parts for one in part.state.warnings), *said))),
    )
    held = whole.state()
    reason = None if held is None else matches(held, state)
    if reason is not None:
        raise DiffevalError(f"merge: {whole.path} {reason}; choose another --out")
    sources = [*parts, *([] if held is None else [_Part(whole, held)])]
    folders = sorted({path.relative_to(part.run.path) for part in sources for path in _stores(part.run.path)})
    chosen = {(folder, start): _chunk(sources, folder, start) for folder in folders for start in _starts(first)}
    missing = sorted({start for (_, start), path in chosen.items() if path is None})
    if missing or (not folders and not (parts[0].run.path / POINTS).is_dir()):
        raise DiffevalError(_missing_text(parts, missing or [0], first))
    for (folder, start), path in chosen.items():
        assert path is not None, "the missing ones were named"
        _place(path, whole.path / folder / f"{start:08d}.npz")
    for part in parts:
        if (part.run.path / "grid.npz").is_file():
            _place(part.run.path / "grid.npz", whole.path / "grid.npz")
    if held is None or held.status != "done":
        whole.save_state(state)


def _starts(state: RunState) -> range:
    return range(0, state.n, state.chunk)


def _stores(run: Path) -> list[Path]:
    """Folders of a run that hold chunks."""
    return [folder for pattern in STORES for folder in run.glob(pattern) if any(folder.glob("*.npz"))]


def _chunk(parts: Sequence[_Part], folder: Path, start: int) -> Path | None:
    """The file with all wanted images of a chunk; None if no part has it.

    Raises:
        DiffevalError: if parts hold different images.
    """
    wanted = min(parts[0].state.chunk, parts[0].state.n - start)
    best: tuple[Path, dict[str, np.ndarray]] | None = None
    for part in parts:
        path = part.run.path / folder / f"{start:08d}.npz"
        arrays = read_arrays(path)
        if not arrays:
            continue
        if best is not None:
            _refuse_unequal(best, (path, arrays), start)
        if best is None or _rows(arrays) > _rows(best[1]):
            best = path, arrays
    return best[0] if best is not None and _rows(best[1]) >= wanted else None


def _rows(arrays: dict[str, np.ndarray]) -> int:
    return min(len(array) for array in arrays.values())


def _refuse_unequal(
    one: tuple[Path, dict[str, np.ndarray]], two: tuple[Path, dict[str, np.ndarray]], start: int
) -> None:
    common = min(_rows(one[1]), _rows(two[1]))
    same = set(one[1]) == set(two[1]) and all(
        np.array_equal(one[1][name][:common], two[1][name][:common]) for name in one[1]
    )
    if not same:
        raise DiffevalError(
            f"merge: {one[0]} and {two[0]} both hold images {start} to {start + common - 1}, and not the same: they "
            f"were made on other hardware, or in other batches; leave one of the two out"
        )


def _missing_text(parts: Sequence[_Part], missing: Sequence[int], state: RunState) -> str:
    """Which images are missing, and which parts would make them."""
    first = missing[0]
    text = f"merge: images {first} to {min(first + state.chunk, state.n) - 1}"
    text += f" and {len(missing) - 1} more chunks" if len(missing) > 1 else ""
    counts = [part.state.shard[1] for part in parts if part.state.shard is not None]
    if not counts:
        return f"{text} are missing; run the command again in one of the parts"
    shards = sorted({start // state.chunk % counts[0] + 1 for start in missing})
    named = ", ".join(f"{shard}/{counts[0]}" for shard in shards[:10]) + (", ..." if len(shards) > 10 else "")
    return f"{text} are missing; run the command again with --shard {named}"


def _place(source: Path, target: Path) -> None:
    """Puts a file in another folder, as a link where that is possible: files of runs are replaced, never changed."""
    if target.exists() and os.path.samefile(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DiffevalError(f"merge: cannot write {target}: {error.strerror or error}; free the disk") from error
