"""One look at every image file: decoded in parallel threads, with what was seen kept in the cache."""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import PIL

from diffeval.cache import cache_folder
from diffeval.data.decode import BadImageError, decode
from diffeval.data.files import Entry, Store
from diffeval.data.pixels import Shape
from diffeval.errors import DiffevalError, StoppedError
from diffeval.progress import Reporter
from diffeval.runs.files import read_arrays, replace_arrays

# Files that one thread looks at before it reports; small ones take a fraction of a millisecond each.
BLOCK = 32
# Raised when a look sees something else; what an older one saw is then looked at again.
_VERSION = f"1 pillow {PIL.__version__}"
_COLUMNS = ("names", "files", "shapes", "hashes", "constant", "marks", "reasons")


def threads() -> int:
    """How many threads read: decoding leaves Python's lock, and a few more wait for the disk."""
    return min(32, (os.cpu_count() or 1) + 4)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one file.

    Attributes:
        shape: (C, H, W); zeros for a bad image.
        content: sha256 over the bytes of the file; zeros where there was no reading it.
        pixels: sha256 over shape and pixels.
        constant: whether all pixels are of one colour.
        marks: keys of ``decode.MARKS``.
        reason: why the image cannot be used; empty for a good one.
    """

    shape: Shape = (0, 0, 0)
    content: bytes = bytes(32)
    pixels: bytes = bytes(32)
    constant: bool = False
    marks: frozenset[str] = frozenset()
    reason: str = ""


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Python warnings of Pillow's from the terminal; what matters is in the looks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def look_at(store: Store, name: str) -> Look:
    """Reads and decodes one file."""
    try:
        data = store.read(name)
    except OSError as error:
        return Look(reason=error.strerror or str(error))
    content = hashlib.sha256(data).digest()
    try:
        decoded = decode(name, data)
    except BadImageError as error:
        return Look(content=content, reason=str(error))
    pixels = decoded.pixels
    channels, height, width = pixels.shape
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.data)
    return Look(
        shape=(channels, height, width),
        content=content,
        pixels=digest.digest(),
        constant=bool((pixels.min(axis=(1, 2)) == pixels.max(axis=(1, 2))).all()),
        marks=decoded.marks,
    )


def inventory(store: Store, entries: Sequence[Entry], part: str, reporter: Reporter) -> list[Look]:
    """Looks at every entry; those that have not changed since an earlier look are not read again.

    Args:
        store: where they lie.
        entries: the files.
        part: tells apart several inventories of one store.
        reporter: hears of progress.

    Raises:
        StoppedError: if the reporter asks to stop.
    """
    key = hashlib.sha256(f"{store.root}\0{part}".encode(errors="surrogateescape")).hexdigest()[:32]
    path = cache_folder() / "inventories" / f"{key}.npz"
    known = _load(read_arrays(path))
    looks = {entry: known[entry] for entry in entries if entry in known}
    missing = [entry for entry in entries if entry not in looks]
    if missing:
        looks |= _look_at_all(store, missing, len(looks), reporter)
        try:
            # What could not be read at all is tried again: it may have been the disk.
            replace_arrays(path, _arrays({entry: look for entry, look in looks.items() if look.content != bytes(32)}))
        except DiffevalError as error:
            reporter.note(f"the cache is not used: {error}")
    return [looks[entry] for entry in entries]


def _look_at_all(store: Store, entries: Sequence[Entry], done: int, reporter: Reporter) -> dict[Entry, Look]:
    reporter.stage("reading images", done + len(entries), "images", done)
    found: dict[Entry, Look] = {}
    with quiet_pillow(), ThreadPoolExecutor(threads()) as pool:
        blocks = [entries[start : start + BLOCK] for start in range(0, len(entries), BLOCK)]
        futures = [pool.submit(_look_at_block, store, block) for block in blocks]
        try:
            for future in as_completed(futures):
                found |= future.result()
                reporter.advance(len(future.result()))
                if reporter.stop_requested:
                    raise StoppedError("data: stopped while reading images; run the same command to begin anew")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _look_at_block(store: Store, block: Sequence[Entry]) -> dict[Entry, Look]:
    return {entry: look_at(store, entry.name) for entry in block}


def _arrays(looks: dict[Entry, Look]) -> dict[str, np.ndarray]:
    values = list(looks.values())
    return {
        "version": np.array(_VERSION),
        "names": np.array([entry.name for entry in looks], dtype=np.str_),
        "files": np.array([(entry.size, entry.stamp) for entry in looks], dtype=np.int64).reshape(-1, 2),
        "shapes": np.array([look.shape for look in values], dtype=np.int64).reshape(-1, 3),
        "hashes": np.frombuffer(b"".join(look.content + look.pixels for look in values), np.uint8).reshape(-1, 64),
        "constant": np.array([look.constant for look in values], dtype=bool),
        "marks": np.array([" ".join(sorted(look.marks)) for look in values], dtype=np.str_),
        "reasons": np.array([look.reason for look in values], dtype=np.str_),
    }


def _load(arrays: dict[str, np.ndarray] | None) -> dict[Entry, Look]:
    """What an earlier look saw; nothing if that is of another version, or damaged."""
    if arrays is None or set(arrays) != {"version", *_COLUMNS} or str(arrays["version"]) != _VERSION:
        return {}
    return {
        Entry(str(name), int(file[0]), int(file[1])): Look(
            shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            content=hashes[:32].tobytes(),
            pixels=hashes[32:].tobytes(),
            constant=bool(constant),
            marks=frozenset(str(marks).split()),
            reason=str(reason),
        )
        for name, file, shape, hashes, constant, marks, reason in zip(
            *(arrays[name] for name in _COLUMNS), strict=True
        )
    }
