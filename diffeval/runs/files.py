"""Writing files so that a reader never sees half of one."""

import math
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from diffeval.errors import DiffevalError
from diffeval.runs.paths import regular

# A member that unpacks to more than this, at more than this ratio, is a bomb: no compression of real data gets there.
BOMB_BYTES, BOMB_RATIO = 100_000_000, 1000


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes ``content`` to ``path`` by way of a temporary neighbour and an atomic rename.

    Raises:
        DiffevalError: if the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opened as any file is: the system takes the umask off its permissions, which no thread can do for itself.
        temporary = path.parent / f".{path.name}.{os.urandom(4).hex()}"
        try:
            with temporary.open("xb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DiffevalError(
            f"cannot write {path}: {error.strerror or error}; "
            f"{'give the name of a file' if path.is_dir() else 'free the disk or choose --out'}"
        ) from error


def replace_text(path: Path, content: str) -> None:
    """Like ``replace_bytes``, for UTF-8 text."""
    replace_bytes(path, content.encode("utf-8"))


def replace_arrays(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Writes named arrays as an uncompressed ``.npz``, atomically."""
    from io import BytesIO

    buffer = BytesIO()
    np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]  # numpy's stub takes allow_pickle for an array name
    replace_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]] | None:
    """The arrays of an ``.npz``; None if there is no such file or it is damaged. Never unpickles."""
    try:
        with np.load(regular(path), allow_pickle=False) as file:
            require_honest(file.zip)
            return {name: file[name] for name in file.files}
    except MemoryError:  # the file is honest, and this machine too small
        raise
    except Exception:  # what damage makes numpy and zipfile raise has no common base
        return None


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a member of an archive unpacks to far more than real data can."""
    return member.file_size > BOMB_BYTES and member.file_size > BOMB_RATIO * max(1, member.compress_size)


def require_honest(archive: zipfile.ZipFile) -> None:
    """Refuses an ``.npz`` whose arrays would take more memory than they have bytes, before any is allocated.

    Raises:
        ValueError: for a bomb, a damaged header, or one that promises more numbers than lie behind it.
    """
    whole = max((info.header_offset + info.compress_size for info in archive.infolist()), default=0)
    held = archive.fp.seek(0, os.SEEK_END) if archive.fp is not None else 0
    if whole > held:
        raise ValueError(f"it is cut short: {held} bytes, and {whole} by its own directory")
    for info in archive.infolist():
        if is_bomb(info):
            raise ValueError(f"{info.filename!r} grows from {info.compress_size} to {info.file_size} bytes; refused")
        if info.filename.endswith(".npy") and (promised := _promised(archive, info)) > info.file_size:
            raise ValueError(f"{info.filename!r} promises {promised} bytes and holds {info.file_size}")


def _promised(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Bytes of a member whose array is as its header describes; 0 of objects, which are never read."""
    with archive.open(info) as member:
        try:
            version = npy.read_magic(member)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(member)
        except (MemoryError, RecursionError, TypeError) as error:  # Python's parser on what nests endlessly
            raise ValueError(f"the header of {info.filename!r} is none") from error
        return 0 if dtype.hasobject else member.tell() + math.prod(shape) * dtype.itemsize


def require_writable(folder: Path) -> None:
    """Fails now rather than after an hour of sampling.

    Raises:
        DiffevalError: if ``folder`` cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DiffevalError(
            f"output: cannot write to {folder}: {error.strerror or error}; choose another folder with --out"
        ) from error


def require_writable_above(folder: Path) -> None:
    """Like ``require_writable``, but makes nothing: looks at the nearest folder that exists.

    Raises:
        DiffevalError: if that cannot be written, or is no folder.
    """
    require_writable(next(parent for parent in (folder, *folder.absolute().parents) if parent.exists()))
