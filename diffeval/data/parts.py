"""What the names of image files say: parts and classes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffeval.data.files import Entry
from diffeval.data.pixels import Labels
from diffeval.data.source import MOST_CLASSES, Request, Split
from diffeval.errors import DiffevalError

# Folders at the top that are parts and no classes, under the names that people give them.
FOLDERS: dict[str, Split] = {
    "train": "train",
    "test": "test",
    "val": "heldout",
    "valid": "heldout",
    "validation": "heldout",
    "heldout": "heldout",
}


@dataclass(frozen=True, slots=True)
class Part:
    """The files of one part.

    Attributes:
        split: which part.
        entries: its files, in order.
        labels: int64 [n], or None.
        classes: class names.
        own: whether the data itself is divided; otherwise these are all files.
        notes: what was assumed.
    """

    split: Split
    entries: tuple[Entry, ...]
    labels: Labels | None
    classes: tuple[str, ...]
    own: bool
    notes: tuple[str, ...]


def part_of(request: Request, entries: Sequence[Entry], declared: bytes | None = None) -> Part:
    """The part that is asked for, where the folders at the top are parts; all files otherwise.

    Args:
        request: what was asked for.
        entries: all image files.
        declared: content of ``dataset.json``, which StyleGAN and EDM put beside images; None without one.

    Raises:
        DiffevalError: if the data is divided and has no such part.
    """
    tops = {entry.name.partition("/")[0] if "/" in entry.name else "" for entry in entries}
    if not tops <= set(FOLDERS):
        names = [entry.name for entry in entries]
        labels, classes, notes = _classes(names) if declared is None else _declared(names, declared)
        return Part(request.split or "all", tuple(entries), labels, classes, False, notes)
    below = [entry.name.partition("/")[2] for entry in entries]
    labels, classes, notes = _classes(below)
    folders = _folders(request, tops)
    rows = [row for row, entry in enumerate(entries) if entry.name.partition("/")[0] in folders]
    note = f"folders at the top are parts; read from {', '.join(sorted(folders))}"
    chosen = None if labels is None else labels[rows]
    return Part(request.part, tuple(entries[row] for row in rows), chosen, classes, True, (note, *notes))


def _folders(request: Request, tops: set[str]) -> set[str]:
    parts = {split: {top for top in tops if FOLDERS[top] == split} for split in ("train", "heldout", "test")}
    # The part that nothing was trained on is the test part, where there is no other.
    wanted = tops if request.part == "all" else parts[request.part]
    wanted = wanted or (parts["test"] if request.part == "heldout" else set())
    if not wanted:
        raise DiffevalError(
            f"{request.name}: has no part {request.part!r}, only the folders {', '.join(sorted(tops))}; name another "
            f"split, or @all"
        )
    return wanted


def _classes(names: Sequence[str]) -> tuple[Labels | None, tuple[str, ...], tuple[str, ...]]:
    """Labels by the first folder, class names, and a note; none where the folders do not tell classes apart."""
    tops = [name.partition("/")[0] if "/" in name else "" for name in names]
    found = set(tops)
    if len(found) < 2:
        return None, (), ()
    if "" in found:
        return None, (), ("images lie both in sub-folders and beside them, so they have no classes",)
    numbers = all(top.isascii() and top.isdigit() for top in found)
    classes = tuple(sorted(found, key=lambda top: (int(top), top)) if numbers else sorted(found))
    index = {name: number for number, name in enumerate(classes)}
    few = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
    labels = np.array([index[top] for top in tops], dtype=np.int64)
    return labels, classes, (f"{len(classes)} classes by sub-folder: {few}",)


def _declared(names: Sequence[str], content: bytes) -> tuple[Labels | None, tuple[str, ...], tuple[str, ...]]:
    """Labels that ``dataset.json`` gives; the folders then only keep the number of files in each small."""
    try:
        listed = json.loads(content)["labels"]
        given = None if listed is None else dict(listed)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DiffevalError(f"data: cannot read the labels in dataset.json: {error}; mend or remove it") from error
    if given is None:
        return None, (), ("dataset.json declares no classes",)
    found = [given.get(name) for name in names]
    labels = [label for label in found if type(label) is int and 0 <= label < MOST_CLASSES]
    if len(labels) < len(names):
        missing = len(names) - len(labels)
        return None, (), (f"dataset.json has no class number for {missing} of {len(names)} images, so none is used",)
    classes = tuple(str(number) for number in range(max(labels) + 1))
    return np.array(labels, dtype=np.int64), classes, (f"{len(classes)} classes by dataset.json",)
