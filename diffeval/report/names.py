"""What runs and checkpoints are called on a page: short, and no two alike."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffeval.runs.directory import RunState
from diffeval.runs.records import Results

# Settings that tell runs of one checkpoint apart, in the order in which they are tried.
TELLING = ("w", "sampler", "steps", "reference", "extractor")
# Checkpoints that are named in a title, before the rest is counted.
MOST = 3
BUILT_IN = "digits"
# How commands name ready-made images; ``diffeval.ready`` has it, too, and imports torch.
READY = "images:"
# What stands in a command for a checkpoint that nobody knows.
UNKNOWN = "CHECKPOINT"


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a run is named by."""

    path: Path
    state: RunState
    results: Results | None


def subject_of(path: Path, results: Results | None) -> str:
    """The checkpoint as the user named it; one called by a number alone has its training's folder before it."""
    if results is None:
        return path.resolve().name
    origin = results.provenance
    if not origin.checkpoint.isdigit():
        return origin.checkpoint
    above = [name for name in Path(origin.checkpoint_path).parts[:-1] if name not in ("steps", "/", ".", "..")]
    return "/".join((*above[-1:], origin.checkpoint))


def spec_of(path: Path, results: Results | None, *, is_training: bool) -> str:
    """The checkpoint as a command takes it: as it was typed, where that is known.

    A training's folder is a checkpoint. Of other runs only the results know what was measured: see ``UNKNOWN``.
    """
    if results is None:
        return str(path) if is_training else UNKNOWN
    origin = results.provenance
    if origin.checkpoint == BUILT_IN:
        return BUILT_IN
    for word in origin.command[2:]:
        named = Path(word.removeprefix(READY))
        if not word.startswith("-") and origin.checkpoint in (word, named.name, named.stem):
            return word
    return origin.checkpoint_path if results.protocol.sampler is not None else f"{READY}{origin.checkpoint_path}"


def listed(names: Iterable[str], most: int = MOST) -> str:
    """Names as one phrase; of many the first, and how many more there are."""
    found = list(dict.fromkeys(names))
    if len(found) <= most + 1:
        return ", ".join(found)
    return f"{', '.join(found[:most])} and {len(found) - most} more"


def names_of(known: Sequence[Known]) -> list[str]:
    """A short name for each run, no two alike: the checkpoint's, then what tells the runs apart."""
    names = [subject_of(one.path, one.results) for one in known]
    for more in (
        _steps(known),
        [one.state.checkpoint_sha256[:8] for one in known],
        [one.state.task for one in known],
        *([_setting(one.results, key) for one in known] for key in TELLING),
        [f"seed {one.state.seed}" for one in known],
        ["" if one.results is None else f"n={one.results.provenance.n:,}" for one in known],
        [one.path.resolve().name for one in known],
        [str(one.path) for one in known],
    ):
        names = _told_apart(names, more)
    return names


def trailing_number(text: str) -> tuple[str, int] | None:
    """What a name ends with, a number, and what goes before it; None of a name that ends otherwise."""
    found = re.fullmatch(r"(.*?)(\d{1,12})(?:\.(?:pt|pth|ckpt|bin|safetensors))?", text)
    return None if found is None else (found[1], int(found[2]))


def _told_apart(names: list[str], more: Sequence[str]) -> list[str]:
    """Names that occur several times, with more behind them where that differs."""
    found = list(names)
    for name in {one for one in names if names.count(one) > 1}:
        places = [place for place, one in enumerate(names) if one == name]
        if len({more[place] for place in places}) > 1:
            for place in places:
                found[place] = f"{name} · {more[place]}" if more[place] else name
    return found


def _steps(known: Sequence[Known]) -> list[str]:
    """Training steps; one that any run of a checkpoint knows is that of all its runs, as not every task records it."""
    steps = {
        one.state.checkpoint_sha256: one.results.provenance.training_step
        for one in known
        if one.results is not None and one.results.provenance.training_step is not None
    }
    found = (steps.get(one.state.checkpoint_sha256) for one in known)
    return ["" if step is None else f"step {step:,}" for step in found]


def _setting(results: Results | None, key: str) -> str:
    value = None if results is None else getattr(results.protocol, key)
    if value is None:
        return ""
    return f"{key}={value:g}" if isinstance(value, int | float) else str(value).split("/")[0]
